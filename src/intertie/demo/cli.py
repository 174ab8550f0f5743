"""`intertie demo` and the commands that reach into a running one. `demo_app` is mounted by the CLI."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from enum import StrEnum
from ipaddress import ip_address
from typing import Annotated

import typer

from intertie.demo import attach, sites, state
from intertie.demo.abort import USAGE, Abort
from intertie.demo.control import Control, Reply, Request
from intertie.demo.state import KnownHost

demo_app = typer.Typer(help="Three sites on this machine, joined.", invoke_without_command=True, add_completion=False)


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


def _ended(act: Callable[[], int], *, json: bool = False) -> None:
    """Run a command and leave with its exit code; an Abort says why on stderr, as text or as JSON."""
    from intertie.demo.run import failed

    try:
        code = act()
    except Abort as abort:
        code = failed(abort, json=json)
    raise typer.Exit(code)


@demo_app.callback()
def demo(
    context: typer.Context,
    count: Annotated[
        int, typer.Option("--sites", min=sites.FEWEST, max=sites.MOST, help="How many sites.")
    ] = sites.FEWEST,
    check: Annotated[
        bool, typer.Option("--check", help="Unattended: end when done, 0 if every pair answered.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=1, max=65535 - sites.MOST, help="Site i is at 127.0.0.1, port + i.")
    ] = 7575,
    transport: Annotated[str, typer.Option(help="Carry the Vpns by this one.")] = "",
    output: Annotated[Output, typer.Option("-o", "--output", help="Form of the result.")] = Output.TABLE,
) -> None:
    """Start sites in namespaces, join their networks, ping across, and serve until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    from intertie.demo import run

    wish = run.Wish(sites=count, port=port, transport=transport, check=check, json=output is Output.JSON)
    _ended(lambda: run.run(wish), json=wish.json)


def _ask(request: Request, say: Callable[[Reply], str]) -> int:
    state.read_serving(state.place())
    with Control(state.place() / "control") as control:
        print(say(control.ask(request)))
    return 0


@demo_app.command()
def cut(one: str, other: str) -> None:
    """Have the backbone drop everything between two sites, both ways."""
    _ended(lambda: _ask(Request(do="cut", site=one, other=other), lambda _: f"cut: {one} and {other}"))


@demo_app.command()
def heal() -> None:
    """Undo all cuts."""
    _ended(lambda: _ask(Request(do="heal"), lambda _: "healed"))


@demo_app.command()
def kill(site: str) -> None:
    """End a site's agent with SIGKILL. Its hosts and their packets go on."""
    _ended(lambda: _ask(Request(do="kill", site=site), lambda _: f"killed: the agent of {site}"))


@demo_app.command()
def start(site: str) -> None:
    """Start a site's agent again."""
    _ended(lambda: _ask(Request(do="start", site=site), lambda _: f"started: the agent of {site}"))


@demo_app.command()
def status() -> None:
    """The agents and the cuts."""
    _ended(lambda: _ask(Request(do="status"), _status_lines))


def _status_lines(reply: Reply) -> str:
    lines = []
    for site in reply.sites:
        ended = "not started" if site.exit is None else f"ended ({site.exit})"
        lines.append(f"{site.name:<12} {'running' if site.pid else ended:<14} log {site.log}")
    lines.extend(f"cut: {one} and {other}" for one, other in reply.cuts)
    return "\n".join(lines)


def _find(name: str) -> KnownHost:
    """The host called `name` in any site: one that the story made, or one that a site lists now."""
    from intertie.demo.rest import Rest

    serving = state.read_serving(state.place())
    for host in serving.hosts:
        if host.name == name:
            return host
    seen = [host.name for host in serving.hosts]
    for site in serving.sites:
        with Rest.at(site.name, site.url, site.admin_token) as rest:
            if not rest.ready(2.0):
                continue
            for host in rest.items("/v1/hosts"):
                if host["name"] == name:
                    return KnownHost(name=name, site=site.name, address=host["address"])
                seen.append(host["name"])
    raise Abort(f"no host is called {name}", hint=f"hosts: {', '.join(sorted(set(seen)))}", code=USAGE)


def _in_host(host: KnownHost, command: list[str], *, terminal: bool = False) -> Request:
    return Request(
        do="run",
        site=host.site,
        argv=(sys.executable, "-m", "intertie.demo.enter", host.name, host.address, "--", *command),
        environment={"TERM": os.environ.get("TERM", "dumb"), "PS1": f"{host.name}$ "},
        terminal=terminal,
    )


@demo_app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def shell(host: str, command: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """A shell in a host, or one command: intertie demo shell HOST -- CMD…"""

    def act() -> int:
        where = _find(host)
        control = state.place() / "control"
        if command:
            words = command[1:] if command[0] == "--" else command
            return attach.run(control, _in_host(where, words))
        program = ["bash", "--norc", "--noprofile"] if shutil.which("bash") else ["sh"]
        if not sys.stdin.isatty():
            return attach.run(control, _in_host(where, program))
        print(f"in {where.name} ({where.address}) at {where.site}; Ctrl-D leaves", file=sys.stderr)
        return attach.run_terminal(control, _in_host(where, [*program, "-i"], terminal=True))

    _ended(act)


@demo_app.command()
def ping(
    host: str,
    target: Annotated[str, typer.Argument(metavar="ADDRESS|HOST")],
    interval: Annotated[float, typer.Option("--interval", "-i", min=0.001, help="Seconds between requests.")] = 1.0,
    count: Annotated[int, typer.Option("--count", "-c", min=0, help="How many; 0: until Ctrl-C.")] = 0,
) -> None:
    """Ping from a host: a fixed beat, every loss told, the longest silence at the end."""

    def act() -> int:
        where = _find(host)
        try:
            address = str(ip_address(target))
        except ValueError:
            address = _find(target).address
        options = ["--interval", str(interval), "--count", str(count)]
        program = [sys.executable, "-m", "intertie.demo.ping", address, *options]
        return attach.run(state.place() / "control", _in_host(where, program))

    _ended(act)
