"""What goes on at one Vpn, or anywhere, while something is broken: the ordinary part of every scene."""

from __future__ import annotations

from intertie.testing.simulator.workload.deeds import (
    attachment_for,
    change,
    end,
    grow,
    host,
    network,
    partners,
    route,
    shrink,
    start_host,
    stretch,
)
from intertie.testing.simulator.workload.known import Tie
from intertie.testing.simulator.workload.races import RACES, remake
from intertie.testing.simulator.workload.untimely import UNTIMELY
from intertie.testing.simulator.workload.writer import Act, Writer

BUSY: tuple[Act, ...] = (
    network,
    host,
    host,
    stretch,
    stretch,
    route,
    grow,
    shrink,
    remake,
    UNTIMELY["change-elsewhere"],
    UNTIMELY["delete-in-use"],
    UNTIMELY["leave-in-use"],
    RACES["two-changes"],
)
"""What goes on while something is broken."""


def busy(w: Writer, low: int, high: int, span: float = 6.0) -> None:
    """Some things that users do, over up to `span` seconds."""
    for _ in range(w.chance.randint(low, high)):
        w.chance.choice(BUSY)(w)
        w.rest(0.0, span / high)


def act_on(w: Writer, tie: Tie) -> None:
    """Something that makes the home and all members of a Vpn write and speak."""
    site = w.chance.choice(list(tie.members))
    match w.chance.choice(("shrink", "grow", "end", "again", "host")):
        case "shrink" if len(tie.members) > 2:
            leaver = w.one([s for s in tie.members if s != tie.home])
            change(w, tie, tie.home, [a for s, a in tie.members.items() if s != leaver])
        case "grow" if new := [s for s in partners(w, tie.home, tie.project) if s not in tie.members]:
            text = attachment_for(w, tie, new[0])
            change(w, tie, tie.home, [*tie.members.values(), *([text] if text else [])])
        case "end":
            end(w, tie, tie.home)
        case "host" if (net := w.known.net(site, tie.project, tie.net_of(site))) is not None:
            start_host(w, net)
        case _:
            change(w, tie, site, list(tie.members.values()))
