"""Scenes about what somebody did not see: a change behind a cut, a word that was lost, news that come at once."""

from __future__ import annotations

from dataclasses import replace

from intertie.testing.simulator.story import Step, Verb
from intertie.testing.simulator.workload.deeds import (
    attachment_for,
    change,
    end,
    partners,
    propose,
    start_host,
    stretch,
    stretch_net,
)
from intertie.testing.simulator.workload.known import Tie
from intertie.testing.simulator.workload.writer import Writer


def _stretched(w: Writer) -> Tie | None:
    """An L2 Vpn that stands; made now where there is none."""
    found = [t for t in w.known.ties if t.kind == "l2" and not t.closing and w.known.runs(t.home, w.now)]
    if not found:
        stretch(w)
        w.rest(2.0, 6.0)
    return w.one([t for t in w.known.ties if t.kind == "l2" and not t.closing and w.known.runs(t.home, w.now)])


def unseen_grant(w: Writer) -> None:
    """A home adds a member, behind a cut from another one, which adopts the Vpn without having seen that; all three
    give addresses to hosts."""
    tie = _stretched(w)
    heir = w.member(tie) if tie is not None else None
    new = w.one([s for s in w.known.up(w.now) if tie is not None and s not in tie.members])
    if tie is None or heir is None or new is None or heir == tie.home:
        return
    home, before = tie.home, list(tie.members.values())
    seconds = w.trouble() + 30.0
    for other in (home, new):
        w.do(Step(at=0, verb=Verb.CUT, site=heir, other=other, amount=1, seconds=seconds))
    w.rest(0.2, 1.0)
    change(w, tie, home, [*before, attachment_for(w, tie, new) or new])
    w.rest(1.0, 6.0)
    _hosts(w, tie, (new, home))
    w.do(Step(at=0, verb=Verb.ADOPT, site=heir, project=tie.project, name=tie.name))
    w.rest(0.5, 5.0)
    _hosts(w, tie, (heir, home, new))
    w.rest(0.0, 10.0)
    w.do(Step(at=0, verb=Verb.HEAL))
    w.rest(0.05, 1.0)
    _hosts(w, tie, (home, heir, new))
    w.rest(1.0, 8.0)


def _hosts(w: Writer, tie: Tie, sites: tuple[str, ...]) -> None:
    for site in sites:
        net = w.known.net(site, tie.project, tie.net_of(site))
        if net is not None and w.known.runs(site, w.now):
            for _ in range(w.chance.randint(1, 3)):
                start_host(w, net)


def adopted_while_closing(w: Writer) -> None:
    """A Vpn is closing, held by hosts, when its home is lost and somebody adopts it."""
    tie = _stretched(w)
    heir = w.member(tie) if tie is not None else None
    if tie is None or heir is None or heir == tie.home:
        return
    w.rest(1.0, 4.0)
    _hosts(w, tie, (heir,))
    w.rest(2.0, 5.0)
    end(w, tie, tie.home)
    w.rest(0.5, 6.0)
    home = tie.home
    w.do(Step(at=0, verb=Verb.CRASH, site=home))
    w.do(Step(at=0, verb=Verb.START, site=home), w.trouble() + 20.0)
    w.rest(0.5, 6.0)
    w.do(Step(at=0, verb=Verb.ADOPT, site=heir, project=tie.project, name=tie.name))
    w.rest(1.0, 10.0)


def leaver_dies(w: Writer) -> None:
    """A member dies in the moment in which it leaves; the Vpn ends before it returns."""
    tie = w.tie()
    leaver = w.one([s for s in tie.members if s != tie.home]) if tie is not None else None
    if tie is None or leaver is None or len(tie.members) < 3:
        return
    # Its third write is, if nothing comes between, what it would hear after its own last word.
    point, times = w.chance.choice(
        (("before-write", 3), ("before-write", 3), ("before-write", 4), ("after-reply", 1))
    )
    w.rest(2.0, 6.0)
    w.do(Step(at=0, verb=Verb.CRASH, site=leaver, point=point, amount=float(times)))
    change(w, tie, tie.home, [a for s, a in tie.members.items() if s != leaver])
    w.rest(0.3, 5.0)
    end(w, tie, tie.home, force=w.odds(0.2))
    w.rest(2.0, 15.0)
    w.do(Step(at=0, verb=Verb.START, site=leaver), w.trouble())


def number_again(w: Writer) -> None:
    """A Vpn is ended by force while a member is silent, and its home makes another one, not with its number."""
    tie = w.tie()
    silent = w.one([s for s in tie.members if s != tie.home]) if tie is not None else None
    if tie is None or silent is None:
        return
    home, away = tie.home, w.trouble() + 15.0
    w.do(Step(at=0, verb=Verb.CRASH, site=silent))
    w.do(Step(at=0, verb=Verb.START, site=silent), away)
    w.rest(0.2, 2.0)
    end(w, tie, home, force=True)
    w.rest(0.5, 5.0)
    others = [s for s in partners(w, home, "demo") if s != silent]
    net = w.make_net(home, "demo", w.prefixes("ipv4")) if others else None
    if net is not None:
        w.rest(0.5, 2.0)
        stretch_net(w, net, others)
    w.rest(1.0, away)


def waits_for_the_silent(w: Writer) -> None:
    """A Vpn that needs all its members is made while one is away for long; nobody takes that for a refusal."""
    home = w.site()
    others = partners(w, home, "demo")
    if home is None or not others:
        return
    silent = others[0]
    net = w.make_net(home, "demo", w.prefixes("ipv4"))
    w.do(Step(at=0, verb=Verb.CRASH, site=silent))
    if net is not None:
        w.rest(0.2, 1.0)
        stretch_net(w, net, others)
    w.do(Step(at=0, verb=Verb.START, site=silent), 90.0 + w.trouble())
    w.rest(60.0, 130.0)


def deaf_after_a_loss(w: Writer) -> None:
    """A site loses its database, and at first only hears: what it says reaches nobody."""
    site = w.site()
    if site is None:
        return
    seconds = w.trouble() + 15.0
    for other in [s for s in w.known.sites if s != site]:
        w.do(Step(at=0, verb=Verb.CUT, site=site, other=other, seconds=seconds))
    w.rest(0.1, 1.0)
    w.do(Step(at=0, verb=Verb.LOSE_STORE, site=site))
    w.do(Step(at=0, verb=Verb.START, site=site), 0.5)
    w.rest(1.0, seconds + 10.0)


def dies_while_it_recovers(w: Writer) -> None:
    """A site that lost its database dies again and again while it takes its records back."""
    site = w.site()
    if site is None:
        return
    w.do(Step(at=0, verb=Verb.LOSE_STORE, site=site))
    for _ in range(w.chance.randint(1, 3)):
        w.do(Step(at=0, verb=Verb.START, site=site))
        point = w.chance.choice(("before-write", "after-write", "after-write", "before-reply"))
        times = float(w.chance.randint(1, 9))
        w.do(Step(at=0, verb=Verb.CRASH, site=site, point=point, amount=times))
        w.rest(0.5, 4.0)
    w.do(Step(at=0, verb=Verb.START, site=site))
    w.rest(1.0, 10.0)


def all_at_once(w: Writer) -> None:
    """A member is cut off while several Vpns that name it are made, some of one network of its; then all is heard in
    one message."""
    home = w.site()
    others = partners(w, home, "demo")
    if home is None or not others:
        return
    deaf = others[0]
    there = w.make_net(deaf, "demo", w.prefixes("ipv4"))
    if there is None:
        return
    w.rest(1.0, 3.0)
    for site in [s for s in w.known.sites if s != deaf]:
        w.do(Step(at=0, verb=Verb.CUT, site=site, other=deaf, amount=1))
    for n in range(w.chance.randint(2, 4)):
        same = n < 2 or w.odds(0.5)
        net = w.make_net(home, "demo", there.prefixes if same else w.prefixes("ipv4"))
        if net is not None:
            w.rest(0.3, 1.5)
            propose(w, home, "demo", "l2", [f"{home}:{net.name}", f"{deaf}:{there.name}" if same else deaf])
    w.rest(1.0, 12.0)
    w.do(Step(at=0, verb=Verb.HEAL))
    w.rest(1.0, 8.0)


def hears_and_dies(w: Writer) -> None:
    """A member dies in the moment in which it hears the last word on a Vpn."""
    tie = w.tie()
    victim = w.one([s for s in tie.members if s != tie.home and w.known.runs(s, w.now)]) if tie is not None else None
    if tie is None or victim is None:
        return
    w.rest(3.0, 8.0)
    point = w.chance.choice(("after-write", "after-write", "before-write", "before-reply"))
    w.do(Step(at=0, verb=Verb.CRASH, site=victim, point=point, amount=float(w.chance.choice((1, 1, 2)))))
    if w.odds(0.5):
        end(w, tie, tie.home, force=w.odds(0.5))
    else:
        change(w, tie, tie.home, [a for s, a in tie.members.items() if s != victim or w.odds(0.3)])
    w.rest(1.0, 5.0)
    w.do(Step(at=0, verb=Verb.START, site=victim))
    w.rest(1.0, 4.0)


def members_overlap(w: Writer) -> None:
    """Two members of one Vpn have prefixes that overlap, and neither home nor they knew: their answers cross."""
    home = w.site()
    others = [s for s in w.known.up(w.now) if home is not None and s != home]
    others = [s for s in others if w.known.mapped(s, home or "", "demo") and w.known.friends(home or "", s)]
    if home is None or len(others) < 2:
        return
    one, two = w.some(others, 2, 2)
    mine, first = w.make_net(home, "demo", w.prefixes("ipv4")), w.make_net(one, "demo", w.prefixes("ipv4"))
    second = w.make_net(two, "demo", w.crossing(first.prefixes)) if first is not None else None
    if mine is None or first is None or second is None:
        return
    w.rest(1.0, 4.0)
    texts = tuple(f"{n.site}:{n.name}" for n in (mine, first, second))
    name, patience = w.vpn_name("demo"), w.patience()
    ask = Step(at=0, verb=Verb.VPN, site=home, name=name, kind="l3", attachments=texts, seconds=patience)
    w.do(replace(ask, require="any") if w.odds(0.7) else ask)
    w.rest(1.0, 10.0)


def grabbed_prefix(w: Writer) -> None:
    """The home of an L3 Vpn that is not settled, since a member is away, tells one member a prefix of another."""
    home = w.site()
    others = [s for s in w.known.up(w.now) if home is not None and w.known.mapped(s, home, "demo") and s != home]
    others = [s for s in others if w.known.friends(home or "", s)]
    if home is None or len(others) < 3:
        return
    sites = [home, *w.some(others, 3, 3)]
    nets = [w.make_net(s, "demo", w.prefixes("ipv4")) for s in sites]
    w.rest(1.0, 3.0)
    w.do(Step(at=0, verb=Verb.CRASH, site=sites[3]))
    propose(w, home, "demo", "l3", [f"{n.site}:{n.name}" for n in nets if n is not None])
    w.rest(4.0, 8.0)
    w.do(Step(at=0, verb=Verb.LIE, site=home, other=sites[1], point="grab-prefix"))
    w.rest(4.0, 10.0)
    w.do(Step(at=0, verb=Verb.START, site=sites[3]))
