"""Two at once: requests that meet, at one site or at several, within the time of a message."""

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
)
from intertie.testing.simulator.workload.known import Tie
from intertie.testing.simulator.workload.writer import Act, Writer


def beat(w: Writer) -> None:
    """The time between the two: none at all, or about as long as a message takes."""
    w.go(w.chance.choice((0.0, 0.0, 0.001, 0.01, 0.02, 0.05, 0.2)))


def same_name(w: Writer) -> None:
    """The same name twice: two Vpns at one site, at two sites that name each other, or two networks."""
    site = w.site()
    other = w.one(partners(w, site, "demo"))
    if site is None or other is None:
        return
    name = w.vpn_name("demo")
    places = (site, other) if w.odds(0.6) else (site, site)
    if w.odds(0.25):
        for place in places:
            prefixes = w.prefixes()
            w.do(Step(at=0, verb=Verb.NETWORK, site=place, name=name, prefixes=prefixes))
            beat(w)
        return
    nets = [w.make_net(place, "demo", w.prefixes("ipv4")) for place in places]
    for place, there, net in zip(places, (other, site), nets, strict=True):
        if net is not None:
            peer = there if there != place else other
            propose(w, place, "demo", "l2", [f"{place}:{net.name}", peer], name)
            beat(w)


def same_key(w: Writer) -> None:
    """One request delivered twice, with its Idempotency-Key: at once, or when no answer came; and the key used for
    another request."""
    site = w.site()
    others = partners(w, site, "demo")
    net = w.make_net(site, "demo", w.prefixes("ipv4")) if site is not None and others else None
    if net is None:
        return
    key = f"key-{w.number('key')}"
    ask = Step(
        at=0,
        verb=Verb.VPN,
        site=net.site,
        name=w.vpn_name("demo"),
        kind="l2",
        attachments=(f"{net.site}:{net.name}", *others),
        seconds=w.patience(),
        point=key,
    )
    w.do(ask)
    if w.odds(0.3) and w.may("crash"):
        w.do(Step(at=0, verb=Verb.CRASH, site=net.site), w.chance.uniform(0.0, 0.1))
        w.do(Step(at=0, verb=Verb.START, site=net.site), 1.0)
        w.go(2.0)
    beat(w)
    w.do(replace(ask, name=f"{ask.name}-2") if w.odds(0.3) else ask)
    if w.odds(0.3):
        w.rest(0.5, 6.0)
        w.do(Step(at=0, verb=Verb.DELETE, site=net.site, name=ask.name, seconds=w.patience()))
        w.rest(0.0, 6.0)
        w.do(ask)


def crossing(w: Writer) -> None:
    """L3 Vpns whose prefixes overlap are made from two sites at the same moment, over the same networks or at the
    same members."""
    site = w.site()
    others = partners(w, site, "demo")
    if site is None or not others:
        return
    third = others[-1]
    mine = w.make_net(site, "demo", w.prefixes())
    if mine is None:
        return
    theirs = w.make_net(others[0], "demo", w.crossing(mine.prefixes))
    middle = w.make_net(third, "demo", w.prefixes()) if third != others[0] else None
    if theirs is None:
        return
    end_ = middle if middle is not None and w.odds(0.7) else None
    for one, two in ((mine, theirs), (theirs, mine)):
        far = end_ or two
        propose(w, one.site, "demo", "l3", [f"{one.site}:{one.name}", f"{far.site}:{far.name}"])
        beat(w)


def two_changes(w: Writer) -> None:
    """Two change one Vpn: at its home and at a member, at two members, or twice at its home."""
    tie = w.tie()
    if tie is None:
        return
    places = [tie.home, *(s for s in tie.members if s != tie.home and w.known.runs(s, w.now))]
    for place in (w.chance.choice(places), w.chance.choice(places)):
        change(w, tie, place, other_members(w, tie))
        beat(w)


def other_members(w: Writer, tie: Tie) -> list[str]:
    """Its members, with one more or one less."""
    texts = dict(tie.members)
    new = [s for s in w.known.up(w.now) if s not in texts and w.known.mapped(s, tie.home, tie.project)]
    site = w.one(new)
    if site is not None and tie.kind == "l2" and w.odds(0.6):
        return [*texts.values(), site]
    leaver = w.one([s for s in texts if s != tie.home])
    return [a for s, a in texts.items() if s != leaver] if len(texts) > 2 else list(texts.values())


def delete_and_change(w: Writer) -> None:
    """One deletes, another changes."""
    tie = w.tie()
    if tie is None:
        return
    texts = other_members(w, tie)
    places = [tie.home, w.member(tie) or tie.home]
    w.chance.shuffle(places)
    if w.odds(0.5):
        change(w, tie, places[0], texts)
        beat(w)
        end(w, tie, places[1])
    else:
        end(w, tie, places[0])
        beat(w)
        change(w, tie, places[1], texts)


def delete_and_host(w: Writer) -> None:
    """A host starts on a network that goes with its Vpn, or whose network is dropped."""
    made = [n for n in w.known.nets if n.made_for and w.known.runs(n.site, w.now)]
    net = w.one(made)
    tie = w.known.tie(net.made_for, net.project) if net is not None else None
    if net is None or tie is None or tie.closing:
        return
    if w.odds(0.5):
        start_host(w, net)
        beat(w)
        end(w, tie, tie.home, force=w.odds(0.3))
    else:
        end(w, tie, tie.home, force=w.odds(0.3))
        beat(w)
        name = w.host_name()
        w.do(Step(at=0, verb=Verb.HOST, site=net.site, project=net.project, name=name, network=net.name))


def two_stretch_one(w: Writer) -> None:
    """One network is stretched twice at once, at its site or by another that names it; or dropped meanwhile."""
    net = w.one([n for n in w.known.nets if not n.made_for and not w.known.ties_on(n) and n.project == "demo"])
    if net is None or not w.known.runs(net.site, w.now):
        return
    others = partners(w, net.site, net.project)
    if not others:
        return
    mine = [f"{net.site}:{net.name}", others[0]]
    match w.chance.choice(("twice", "elsewhere", "dropped")):
        case "twice":
            propose(w, net.site, net.project, "l2", mine)
            beat(w)
            propose(w, net.site, net.project, "l2", [mine[0], others[-1]])
        case "elsewhere":
            there = w.make_net(others[0], net.project, net.prefixes)
            if there is not None:
                propose(w, there.site, net.project, "l2", [f"{there.site}:{there.name}", mine[0]])
                beat(w)
                propose(w, net.site, net.project, "l2", [mine[0], others[-1]])
        case _:
            w.do(Step(at=0, verb=Verb.DROP_NETWORK, site=net.site, project=net.project, name=net.name))
            beat(w)
            propose(w, net.site, net.project, "l2", mine)


def remake(w: Writer) -> None:
    """A Vpn is deleted and made again with the same name, there or at a member that had a part in it."""
    tie = w.tie()
    if tie is None:
        return
    site = (w.member(tie) if w.odds(0.3) else None) or tie.home
    net = w.known.net(site, tie.project, tie.net_of(site))
    others = [a for s, a in tie.members.items() if s != site]
    if net is None:
        return
    made = bool(net.made_for)
    end(w, tie, tie.home, force=w.odds(0.2))
    beat(w)
    w.rest(0.0, w.chance.choice((0.0, 0.5, 3.0)))
    if made and (again := w.make_net(site, tie.project, w.prefixes("ipv4"))) is not None:
        net = again
    propose(w, site, tie.project, tie.kind, [f"{site}:{net.name}", *others], tie.name)


def two_adopt(w: Writer) -> None:
    """Two members adopt a Vpn at the same moment."""
    tie = w.tie()
    if tie is None:
        return
    heirs = w.some([s for s in tie.members if s != tie.home and w.known.runs(s, w.now)], 2, 2)
    for site in heirs:
        w.do(Step(at=0, verb=Verb.ADOPT, site=site, project=tie.project, name=tie.name))
        beat(w)


def swap_member(w: Writer) -> None:
    """A member leaves and comes back, or is exchanged for another, quickly."""
    tie = w.tie()
    if tie is None or len(tie.members) < 3:
        return
    leaver = w.one([s for s in tie.members if s != tie.home])
    rest = [a for s, a in tie.members.items() if s != leaver]
    new = w.one([s for s in w.known.up(w.now) if s not in tie.members])
    back = attachment_for(w, tie, new) if new is not None and w.odds(0.4) else tie.members[str(leaver)]
    change(w, tie, tie.home, rest)
    beat(w)
    w.rest(0.0, w.chance.choice((0.0, 1.0, 6.0)))
    if back:
        change(w, tie, tie.home, [*rest, back])


RACES: dict[str, Act] = {
    "same-name": same_name,
    "same-key": same_key,
    "crossing": crossing,
    "two-changes": two_changes,
    "delete-and-change": delete_and_change,
    "delete-and-host": delete_and_host,
    "two-stretch-one": two_stretch_one,
    "remake": remake,
    "two-adopt": two_adopt,
    "swap-member": swap_member,
    # Here come: two agents of one site that act at once; two holds of one capacity (reservations).
}
