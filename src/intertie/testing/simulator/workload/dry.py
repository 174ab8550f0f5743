"""Scenes about space that moves from holder to holder: load at one spot, and what breaks in the middle of a gift."""

from __future__ import annotations

from intertie.testing.simulator.story import Step, Verb
from intertie.testing.simulator.workload.deeds import (
    attachment_for,
    change,
    partners,
    start_host,
    stop_host,
    stretch_net,
)
from intertie.testing.simulator.workload.known import Tie
from intertie.testing.simulator.workload.writer import Writer

SMALL = ("10.251.", "fd00:251:")
"""Prefixes of networks that are made here."""


def _small(w: Writer) -> Tie | None:
    """An L2 Vpn of three sites or so whose range is soon used up: one that stands, or a new one."""
    found = [
        t
        for t in w.known.ties
        if t.kind == "l2" and t.prefixes[0].startswith(SMALL) and not t.closing and w.known.runs(t.home, w.now)
    ]
    if not found or w.odds(0.4):
        home = w.site()
        others = partners(w, home, "demo")[: w.chance.choice((1, 2, 2, 3))]
        size = w.chance.choice((28, 27, 27, 26))
        prefix = (f"10.251.{w.number('dry')}.0/{size}",)
        if w.odds(0.25):
            prefix = (f"fd00:251:{w.number('dry')}::/124",)
        net = w.make_net(home, "demo", prefix) if home and others else None
        if net is None:
            return None
        stretch_net(w, net, others)
        w.rest(2.0, 5.0)
        found = [t for t in w.known.ties if t.prefixes == net.prefixes]
    return w.one(found)


def _hosts(w: Writer, tie: Tie, site: str, count: int, pause: float) -> None:
    net = w.known.net(site, tie.project, tie.net_of(site))
    for _ in range(count):
        if net is None or not w.known.runs(site, w.now):
            return
        start_host(w, net)
        w.rest(0.0, pause)


def _fewer(w: Writer, tie: Tie, site: str, most: int | None = None) -> None:
    """Hosts of a site go: up to `most`, or all."""
    net = w.known.net(site, tie.project, tie.net_of(site))
    if net is not None:
        for name in list(net.hosts) if most is None else w.some(list(net.hosts), 0, most):
            stop_host(w, net, name)


def run_dry(w: Writer) -> None:
    """Hosts come at one member, more than its share holds, one after the other; meanwhile somebody dies or is cut
    off; some hosts go, and the load moves on."""
    tie = _small(w)
    if tie is None:
        return
    for site in w.some(list(tie.members), 1, 2):
        pause = w.chance.choice((0.1, 1.0, 3.0))
        _hosts(w, tie, site, w.chance.randint(3, 9), pause)
        _trouble(w, tie, site)
        _hosts(w, tie, site, w.chance.randint(2, 9), pause)
        _fewer(w, tie, site, 6)
        w.rest(0.5, 6.0)


def _trouble(w: Writer, tie: Tie, site: str) -> None:
    """Something breaks between the one that runs dry and one that gives."""
    other = w.one([s for s in tie.members if s != site])
    if other is None:
        return
    if w.odds(0.5) and w.may("crash-point"):
        victim = w.chance.choice((site, other, other))
        point = w.chance.choice(("before-write", "after-write", "after-write", "before-send", "after-reply"))
        w.do(Step(at=0, verb=Verb.CRASH, site=victim, point=point, amount=float(w.chance.randint(1, 3))))
        _hosts(w, tie, site, 2, 0.5)
        w.do(Step(at=0, verb=Verb.START, site=victim), w.trouble() / 2)
    elif w.may("cut"):
        both = 1.0 if w.odds(0.6) else 0.0
        w.do(Step(at=0, verb=Verb.CUT, site=other, other=site, amount=both, seconds=w.trouble()))
        w.rest(0.0, 1.0)


def got_and_left(w: Writer) -> None:
    """Who got addresses from others, or gave some, leaves, and perhaps comes back; the others go on making hosts."""
    tie = _small(w)
    if tie is None or len(tie.members) < 3:
        return
    leaver = w.one([s for s in tie.members if s != tie.home])
    if leaver is None:
        return
    hot = leaver if w.odds(0.6) else w.one([s for s in tie.members if s != leaver]) or leaver
    _hosts(w, tie, hot, w.chance.randint(4, 12), w.chance.choice((0.1, 1.0)))
    _fewer(w, tie, leaver)
    w.rest(0.0, 3.0)
    if w.odds(0.4):
        _trouble(w, tie, leaver)
    text = tie.members[leaver]
    change(w, tie, tie.home, [a for s, a in tie.members.items() if s != leaver])
    w.rest(0.5, 8.0)
    for site in list(tie.members):
        _hosts(w, tie, site, w.chance.randint(1, 6), 0.5)
    if w.odds(0.5) and w.known.runs(tie.home, w.now) and leaver not in tie.members:
        change(w, tie, tie.home, [*tie.members.values(), attachment_for(w, tie, leaver) or text])
        w.rest(1.0, 5.0)
        for site in list(tie.members):
            _hosts(w, tie, site, w.chance.randint(1, 5), 0.5)


def given_and_adopted(w: Writer) -> None:
    """Members give addresses to one another out of the hearing of one that adopts the Vpn; then all make hosts."""
    tie = _small(w)
    heir = w.one([s for s in tie.members if s != tie.home]) if tie is not None else None
    if tie is None or heir is None:
        return
    others = [s for s in tie.members if s != heir]
    seconds = w.trouble() + 20.0
    for other in others:
        w.do(Step(at=0, verb=Verb.CUT, site=heir, other=other, amount=1, seconds=seconds))
    w.rest(0.1, 1.0)
    _hosts(w, tie, w.chance.choice(others), w.chance.randint(4, 10), 0.6)
    w.do(Step(at=0, verb=Verb.ADOPT, site=heir, project=tie.project, name=tie.name))
    w.rest(0.3, 3.0)
    _hosts(w, tie, heir, w.chance.randint(3, 8), 0.4)
    w.do(Step(at=0, verb=Verb.HEAL))
    w.rest(0.1, 2.0)
    for site in list(tie.members):
        _hosts(w, tie, site, w.chance.randint(1, 6), 0.4)
    if w.odds(0.4) and len(tie.members) > 2 and w.known.runs(tie.home, w.now):
        leaver = w.chance.choice([s for s in tie.members if s != tie.home])
        change(w, tie, tie.home, [a for s, a in tie.members.items() if s != leaver])
        w.rest(1.0, 8.0)
