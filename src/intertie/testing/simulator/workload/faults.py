"""What breaks: one function a kind of fault. What breaks here ends by itself, mostly within the story."""

from __future__ import annotations

from intertie.testing.simulator.story import Step, Verb
from intertie.testing.simulator.workload.known import Net
from intertie.testing.simulator.workload.writer import Act, Writer

# ── Between sites ──────────────────────────────────────────────────────────────────────────────────────────


def pair(w: Writer) -> tuple[str, str] | None:
    site = w.site()
    other = w.other(site) if site is not None else None
    return (site, other) if site is not None and other is not None else None


def cut(w: Writer) -> None:
    """Both ways; calls fail at once, or vanish (`silent`)."""
    if (found := pair(w)) is not None:
        point = w.chance.choice(("", "", "silent"))
        w.do(Step(at=0, verb=Verb.CUT, site=found[0], other=found[1], amount=1, seconds=w.trouble(), point=point))


def one_way(w: Writer) -> None:
    if (found := pair(w)) is not None:
        w.do(Step(at=0, verb=Verb.CUT, site=found[0], other=found[1], seconds=w.trouble()))


def isolate(w: Writer) -> None:
    """A site cut off from all others."""
    site = w.site()
    if site is not None:
        cut_off(w, site, w.trouble())


def cut_off(w: Writer, site: str, seconds: float) -> None:
    for other in w.known.sites:
        if other != site:
            w.do(Step(at=0, verb=Verb.CUT, site=site, other=other, amount=1, seconds=seconds))


def heal(w: Writer) -> None:
    w.do(Step(at=0, verb=Verb.HEAL))


def drop(w: Writer) -> None:
    weather(w, Verb.DROP, probability(w))


def duplicate(w: Writer) -> None:
    weather(w, Verb.DUPLICATE, probability(w))


def late(w: Writer) -> None:
    weather(w, Verb.LATE, w.chance.choice((0.5, 3.0, 10.0, 30.0, 60.0)))


def clog(w: Writer) -> None:
    weather(w, Verb.CLOG, 0.0)


def reset(w: Writer) -> None:
    weather(w, Verb.RESET, probability(w))


def half_open(w: Writer) -> None:
    weather(w, Verb.HALF_OPEN, probability(w))


def weather(w: Writer, verb: Verb, amount: float) -> None:
    """On one way between two sites, or on both."""
    found = pair(w)
    if found is None:
        return
    a, b = found
    seconds = w.trouble()
    w.do(Step(at=0, verb=verb, site=a, other=b, amount=amount, seconds=seconds))
    if w.odds(0.5):
        w.do(Step(at=0, verb=verb, site=b, other=a, amount=amount, seconds=seconds))


def probability(w: Writer) -> float:
    return min(1.0, round(w.chance.choice((0.1, 0.3, 0.5, 0.9, 1.0)) * min(w.force, 1.5), 2))


# ── Processes ──────────────────────────────────────────────────────────────────────────────────────────────


def crash(w: Writer) -> None:
    """An agent dies, and mostly starts again."""
    if (site := w.site()) is not None:
        w.do(Step(at=0, verb=Verb.CRASH, site=site))
        start_later(w, site)


def start_later(w: Writer, site: str) -> None:
    if w.odds(0.9):
        w.do(Step(at=0, verb=Verb.START, site=site), w.chance.choice((0.1, 1.0, w.trouble(), w.trouble())))


def crash_point(w: Writer) -> None:
    """An agent will die at the n-th write, send, reply or driver call from now."""
    if (site := w.site()) is not None:
        arm(w, site)
        start_later(w, site)


def arm(w: Writer, site: str) -> None:
    times = float(w.chance.choice((1, 1, 1, 2, 3, 5, 8)))
    w.do(Step(at=0, verb=Verb.CRASH, site=site, point=w.pick(w.points), amount=times))


def mass_restart(w: Writer) -> None:
    w.do(Step(at=0, verb=Verb.MASS_RESTART))


def pause(w: Writer) -> None:
    if (site := w.site()) is not None:
        seconds = w.chance.choice((1.0, 5.0, 20.0, 40.0, w.trouble(), min(600.0, 6 * w.trouble())))
        w.do(Step(at=0, verb=Verb.PAUSE, site=site, seconds=round(seconds, 1)))


def clock(w: Writer) -> None:
    """A wall clock jumps, forth or back, by seconds or by years."""
    if (site := w.site()) is not None:
        jump = w.chance.choice((-5.0, 5.0, -60.0, 60.0, -700.0, 700.0, -86400.0, 86400.0, 3.2e7, -3.2e7))
        w.do(Step(at=0, verb=Verb.CLOCK, site=site, amount=jump))


# ── Disks ──────────────────────────────────────────────────────────────────────────────────────────────────


def disk_full(w: Writer) -> None:
    if (site := w.site()) is not None:
        w.do(Step(at=0, verb=Verb.DISK_FULL, site=site, amount=w.chance.choice((1, 1, 2, 3, 10))))


def lose_store(w: Writer) -> None:
    if (site := w.site()) is not None:
        w.do(Step(at=0, verb=Verb.LOSE_STORE, site=site))
        w.do(Step(at=0, verb=Verb.START, site=site), w.chance.choice((0.1, 5.0, w.trouble())))


def restore(w: Writer) -> None:
    """An old copy of a database is put back; where there is none it is made now, and put back later."""
    site = w.site()
    if site is None:
        return
    put_back(w, site, "")


def put_back_whole(w: Writer) -> None:
    """The same with everything beside the database: the site itself cannot tell."""
    if (site := w.site()) is not None:
        put_back(w, site, "whole")


def put_back(w: Writer, site: str, point: str) -> None:
    if site in w.known.copies:
        w.do(Step(at=0, verb=Verb.RESTORE, site=site, point=point))
    else:
        w.do(Step(at=0, verb=Verb.BACKUP, site=site))
        w.do(Step(at=0, verb=Verb.RESTORE, site=site, point=point), w.trouble() + 2.0)


def clone(w: Writer) -> None:
    if (site := w.site()) is not None:
        w.do(Step(at=0, verb=Verb.CLONE, site=site, seconds=w.trouble()))


# ── Clouds ─────────────────────────────────────────────────────────────────────────────────────────────────


def cloud_fails(w: Writer) -> None:
    if (site := w.site()) is not None:
        w.do(Step(at=0, verb=Verb.CLOUD_FAILS, site=site, amount=w.chance.choice((1, 2, 3, 5, 20))))


def cloud_done(w: Writer) -> None:
    """Calls take effect, and say that they failed."""
    if (site := w.site()) is not None:
        amount = w.chance.choice((1, 2, 3, 5))
        w.do(Step(at=0, verb=Verb.CLOUD_FAILS, site=site, amount=amount, point="done"))


def cloud_partial(w: Writer) -> None:
    """Observations tell half of what is there."""
    if (site := w.site()) is not None:
        amount = w.chance.choice((1, 2, 3, 8))
        w.do(Step(at=0, verb=Verb.CLOUD_FAILS, site=site, amount=amount, point="partial"))


def cloud_slow(w: Writer) -> None:
    if (site := w.site()) is not None:
        took = w.chance.choice((0.02, 0.05, 0.2, 1.0, 3.0, 10.0))
        w.do(Step(at=0, verb=Verb.CLOUD_SLOW, site=site, amount=took, seconds=w.trouble()))


def break_segment(w: Writer) -> None:
    tie = w.tie()
    if tie is not None:
        site = w.chance.choice(list(tie.members))
        w.do(Step(at=0, verb=Verb.BREAK_SEGMENT, site=site, name=tie.name, project=tie.project))


def occupy(w: Writer) -> None:
    """Somebody else's port comes to a network, and mostly goes again."""
    made = [n for n in w.known.nets if n.made_for]
    net = w.one(made) if made and w.odds(0.7) else w.net()
    if net is not None:
        occupied(w, net, w.trouble() if w.odds(0.8) else 0.0)


def occupied(w: Writer, net: Net, seconds: float) -> None:
    """Somebody's port on a network; it goes after `seconds`, if there are any."""
    come = Step(at=0, verb=Verb.OCCUPY, site=net.site, project=net.project, name=net.name, amount=1)
    w.do(come)
    if seconds:
        go = Step(at=0, verb=Verb.OCCUPY, site=net.site, project=net.project, name=net.name, amount=0)
        w.do(go, seconds)


# ── Peers ──────────────────────────────────────────────────────────────────────────────────────────────────


def lie(w: Writer) -> None:
    tie = w.tie()
    if tie is not None and len(tie.members) >= 2 and w.odds(0.7):
        liar, victim = w.some(list(tie.members), 2, 2)
        if w.odds(0.5) and victim != tie.home:
            liar = tie.home  # it has the most to lie about
        tell(w, liar, victim, tie.name)
    elif (found := pair(w)) is not None:
        tell(w, *found, "")


def tell(w: Writer, liar: str, victim: str, name: str) -> None:
    w.do(Step(at=0, verb=Verb.LIE, site=liar, other=victim, name=name, point=w.pick(w.lies)))


def forget(w: Writer) -> None:
    """One site forgets another, or all forget it."""
    found = pair(w)
    if found is None or len(w.known.sites) < 3:
        return
    by, gone = found
    everybody = [s for s in w.known.up(w.now) if s not in (by, gone)]
    for site in [by, *(everybody if w.odds(0.7) else [])]:
        w.do(Step(at=0, verb=Verb.FORGET, site=site, other=gone))
        w.go(w.chance.choice((0.0, 0.1, 2.0)))


FAULTS: dict[str, Act] = {
    "cut": cut,
    "one-way": one_way,
    "isolate": isolate,
    "heal": heal,
    "drop": drop,
    "duplicate": duplicate,
    "late": late,
    "clog": clog,
    "reset": reset,
    "half-open": half_open,
    "crash": crash,
    "crash-point": crash_point,
    "mass-restart": mass_restart,
    "pause": pause,
    "clock": clock,
    "disk-full": disk_full,
    "lose-store": lose_store,
    "restore": restore,
    "put-back-whole": put_back_whole,
    "clone": clone,
    "cloud-fails": cloud_fails,
    "cloud-done": cloud_done,
    "cloud-partial": cloud_partial,
    "cloud-slow": cloud_slow,
    "break-segment": break_segment,
    "occupy": occupy,
    "lie": lie,
    "forget": forget,
    # Here come: one of several agents of a site is cut off from its database (several agents at a site).
}
