"""Scenes about one site: its disk, its cloud, its clock, its honesty."""

from __future__ import annotations

from intertie.testing.simulator.story import Step, Verb
from intertie.testing.simulator.workload.busy import BUSY, act_on, busy
from intertie.testing.simulator.workload.deeds import (
    change,
    end,
    partners,
    stop_host,
    stretch,
    stretch_net,
    verify,
)
from intertie.testing.simulator.workload.faults import cut_off, occupied, pair, tell
from intertie.testing.simulator.workload.untimely import UNTIMELY, used_tie
from intertie.testing.simulator.workload.writer import Writer

CLOUDY = ("cloud-fails", "cloud-done", "cloud-partial", "cloud-slow")


def lost_store(w: Writer) -> None:
    """A site loses its database; somebody asks it before its peers have told it what it knew."""
    tie = w.tie()
    site = (w.one(list(tie.members)) if tie is not None else None) or w.site()
    if site is None or not w.known.runs(site, w.now):
        return
    if w.odds(0.3):
        cut_off(w, site, w.trouble())
    w.do(Step(at=0, verb=Verb.LOSE_STORE, site=site))
    w.rest(0.1, 5.0)
    if tie is not None and tie.home != site and w.odds(0.5):
        act_on(w, tie)
    w.do(Step(at=0, verb=Verb.START, site=site))
    w.go(w.chance.choice((0.05, 0.2, 1.0, 4.0)))
    net = w.make_net(site, "demo", w.prefixes("ipv4"))
    if net is not None and (others := partners(w, site, "demo")):
        stretch_net(w, net, others)
    busy(w, 0, 2)


def old_backup(w: Writer) -> None:
    """A database is copied, the site goes on and promises more, and the old copy is put back."""
    _back_to_old(w, "")


def old_directory(w: Writer) -> None:
    """The same with all that lies beside the database: only peers can tell."""
    _back_to_old(w, "whole")


def _back_to_old(w: Writer, point: str) -> None:
    site = w.site()
    if site is None:
        return
    w.do(Step(at=0, verb=Verb.BACKUP, site=site))
    w.rest(0.5, 5.0)
    focus, w.focus = w.focus, (site,)
    busy(w, 2, 5, 20.0)
    w.do(Step(at=0, verb=Verb.RESTORE, site=site, point=point))
    w.go(w.chance.choice((0.05, 0.5, 5.0)))
    busy(w, 1, 3, 10.0)
    w.focus = focus


def twin(w: Writer) -> None:
    """A copy of a site, keys and all, runs beside it."""
    site = w.site()
    if site is None:
        return
    seconds = round(w.trouble() + w.chance.choice((0.0, 80.0)), 1)
    w.do(Step(at=0, verb=Verb.CLONE, site=site, seconds=seconds))
    focus, w.focus = w.focus, (site,)
    busy(w, 1, 3, 15.0)
    if seconds > 80.0:
        # By now everybody has heard both.
        w.rest(50.0, 65.0)
        busy(w, 1, 3, 10.0)
    w.focus = focus


def failing_cloud(w: Writer) -> None:
    """The drivers of a member fail, or say so, or are slow, while a Vpn comes and goes."""
    site = w.site()
    if site is None:
        return
    kinds = [k for k in CLOUDY if w.may(k)]
    kind = w.one(kinds)
    if kind == "cloud-slow":
        took = w.chance.choice((0.5, 3.0, 8.0))
        w.do(Step(at=0, verb=Verb.CLOUD_SLOW, site=site, amount=took, seconds=w.trouble()))
    elif kind is not None:
        point = {"cloud-done": "done", "cloud-partial": "partial"}.get(kind, "")
        many = w.chance.choice((1, 2, 4, 10))
        w.do(Step(at=0, verb=Verb.CLOUD_FAILS, site=site, amount=many, point=point))
    focus, w.focus = w.focus, (site,)
    busy(w, 2, 4, 10.0)
    w.focus = focus


def foreign_port(w: Writer) -> None:
    """Somebody else's machine stands on a network that was made for a Vpn, when that is to end."""
    found = used_tie(w)
    if found is None:
        stretch(w)
        return
    tie, net = found
    for name in list(net.hosts):
        stop_host(w, net, name)
    occupied(w, net, w.trouble() + 5.0)
    w.rest(0.2, 6.0)
    if w.odds(0.5) or len(tie.members) < 3:
        end(w, tie, tie.home, force=w.odds(0.3))
    else:
        change(w, tie, tie.home, [a for s, a in tie.members.items() if s != net.site])
    w.rest(0.5, 10.0)


def full_disk(w: Writer) -> None:
    """A disk is full while the site is asked, and when it answers its peers."""
    tie = w.tie()
    site = w.one(list(tie.members)) if tie is not None else w.site()
    if site is None:
        return
    for _ in range(w.chance.randint(1, 3)):
        # At once, or a moment later, when the user has an answer and the rounds are to say what they did.
        if w.may("cloud-slow") and w.odds(0.4):
            full_in_a_round(w, site)
            continue
        after = w.chance.choice((0.0, 0.0, 0.02, 0.05))
        w.do(Step(at=0, verb=Verb.DISK_FULL, site=site, amount=w.chance.choice((1, 1, 2, 4, 12, 12))), after)
        if w.may("cloud-fails") and w.odds(0.3):
            # What the drivers did cannot be said: the round fails.
            w.do(Step(at=0, verb=Verb.CLOUD_FAILS, site=site, amount=w.chance.choice((1, 2))))
        focus, w.focus = w.focus, (site,)
        if tie is not None and tie in w.known.ties and w.odds(0.6):
            act_on(w, tie)
        else:
            w.chance.choice(BUSY)(w)
        w.rest(0.2, 6.0)
        w.focus = focus


def full_in_a_round(w: Writer, site: str) -> None:
    """A disk is full when the drivers have made a Vpn and that is to be said. They are slow, or it were over."""
    home = w.one([s for s in partners(w, site, "demo") if w.known.mapped(site, s, "demo")])
    net = w.make_net(home, "demo", w.prefixes("ipv4")) if home is not None else None
    if net is None:
        return
    took = w.chance.choice((0.2, 0.5))
    w.do(Step(at=0, verb=Verb.CLOUD_SLOW, site=site, amount=took, seconds=30.0))
    stretch_net(w, net, [site])
    w.go(took * w.chance.uniform(1.0, 4.0))
    w.do(Step(at=0, verb=Verb.DISK_FULL, site=site, amount=12))
    w.rest(1.0, 10.0)


def time_leap(w: Writer) -> None:
    """Clocks jump while a proposal is on its way, or an invitation."""
    tie = w.tie()
    if tie is None:
        return
    for site in w.some(list(tie.members), 1, 2):
        jump = w.chance.choice((-700.0, 700.0, 90000.0, -90000.0, 30.0, -30.0))
        w.do(Step(at=0, verb=Verb.CLOCK, site=site, amount=jump))
        w.rest(0.0, 1.0)
        UNTIMELY[w.chance.choice(("change-elsewhere", "delete-elsewhere", "adopt-living"))](w)
        w.rest(0.0, 5.0)
    verify(w)


def stand_still(w: Writer) -> None:
    """An agent stands still as if it were dead, and goes on where it stopped."""
    tie = w.tie()
    if tie is None:
        return
    site = w.chance.choice(list(tie.members))
    seconds = w.chance.choice((3.0, 20.0, 45.0, w.trouble(), min(600.0, 5 * w.trouble())))
    if w.odds(0.5):
        act_on(w, tie)
        w.go(w.chance.choice((0.0, 0.01, 0.02, 0.05)))
    w.do(Step(at=0, verb=Verb.PAUSE, site=site, seconds=round(seconds, 1)))
    w.rest(0.1, 3.0)
    heir = w.member(tie)
    if site == tie.home and heir is not None and w.odds(0.6):
        w.do(Step(at=0, verb=Verb.ADOPT, site=heir, project=tie.project, name=tie.name))
        w.rest(0.1, 3.0)
    busy(w, 1, 4, 15.0)
    w.rest(0.0, seconds)


def liar(w: Writer) -> None:
    """One peer lies to one or two others, several times, while they have to do with one another."""
    tie = w.tie()
    found = pair(w)
    if tie is not None and w.odds(0.8):
        one, *others = w.some(list(tie.members), 2, 3)
        if tie.home in others and w.odds(0.6):
            others[others.index(tie.home)], one = one, tie.home
    elif found is not None:
        one, others = found[0], [found[1]]
    else:
        return
    for _ in range(w.chance.randint(2, 5)):
        tell(w, one, w.chance.choice(others), tie.name if tie is not None else "")
        w.rest(0.0, 4.0)
        if tie is not None and tie in w.known.ties and w.odds(0.5):
            act_on(w, tie)
    busy(w, 0, 2)


def blackout(w: Writer) -> None:
    """All agents die in the middle of things."""
    busy(w, 2, 4, 0.5)
    w.do(Step(at=0, verb=Verb.MASS_RESTART))
    w.rest(0.1, 10.0)
    busy(w, 1, 3, 3.0)
