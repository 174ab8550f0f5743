"""What is right, at the wrong moment or place: in use, elsewhere than at home, when nobody can be reached."""

from __future__ import annotations

from intertie.testing.simulator.story import Step, Verb
from intertie.testing.simulator.workload.deeds import attachment_for, change, end, partners, propose, start_host
from intertie.testing.simulator.workload.known import Net, Tie
from intertie.testing.simulator.workload.writer import Act, Writer


def used_tie(w: Writer) -> tuple[Tie, Net] | None:
    """An L2 Vpn with a host on a network that was made for it."""
    found = [(t, n) for t in w.known.ties if not t.closing for n in w.known.busy(t) if w.known.runs(n.site, w.now)]
    if found:
        return w.one(found)
    made = [n for n in w.known.nets if n.made_for and w.known.runs(n.site, w.now)]
    net = w.one(made)
    tie = w.known.tie(net.made_for, net.project) if net is not None else None
    if net is None or tie is None or tie.closing:
        return None
    start_host(w, net)
    w.rest(0.5, 6.0)
    return tie, net


def delete_in_use(w: Writer) -> None:
    """A Vpn is deleted while hosts live on a network made for it; they go later, or the deletion is taken back."""
    found = used_tie(w)
    if found is None:
        return
    tie, net = found
    end(w, tie, tie.home)
    w.rest(0.5, 6.0)
    if w.odds(0.3):
        start_host(w, net)
    if w.odds(0.3):
        change(w, tie, tie.home, list(tie.members.values()))
        return
    for host in list(net.hosts):
        w.do(Step(at=0, verb=Verb.DROP_HOST, site=net.site, project=net.project, name=host))
        w.rest(0.0, 1.0)


def forced(w: Writer) -> None:
    """A Vpn ends by force under its hosts; somebody takes them and what is left of its network away."""
    found = used_tie(w)
    if found is None:
        return
    tie, net = found
    end(w, tie, tie.home, force=True)
    for host in list(net.hosts)[: w.chance.randint(0, 2)]:
        w.rest(0.0, 3.0)
        w.do(Step(at=0, verb=Verb.DROP_HOST, site=net.site, project=net.project, name=host))
    if w.odds(0.5):
        w.rest(0.0, 6.0)
        w.do(Step(at=0, verb=Verb.DROP_NETWORK, site=net.site, project=net.project, name=net.name))


def leave_in_use(w: Writer) -> None:
    """A member is removed on whose made network hosts live."""
    found = used_tie(w)
    if found is None:
        return
    tie, net = found
    rest = [a for s, a in tie.members.items() if s != net.site]
    if len(rest) >= 2:
        change(w, tie, tie.home, rest)
        w.rest(0.5, 8.0)
        for host in list(net.hosts)[: w.chance.randint(0, 3)]:
            w.do(Step(at=0, verb=Verb.DROP_HOST, site=net.site, project=net.project, name=host))


def overlap(w: Writer) -> None:
    """An L3 Vpn between networks whose prefixes overlap, in it or in another Vpn of one of them."""
    net = w.net()
    others = partners(w, net.site, net.project) if net is not None else []
    if net is None or not others:
        return
    texts = [f"{net.site}:{net.name}"]
    for site in others[:2]:
        prefixes = w.crossing(net.prefixes) if len(texts) == 1 or w.odds(0.5) else w.prefixes()
        there = w.make_net(site, net.project, prefixes)
        if there is not None:
            texts.append(f"{site}:{there.name}")
    propose(w, net.site, net.project, "l3", texts)


def adopt_living(w: Writer) -> None:
    """A Vpn is adopted whose home lives; or by its home itself."""
    tie = w.tie()
    if tie is None:
        return
    site = (w.member(tie) if w.odds(0.8) else None) or tie.home
    w.do(Step(at=0, verb=Verb.ADOPT, site=site, project=tie.project, name=tie.name))


def change_cut_off(w: Writer) -> None:
    """A member asks for a change whose home it cannot reach."""
    tie = w.tie()
    site = w.member(tie) if tie is not None else None
    if tie is None or site is None or not w.may("cut"):
        return
    w.do(Step(at=0, verb=Verb.CUT, site=site, other=tie.home, amount=1, seconds=w.trouble()))
    w.rest(0.1, 3.0)
    if w.odds(0.5):
        change(w, tie, site, list(tie.members.values()))
    else:
        end(w, tie, site)


def change_elsewhere(w: Writer) -> None:
    """A change asked for at a member that is not the home."""
    tie = w.tie()
    site = w.member(tie) if tie is not None else None
    if tie is None or site is None:
        return
    texts = list(tie.members.values())
    new = [s for s in partners(w, tie.home, tie.project) if s not in tie.members]
    if new and w.odds(0.6):
        text = attachment_for(w, tie, new[0])
        texts += [text] if text else []
    elif len(texts) > 2:
        texts = [a for s, a in tie.members.items() if s in (site, tie.home)]
    change(w, tie, site, texts)


def delete_elsewhere(w: Writer) -> None:
    tie = w.tie()
    site = w.member(tie) if tie is not None else None
    if tie is not None and site is not None:
        end(w, tie, site, force=w.odds(0.2))


def take_back(w: Writer) -> None:
    """A Vpn is deleted and a moment later wanted again, with the same members or others."""
    tie = w.tie()
    if tie is None:
        return
    texts = list(tie.members.values())
    end(w, tie, tie.home)
    w.go(round(w.chance.uniform(0.0, 0.2), 3))
    change(w, tie, tie.home, texts)


UNTIMELY: dict[str, Act] = {
    "delete-in-use": delete_in_use,
    "forced": forced,
    "leave-in-use": leave_in_use,
    "overlap": overlap,
    "adopt-living": adopt_living,
    "change-cut-off": change_cut_off,
    "change-elsewhere": change_elsewhere,
    "delete-elsewhere": delete_elsewhere,
    "take-back": take_back,
}
