"""Scenes: several steps that belong together, so that what is rare by chance happens often enough to be met.

Each needs kinds of faults that may be off in a story; then it is not played in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from intertie.testing.simulator.story import Step, Verb
from intertie.testing.simulator.workload.busy import BUSY, act_on, busy
from intertie.testing.simulator.workload.deeds import (
    attachment_for,
    change,
    end,
    enrol,
    host,
    map_project,
    partners,
    spare,
    start_host,
    stop_host,
    stretch,
    stretch_net,
)
from intertie.testing.simulator.workload.dry import given_and_adopted, got_and_left, run_dry
from intertie.testing.simulator.workload.faults import arm, cut_off, start_later
from intertie.testing.simulator.workload.known import Tie
from intertie.testing.simulator.workload.races import RACES
from intertie.testing.simulator.workload.site_scenes import (
    CLOUDY,
    blackout,
    failing_cloud,
    foreign_port,
    full_disk,
    liar,
    lost_store,
    old_backup,
    old_directory,
    stand_still,
    time_leap,
    twin,
)
from intertie.testing.simulator.workload.unseen import (
    adopted_while_closing,
    all_at_once,
    deaf_after_a_loss,
    dies_while_it_recovers,
    grabbed_prefix,
    hears_and_dies,
    leaver_dies,
    members_overlap,
    number_again,
    unseen_grant,
    waits_for_the_silent,
)
from intertie.testing.simulator.workload.writer import Act, Writer


def crash_points(w: Writer) -> None:
    """One agent dies at one point again and again, while a Vpn that it has a part in is changed."""
    tie = w.tie()
    if tie is None:
        stretch(w)
        return
    victim = w.chance.choice([tie.home, *tie.members])
    for _ in range(w.chance.randint(1, 3)):
        arm(w, victim)
        w.go(w.chance.choice((0.0, 0.1)))
        act_on(w, tie)
        if w.odds(0.3):
            w.go(0.1)
            w.chance.choice(BUSY)(w)
        w.rest(1.0, 8.0)
        w.do(Step(at=0, verb=Verb.START, site=victim))
        w.rest(0.5, 15.0)
        if tie not in w.known.ties:
            return


def hot_spot(w: Writer) -> None:
    """Hosts come in bursts at one member of a stretched network after the other, until its range is used up; some go
    again, and members come and go meanwhile."""
    ties = [t for t in w.known.ties if t.kind == "l2" and not t.closing and spare(t.prefixes[0]) < 64]
    tie = w.one(ties)
    if tie is None:
        site = w.site()
        others = partners(w, site, "demo")[:2]
        size = w.chance.choice((29, 28, 28, 27)) if len(others) < 2 else w.chance.choice((28, 27))
        net = w.make_net(site, "demo", (f"10.250.{w.number('hot')}.0/{size}",)) if site and others else None
        if net is not None:
            stretch_net(w, net, others)
            w.rest(1.0, 6.0)
        return
    for site in w.some(list(tie.members), 1, len(tie.members)):
        net = w.known.net(site, tie.project, tie.net_of(site))
        if net is None or not w.known.runs(site, w.now):
            continue
        for _ in range(min(12, spare(tie.prefixes[0]) // len(tie.members) + w.chance.randint(0, 2))):
            start_host(w, net)
            w.rest(0.0, w.chance.choice((0.0, 0.1, 2.0)))
        for name in w.some(list(net.hosts), 0, 4):
            stop_host(w, net, name)
        if w.odds(0.3):
            act_on(w, tie)
        w.rest(0.5, 8.0)


def churn(w: Writer) -> None:
    """Members of one Vpn come and go, asked at its home and elsewhere, some with hosts."""
    tie = w.tie()
    if tie is None:
        return
    for _ in range(w.chance.randint(3, 6)):
        if tie not in w.known.ties or not w.known.runs(tie.home, w.now):
            return
        new = [s for s in w.known.up(w.now) if s not in tie.members and w.known.mapped(s, tie.home, tie.project)]
        at = tie.home if w.odds(0.7) else w.member(tie) or tie.home
        leaver = w.one([s for s in tie.members if s not in (tie.home, at)])
        texts = dict(tie.members)
        if leaver is not None and len(texts) > 2 and w.odds(0.5):
            del texts[leaver]
        elif new and (text := attachment_for(w, tie, site := w.chance.choice(new))):
            texts[site] = text
        change(w, tie, at, list(texts.values()))
        w.rest(0.0, w.chance.choice((0.1, 2.0, 10.0)))
        if w.odds(0.3):
            host(w)


def adoption(w: Writer) -> None:
    """A home dies or is cut off; users hear that it is silent, adopt the Vpn, change it; the old home returns and
    has, if it only was cut off, changed it too."""
    tie = w.tie()
    if tie is None or len(tie.members) < 2:
        return
    home, heirs = tie.home, [s for s in tie.members if s != tie.home and w.known.runs(s, w.now)]
    dies = w.odds(0.5) and w.may("crash")
    if not heirs or (not dies and not w.may("isolate")):
        return
    away = w.trouble() + 15.0
    if dies:
        w.do(Step(at=0, verb=Verb.CRASH, site=home))
        w.do(Step(at=0, verb=Verb.START, site=home), away)
    else:
        cut_off(w, home, away)
    w.rest(0.5, 5.0)
    texts = list(tie.members.values())
    change(w, tie, heirs[0], texts)
    w.rest(0.5, 7.0)
    for site in heirs if w.odds(0.3) else heirs[:1]:
        w.do(Step(at=0, verb=Verb.ADOPT, site=site, project=tie.project, name=tie.name))
        w.go(w.chance.choice((0.0, 0.0, 0.5)))
    w.rest(0.5, 4.0)
    act_on(w, tie)
    if not dies:
        # The lost home knows nothing of it, and goes on.
        w.rest(0.0, 3.0)
        change(w, tie, home, texts[: max(2, len(texts) - 1)])
    if w.odds(0.4):
        lose_adopter(w, tie)
    w.rest(away / 2, away + 10.0)
    act_on(w, tie)


def lose_adopter(w: Writer, tie: Tie) -> None:
    """The new home goes as well."""
    if w.may("crash") and w.known.runs(tie.home, w.now):
        w.rest(0.0, 2.0)
        w.do(Step(at=0, verb=Verb.CRASH, site=tie.home))
        start_later(w, tie.home)


def join_and_forget(w: Writer) -> None:
    """A site joins, has a part in something, is forgotten by one or all, and perhaps comes back."""
    before = len(w.known.sites)
    enrol(w)
    if len(w.known.sites) == before:
        return
    new = w.known.sites[-1]
    if w.odds(0.3):
        map_project(w, "ops", [new, *w.some([s for s in w.known.up(w.now) if s != new], 1, 2)])
    net = w.one([n for n in w.known.nets if not n.made_for and not w.known.ties_on(n) and n.project == "demo"])
    if net is not None and w.known.runs(net.site, w.now):
        stretch_net(w, net, [new])
    else:
        stretch(w)
    w.rest(1.0, 20.0)
    if not w.may("forget"):
        return
    by = w.some([s for s in w.known.up(w.now) if s != new], 1, len(w.known.sites))
    for site in by:
        w.do(Step(at=0, verb=Verb.FORGET, site=site, other=new))
        w.rest(0.0, w.chance.choice((0.0, 1.0, 10.0)))
    busy(w, 0, 2)
    tie = w.one([t for t in w.known.ties if new in t.members and t.home != new])
    if tie is not None and w.known.runs(tie.home, w.now):
        end(w, tie, tie.home)
    w.rest(1.0, 10.0)
    if w.odds(0.5) and by:
        w.do(Step(at=0, verb=Verb.ENROL, site=new, other=by[0]))


def split(w: Writer) -> None:
    """The federation falls into two parts, both go on, and meet again."""
    sites = list(w.known.sites)
    w.chance.shuffle(sites)
    half = w.chance.randint(1, max(1, len(sites) // 2))
    seconds = w.trouble() + 5.0
    both = 1.0 if w.odds(0.8) else 0.0
    for a in sites[:half]:
        for b in sites[half:]:
            w.do(Step(at=0, verb=Verb.CUT, site=a, other=b, amount=both, seconds=seconds))
    busy(w, 2, 6, seconds)
    RACES[w.chance.choice(("same-name", "crossing", "two-changes", "delete-and-change", "two-adopt"))](w)
    if w.odds(0.3):
        w.do(Step(at=0, verb=Verb.HEAL))


def swizzle(w: Writer) -> None:
    """Links are clogged one by one, and open in another order."""
    pairs = [(a, b) for a in w.known.sites for b in w.known.sites if a != b]
    opens = 0.0
    for a, b in w.some(pairs, 2, 10):
        opens = w.chance.uniform(1.0, 40.0)
        w.do(Step(at=0, verb=Verb.CLOG, site=a, other=b, seconds=round(opens, 1)))
        w.rest(0.0, 1.5)
        if w.odds(0.4):
            w.chance.choice(BUSY)(w)
    busy(w, 1, 3, 10.0)


def dead_member(w: Writer) -> None:
    """A member is gone; the Vpn is changed without it, ends, or the member is removed or forgotten; it returns."""
    tie = w.tie()
    dead = w.member(tie) if tie is not None else None
    if tie is None or dead is None:
        return
    w.do(Step(at=0, verb=Verb.CRASH, site=dead))
    w.rest(0.5, 5.0)
    rest = [a for s, a in tie.members.items() if s != dead]
    if len(rest) >= 2 and w.odds(0.5):
        change(w, tie, tie.home, rest)
    else:
        end(w, tie, tie.home, force=w.odds(0.3))
    w.rest(0.5, 10.0)
    if w.may("forget") and w.odds(0.3):
        w.do(Step(at=0, verb=Verb.FORGET, site=tie.home, other=dead))
    elif w.odds(0.5):
        change(w, tie, tie.home, [*rest, attachment_for(w, tie, dead) or dead])
    busy(w, 0, 2)
    w.do(Step(at=0, verb=Verb.START, site=dead), w.trouble())


@dataclass(frozen=True, slots=True)
class Scene:
    """`needs`: of these kinds of faults one at least is on."""

    play: Act
    needs: tuple[str, ...] = ()


SCENES: dict[str, Scene] = {
    "crash-point": Scene(crash_points, ("crash-point",)),
    "hot-spot": Scene(hot_spot),
    "churn": Scene(churn),
    "adoption": Scene(adoption, ("crash", "isolate")),
    "join-and-forget": Scene(join_and_forget),
    "split": Scene(split, ("cut", "isolate")),
    "swizzle": Scene(swizzle, ("clog",)),
    "lost-store": Scene(lost_store, ("lose-store",)),
    "old-backup": Scene(old_backup, ("restore",)),
    "old-directory": Scene(old_directory, ("put-back-whole",)),
    "twin": Scene(twin, ("clone",)),
    "failing-cloud": Scene(failing_cloud, CLOUDY),
    "foreign-port": Scene(foreign_port, ("occupy",)),
    "full-disk": Scene(full_disk, ("disk-full",)),
    "time-leap": Scene(time_leap, ("clock",)),
    "stand-still": Scene(stand_still, ("pause",)),
    "liar": Scene(liar, ("lie",)),
    "blackout": Scene(blackout, ("mass-restart",)),
    "dead-member": Scene(dead_member, ("crash",)),
    "unseen-grant": Scene(unseen_grant, ("cut",)),
    "adopted-while-closing": Scene(adopted_while_closing, ("crash",)),
    "leaver-dies": Scene(leaver_dies, ("crash-point",)),
    "number-again": Scene(number_again, ("crash",)),
    "waits-for-the-silent": Scene(waits_for_the_silent, ("crash",)),
    "deaf-after-a-loss": Scene(deaf_after_a_loss, ("lose-store",)),
    "dies-while-it-recovers": Scene(dies_while_it_recovers, ("lose-store",)),
    "all-at-once": Scene(all_at_once, ("cut",)),
    "hears-and-dies": Scene(hears_and_dies, ("crash-point",)),
    "members-overlap": Scene(members_overlap),
    "grabbed-prefix": Scene(grabbed_prefix, ("lie",)),
    "run-dry": Scene(run_dry),
    "got-and-left": Scene(got_and_left),
    "given-and-adopted": Scene(given_and_adopted, ("cut",)),
    # Here come: two agents of a site of which one is cut off from the database (several agents); holds that expire
    # while their calendar cannot be reached (reservations).
}
