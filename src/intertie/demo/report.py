"""What the demo says: progress on stderr while it works, the result on stdout, and what to try next."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.status import Status
from rich.table import Table

from intertie.demo.rest import End, Pair, Vpn
from intertie.demo.state import KnownHost, SiteAccess


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    name: str
    ms: int


@dataclass(slots=True, kw_only=True)
class Joined:
    """A Vpn of the story: what it came to, how long that took, and what its verification found."""

    vpn: Vpn
    accepted_ms: int | None = None
    ready_ms: int | None = None
    pairs: tuple[Pair, ...] = ()
    missing: tuple[tuple[KnownHost, KnownHost], ...] = ()
    """Pairs of our hosts that the verification did not speak of."""

    @property
    def ok(self) -> bool:
        return self.ready_ms is not None and bool(self.pairs) and not self.missing and self._all_answered

    @property
    def _all_answered(self) -> bool:
        return all(pair.ok for pair in self.pairs)


@dataclass(slots=True)
class Result:
    """Everything that the story found."""

    sites: list[SiteAccess] = field(default_factory=list)
    hosts: list[KnownHost] = field(default_factory=list)
    vpns: list[Joined] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    finished: bool = False

    @property
    def ok(self) -> bool:
        return self.finished and bool(self.vpns) and all(joined.ok for joined in self.vpns)


class Progress:
    """Steps as they go by, on stderr: a spinner on a terminal, plain lines elsewhere."""

    def __init__(self, result: Result) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._result = result
        self._status: Status | None = None

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One timed step. Its time is kept when it ends well."""
        start = time.monotonic()
        if self.console.is_terminal:
            self._status = self.console.status(f"{name} …")
            self._status.start()
        try:
            yield
        except BaseException:
            self._still()
            self.console.print(f"  [red]✗[/red] {name}")
            raise
        self._still()
        ms = round((time.monotonic() - start) * 1000)
        self._result.steps.append(Step(name=name, ms=ms))
        self.console.print(f"  [green]✓[/green] {name:<66} {ms:>6} ms")

    def _still(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def say(self, line: str) -> None:
        """A line that stays."""
        self.console.print(line, markup=False)

    def doing(self, what: str) -> None:
        """What is being waited for, where that can be shown without scrolling."""
        if self._status is not None:
            self._status.update(what)


def _end(end: End) -> dict[str, str]:
    return {"site": end.site, "host": end.host, "address": end.address}


def _pair(pair: Pair) -> dict[str, object]:
    found: dict[str, object] = {
        "from": _end(pair.source),
        "to": _end(pair.target),
        "rtt_ms": None if pair.rtt_ms is None else round(pair.rtt_ms, 3),
        "mtu": pair.mtu,
        "ok": pair.ok,
    }
    return found if pair.ok else {**found, "broken_at": pair.broken_at, "hint": pair.hint}


def check_line(result: Result) -> str:
    """The one JSON line of `--check` (docs/interface.md, DEMO)."""
    vpns = [
        {
            "id": joined.vpn.id,
            "name": joined.vpn.name,
            "kind": joined.vpn.kind,
            "transport": joined.vpn.transport,
            "mtu": joined.vpn.mtu,
            "accepted_ms": joined.accepted_ms,
            "ready_ms": joined.ready_ms,
            "pairs": [_pair(pair) for pair in joined.pairs],
        }
        for joined in result.vpns
    ]
    told = {
        "sites": [{"name": site.name, "url": site.url} for site in result.sites],
        "vpns": vpns,
        "steps": [{"name": step.name, "ms": step.ms} for step in result.steps],
        "ok": result.ok,
    }
    return json.dumps(told, ensure_ascii=False)


def serving_line(result: Result) -> str:
    """The one JSON line of a demo that serves."""
    sites = [
        {"name": site.name, "url": site.url, "token": site.token, "admin_token": site.admin_token}
        for site in result.sites
    ]
    return json.dumps({"event": "serving", "pid": os.getpid(), "sites": sites})


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def print_table(result: Result) -> None:
    """Every pair of every Vpn, on stdout, within 80 columns."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for column in ("pair", "kind", "transport", "over"):
        table.add_column(column, no_wrap=True)
    for column in ("RTT ms", "MTU proved", "ok"):
        table.add_column(column, justify="right", no_wrap=True)
    for joined in result.vpns:
        kind, transport = joined.vpn.kind.upper(), joined.vpn.transport
        for pair in joined.pairs:
            table.add_row(
                f"{pair.source.host} → {pair.target.host}",
                kind,
                transport,
                "IPv6" if ":" in pair.target.address else "IPv4",
                _figure(pair.rtt_ms, ".2f"),
                _figure(pair.mtu or None, "d"),
                "yes" if pair.ok else "NO",
            )
        for one, other in joined.missing:
            table.add_row(f"{one.name} → {other.name}", kind, transport, "", "-", "-", "not tried")
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(highlight=False, width=100)
    console.print(table)
    seconds = sum(step.ms for step in result.steps) / 1000
    pairs = sum(len(joined.pairs) for joined in result.vpns)
    answered = sum(pair.ok for joined in result.vpns for pair in joined.pairs)
    console.print(f"\n{answered} of {pairs} pairs answered; {seconds:.1f} s in all")


def command() -> str:
    """How a user in this directory calls `intertie`: as short as it works."""
    program = Path(sys.executable).with_name("intertie")
    relative = os.path.relpath(program)
    return shlex.quote(str(program) if relative.startswith("..") else relative)


def next_lines(result: Result) -> Sequence[str]:
    """What to try next: comments and lines that work as they stand when pasted in another terminal here."""
    intertie = command()
    where = os.environ.get("INTERTIE_DEMO_DIR")
    first, second, third = result.sites[0], result.sites[1], result.sites[2]
    stretched = {host.site: host.name for host in result.hosts if host.name.startswith("blue-")}
    here, there, last = stretched[first.name], stretched[second.name], stretched[third.name]
    lines = ["# in another terminal, in this directory:"]
    if where:
        lines.append(f"export INTERTIE_DEMO_DIR={shlex.quote(where)}")
    return [
        *lines,
        f"export INTERTIE_URL={first.url} INTERTIE_TOKEN={first.token}",
        f"{intertie} vpn list",
        f"{intertie} vpn show blue",
        f"{intertie} vpn verify blue",
        "# packets do not need agents: let this ping run while you stop and start one",
        f"{intertie} demo ping {here} {there} --interval 0.01",
        f"{intertie} demo kill {second.name}",
        f"{intertie} demo start {second.name}",
        "# packets do need the backbone: cut it between two sites, watch the health, heal it",
        f"{intertie} demo cut {first.name} {third.name}",
        f"{intertie} vpn show blue",
        f"{intertie} demo heal",
        "# be a host",
        f"{intertie} demo shell {last}",
        f"{intertie} demo shell {last} -- ping -c 3 {_address(result, here)}",
        f"# the API, to try in a browser: {first.url}/docs",
    ]


def _address(result: Result, name: str) -> str:
    return next(host.address for host in result.hosts if host.name == name)


def print_serving(result: Result) -> None:
    """The whole report of a demo that serves, on stdout, for people."""
    print_table(result)
    print()
    for site in result.sites:
        print(f"{site.name:<12} {site.url}")
    print()
    for line in next_lines(result):
        print(line)
    print("\nCtrl-C ends the demo and leaves nothing behind.", flush=True)
