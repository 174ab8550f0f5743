"""What every command shares: where the agent is, what the caller may, in which form to answer.

`command` puts a function on a Typer app and adds these options to its own, so `-o json` or `--url` may stand before
the noun or after the verb; what stands later wins.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Concatenate, ParamSpec

import typer

from intertie.cli.problem import usage
from intertie.cli.screen import Output, Screen

if TYPE_CHECKING:
    from intertie.client import Client, Place

P = ParamSpec("P")

URL = Annotated[str | None, typer.Option("--url", metavar="URL", help="The agent's API. [$INTERTIE_URL]")]
TOKEN = Annotated[str | None, typer.Option("--token", metavar="TOKEN", help="Who calls. [$INTERTIE_TOKEN]")]
DIR = Annotated[
    Path | None, typer.Option("--dir", metavar="DIR", help="A site's state; its operator's socket. [$INTERTIE_DIR]")
]
PROJECT = Annotated[
    str | None, typer.Option("--project", metavar="P", help="Whom the operator acts for. [$INTERTIE_PROJECT, demo]")
]
OS_CLOUD = Annotated[
    str | None, typer.Option("--os-cloud", metavar="NAME", help="Caller and agent of this cloud in clouds.yaml.")
]
OUTPUT = Annotated[Output | None, typer.Option("-o", "--output", help="A table, or the body of the answer.")]

SHARED = {"url": URL, "token": TOKEN, "dir": DIR, "project": PROJECT, "os_cloud": OS_CLOUD, "output": OUTPUT}
LOCAL = ("dir", "output")
"""The shared options of commands that call no agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The shared options as typed at one place of the command line."""

    url: str | None = None
    token: str | None = None
    dir: Path | None = None
    project: str | None = None
    os_cloud: str | None = None
    output: Output | None = None

    def over(self, earlier: Given) -> Given:
        return Given(
            url=self.url if self.url is not None else earlier.url,
            token=self.token if self.token is not None else earlier.token,
            dir=self.dir or earlier.dir,
            project=self.project or earlier.project,
            os_cloud=self.os_cloud or earlier.os_cloud,
            output=self.output or earlier.output,
        )


def lean() -> None:
    """Before the client is loaded: do without httpx's own command line, which takes longer than all the rest of it.

    It would load click and all of rich; httpx goes without it where these are not installed.
    """
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]


class Session:
    """One command: its screen, and its agent, which is looked for when the first question is asked."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self.screen = Screen(given.output or Output.TABLE)
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        if self._client is None:
            lean()
            from intertie.client import Client

            self._client = Client(place(self.given))
        return self._client

    @property
    def dir(self) -> Path:
        """The state directory: typed, of the environment, or the default one."""
        from intertie.client.place import default_dir

        return self.given.dir or default_dir(os.environ)

    @property
    def project(self) -> str:
        return self.client.place.project

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def place(given: Given) -> Place:
    """The agent to talk to. Refused (usage) if the options name two callers."""
    if given.os_cloud:
        for name, value in (("--token", given.token), ("--dir", given.dir), ("--project", given.project)):
            if value:
                raise usage(f"--os-cloud says who calls, and {name} says it too", "give one of them")
        from intertie.cli import os_cloud

        return os_cloud.place(given.os_cloud, given.url or "")
    from intertie.client import Flags, find

    flags = Flags(url=given.url or "", token=given.token or "", dir=given.dir, project=given.project or "")
    return find(flags, os.environ)


def earlier(context: typer.Context) -> Given:
    """What the words before the command gave."""
    return context.obj if isinstance(context.obj, Given) else Given()


def command(
    app: typer.Typer, name: str, *, shared: tuple[str, ...] = tuple(SHARED)
) -> Callable[[Callable[Concatenate[Session, P], None]], Callable[Concatenate[Session, P], None]]:
    """Register a function of a Session as command `name`; its parameters are Typer's, `shared` options are added."""

    def register(act: Callable[Concatenate[Session, P], None]) -> Callable[Concatenate[Session, P], None]:
        def run(context: typer.Context, *args: P.args, **kwargs: P.kwargs) -> None:
            given = Given(**{option: kwargs.pop(option) for option in shared})  # type: ignore[arg-type]
            session = Session(given.over(earlier(context)))
            try:
                act(session, *args, **kwargs)
            finally:
                session.close()

        _, *own = inspect.signature(act, eval_str=True).parameters.values()
        kind = inspect.Parameter.KEYWORD_ONLY
        added = [inspect.Parameter(each, kind, default=None, annotation=SHARED[each]) for each in shared]
        context = inspect.Parameter("context", kind, annotation=typer.Context)
        parameters = [context, *(each.replace(kind=kind) for each in own), *added]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        app.command(name, help=inspect.getdoc(act))(run)
        return act

    return register
