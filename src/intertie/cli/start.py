"""What starts something: a site's directory, its agent, the demo. Named as text, and loaded when it is asked for.

So every other command starts without the agent's libraries, and an import rule can hold the CLI to the REST API.
"""

from __future__ import annotations

from functools import reduce
from importlib import import_module
from typing import Annotated

import typer

from intertie.cli.problem import usage
from intertie.cli.session import LOCAL, Session, command
from intertie.model.errors import Refused

INIT = "intertie.site_file:init_site"
UNIT = "intertie.unit_file:systemd_unit"
RUN = "intertie.main:run_agent"
DEMO = "intertie.demo.cli:demo_app"

app = typer.Typer()
agent_app = typer.Typer(help="The agent of a site.", no_args_is_help=True)


def load(target: str) -> object:
    """What `module:name` names."""
    module, _, name = target.partition(":")
    found: object = reduce(getattr, name.split("."), import_module(module))
    return found


def call(target: str, *arguments: object, **named: object) -> object:
    """Call what `target` names. A system's error becomes one of ours with the system's words."""
    function = load(target)
    assert callable(function)
    try:
        found: object = function(*arguments, **named)
        return found
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Refused(f"{where}{error.strerror or error}", code="failed") from error
    except ValueError as error:
        raise usage(str(error)) from error


@command(app, "init", shared=LOCAL)
def init(
    session: Session,
    name: Annotated[str, typer.Option(metavar="N", help="The site's name, for its peers too.")] = "",
    location: Annotated[str, typer.Option(metavar="LAT,LON", help="Degrees, for example 47.218,-1.554.")] = "",
    underlay: Annotated[str, typer.Option(metavar="IP", help="This machine's address for other sites.")] = "",
    cell: Annotated[str, typer.Option(metavar="CLOUD/CELL", help="The site is this cell of a cloud.")] = "",
    systemd: Annotated[
        bool, typer.Option("--systemd", help="Make nothing; print a unit that runs the agent.")
    ] = False,
    store: Annotated[
        str, typer.Option(metavar="URL", help="postgresql://…: a database that several agents of the site share.")
    ] = "",
) -> None:
    """Make a site: its directory, settings and key. Nothing runs yet."""
    if systemd:
        session.screen.line(str(call(UNIT, session.dir)).rstrip("\n"))
        return
    if not name:
        raise usage("a site has a name", "--name NAME")
    place = _place(location)
    call(
        INIT,
        name=name,
        dir=session.dir,
        location=place,
        underlay=underlay or None,
        more={"store": store, "cell": cell},
    )
    if session.screen.is_json:
        session.screen.document({"name": name, "dir": str(session.dir)})
        return
    session.screen.note(f"site {name} is in {session.dir}; start it: intertie agent run --dir {session.dir}")


def _place(text: str) -> tuple[float, float] | None:
    """`47.218,-1.554` → (latitude, longitude)."""
    if not text:
        return None
    try:
        lat, lon = text.split(",")
        return float(lat), float(lon)
    except ValueError:
        raise usage(f"{text!r} is no place", "LAT,LON in degrees, for example 47.218,-1.554") from None


@command(agent_app, "run", shared=("dir",))
def run(
    session: Session,
    fd: Annotated[int | None, typer.Option("--fd", metavar="N", help="Serve users on this listening socket.")] = None,
) -> None:
    """Run a site's agent until SIGTERM. What it forwards goes on without it."""
    call(RUN, session.dir, fd)


@app.command(
    "demo",
    add_help_option=False,
    context_settings={
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "allow_interspersed_args": False,
    },
)
def demo(context: typer.Context) -> None:
    """Three sites on this machine, joined."""
    mounted = load(DEMO)
    assert isinstance(mounted, typer.Typer)
    mounted.rich_markup_mode = None
    code = mounted(list(context.args), prog_name=context.command_path, standalone_mode=False)
    if isinstance(code, int) and code:
        raise typer.Exit(code)
