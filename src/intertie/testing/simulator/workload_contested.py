"""What is wrong, comes at the wrong moment, or meets something else: requests that somebody should refuse, or that
only one of two can have.

What users hear is the product's; here it is only seen to that each rule of refusal is met often.
"""

from __future__ import annotations

from intertie.testing.simulator.story import Step, Verb
from intertie.testing.simulator.workload_deeds import (
    attachment_for,
    change,
    end,
    partners,
    propose,
    spare,
    start_host,
    stretch_net,
)
from intertie.testing.simulator.workload_known import Net, Tie
from intertie.testing.simulator.workload_writer import Act, Writer

ODD_PREFIXES = ("224.0.1.0/24", "127.0.1.0/24", "0.0.0.0/0", "fe80::/64", "10.0.0.0/7", "10.9.0.1/32", "::/3")
MAX_PREFIXES = 14
"""More than a network may have; nobody minds before it is stretched."""

# ── Wrong by itself ────────────────────────────────────────────────────────────────────────────────────────


def taken_name(w: Writer) -> None:
    """A name that the project has already, here or at another site."""
    what = w.chance.choice(("network", "host", "vpn"))
    net = w.net()
    if net is None:
        return
    if what == "network":
        step = Step(at=0, verb=Verb.NETWORK, site=net.site, project=net.project, name=net.name, prefixes=w.prefixes())
        w.do(step)
    elif what == "host" and net.hosts:
        host = net.hosts[0]
        w.do(Step(at=0, verb=Verb.HOST, site=net.site, project=net.project, name=host, network=net.name))
    else:
        tie = w.tie()
        site = w.one(list(tie.members)) if tie is not None else None
        mine = w.known.net(site, tie.project, tie.net_of(site)) if tie is not None and site is not None else None
        others = partners(w, site, net.project)
        if tie is not None and mine is not None and site is not None and others:
            propose(w, site, tie.project, "l2", [f"{site}:{mine.name}", *others], tie.name)


def unknown_network(w: Writer) -> None:
    net = w.net()
    others = partners(w, net.site, net.project) if net is not None else []
    if net is None or not others:
        return
    match w.chance.choice(("home", "member", "host", "none")):
        case "home":
            propose(w, net.site, net.project, "l2", [f"{net.site}:nowhere", *others])
        case "member":
            propose(w, net.site, net.project, "l3", [f"{net.site}:{net.name}", f"{others[0]}:nowhere"])
        case "host":
            name = w.host_name()
            w.do(Step(at=0, verb=Verb.HOST, site=net.site, project=net.project, name=name, network="nowhere"))
        case _:
            propose(w, net.site, net.project, "l3", [f"{net.site}:{net.name}", *others])


def unknown_site(w: Writer) -> None:
    net = w.net()
    if net is None:
        return
    strange = w.one(list(w.known.gone)) if w.known.gone and w.odds(0.7) else "atlantis"
    propose(w, net.site, net.project, "l2", [f"{net.site}:{net.name}", str(strange)])


def alone(w: Writer) -> None:
    """Too few members, one twice, somebody else's network first, the site that is asked not among them."""
    net = w.net()
    others = partners(w, net.site, net.project) if net is not None else []
    if net is None or len(others) < 1:
        return
    mine = f"{net.site}:{net.name}"
    one, last = others[0], others[-1]
    lists = ([mine], [mine, one, one], [one, mine], [one, last], [mine, "Bad_Name"])
    propose(w, net.site, net.project, w.chance.choice(("l2", "l3")), list(w.chance.choice(lists)))


def no_such(w: Writer) -> None:
    """A Vpn, network or host that nobody made."""
    site = w.site()
    if site is None:
        return
    verb = w.chance.choice((Verb.DELETE, Verb.VERIFY, Verb.ADOPT, Verb.DROP_HOST, Verb.DROP_NETWORK, Verb.CHANGE))
    w.do(Step(at=0, verb=verb, site=site, name="ghost", attachments=(site, "atlantis")))


def network_in_two(w: Writer) -> None:
    """A network that is in an L2 Vpn already."""
    tie = w.one([t for t in w.known.ties if t.kind == "l2" and w.known.runs(t.home, w.now)])
    site = w.one([s for s in tie.members if w.known.runs(s, w.now)]) if tie is not None else None
    if tie is None or site is None:
        return
    net = w.known.net(site, tie.project, tie.net_of(site))
    others = partners(w, site, tie.project)
    if net is not None and others:
        propose(w, site, tie.project, "l2", [f"{site}:{net.name}", *others])


def other_prefixes(w: Writer) -> None:
    """An L2 Vpn between networks with other prefixes, or with a host where the other's range is."""
    net = w.net()
    other = w.one(partners(w, net.site, net.project)) if net is not None else None
    if net is None or other is None:
        return
    name = w.net_name(net.project)
    there = w.make_net(other, net.project, w.chance.choice((w.prefixes(), net.prefixes)), name)
    if there is not None:
        start_host(w, there)
        w.rest(0.0, 2.0)
        propose(w, net.site, net.project, "l2", [f"{net.site}:{net.name}", f"{other}:{name}"])


def unmapped(w: Writer) -> None:
    """A Vpn of a project that stands for none at the other site."""
    site = w.site()
    other = w.other(site) if site is not None else None
    if site is None or other is None:
        return
    net = w.make_net(site, "lab", w.prefixes(), w.net_name("lab"))
    if net is not None:
        propose(w, site, "lab", "l2", [f"{site}:{net.name}", other])


def no_more_mapped(w: Writer) -> None:
    """A mapping is taken back under a Vpn, and given again later."""
    tie = w.tie()
    site = w.one([s for s in tie.members if s != tie.home]) if tie is not None else None
    if tie is None or site is None:
        return
    w.do(Step(at=0, verb=Verb.MAP, site=site, other=tie.home, project=tie.project, amount=0))
    w.rest(0.1, 5.0)
    if w.known.runs(site, w.now):
        text = [a for s, a in tie.members.items()]
        change(w, tie, site, text) if w.odds(0.5) else stretch_again(w, tie)
    w.do(Step(at=0, verb=Verb.MAP, site=site, other=tie.home, project=tie.project, amount=1), w.trouble())


def stretch_again(w: Writer, tie: Tie) -> None:
    """Another Vpn from the same home to the same members."""
    net = w.one(w.known.free_nets(tie.home, tie.project))
    if net is not None:
        others = [s for s in tie.members if s != tie.home]
        propose(w, tie.home, tie.project, "l2", [f"{net.site}:{net.name}", *others])


def too_small(w: Writer) -> None:
    """A prefix that cannot be cut among so many."""
    site = w.site()
    others = w.some([s for s in w.known.up(w.now) if s != site], 2, 5)
    if site is None or not others:
        return
    net = w.make_net(site, "demo", (w.chance.choice(("10.251.0.0/30", "10.251.1.0/29", "2001:db8:ffff::/126")),))
    if net is not None:
        propose(w, site, "demo", "l2", [f"{site}:{net.name}", *others])


def odd_prefix(w: Writer) -> None:
    """A prefix that no network may have, one twice, or more of them than a Vpn takes."""
    site = w.site()
    if site is None:
        return
    lists = [(p,) for p in ODD_PREFIXES] + [("10.252.0.0/24", "10.252.0.128/25"), ()]
    many = tuple(f"10.253.{n}.0/24" for n in range(MAX_PREFIXES))
    chosen = w.chance.choice([*lists, many, many])
    net = w.make_net(site, "demo", chosen)
    if chosen == many and net is not None and (others := partners(w, site, "demo")):
        propose(w, site, "demo", "l2", [f"{site}:{net.name}", *others])


def network_in_use(w: Writer) -> None:
    """A network is deleted that has hosts or a Vpn."""
    found = [n for n in w.known.nets if (n.hosts or w.known.ties_on(n)) and w.known.runs(n.site, w.now)]
    if (net := w.one(found)) is not None:
        w.do(Step(at=0, verb=Verb.DROP_NETWORK, site=net.site, project=net.project, name=net.name))


def exchange_network(w: Writer) -> None:
    """A member's network is exchanged for another."""
    tie = w.tie()
    if tie is None:
        return
    site = w.chance.choice(list(tie.members))
    nets = [n.name for n in w.known.nets if n.site == site and n.name != tie.net_of(site)]
    other = w.one(nets) or "nowhere"
    change(w, tie, tie.home, [f"{s}:{other}" if s == site else a for s, a in tie.members.items()])


def other_project(w: Writer) -> None:
    """Somebody of another project meddles."""
    tie = w.tie()
    if tie is None:
        return
    project = "lab" if tie.project == "demo" else "demo"
    site = w.chance.choice(list(tie.members))
    verb = w.chance.choice((Verb.DELETE, Verb.VERIFY, Verb.CHANGE, Verb.ADOPT, Verb.HOST))
    host = verb is Verb.HOST
    name = w.host_name() if host else tie.name
    network = tie.net_of(site) if host else ""
    texts = tuple(tie.members.values())[:2]
    w.do(Step(at=0, verb=verb, site=site, project=project, name=name, network=network, attachments=texts))


def used_address(w: Writer) -> None:
    """A member comes with a network on which hosts have addresses, or the home's range is full of them."""
    net = w.net()
    other = w.one(partners(w, net.site, net.project)) if net is not None else None
    if net is None or other is None:
        return
    for _ in range(min(4, max(1, spare(net.prefixes[0])))):
        start_host(w, net)
        w.rest(0.0, 0.3)
    if not w.known.ties_on(net):
        stretch_net(w, net, [other])


# ── At the wrong moment or place ───────────────────────────────────────────────────────────────────────────


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
    if (found := used_tie(w)) is not None:
        end(w, found[0], found[0].home, force=True)


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


MISTAKES: dict[str, Act] = {
    "taken-name": taken_name,
    "unknown-network": unknown_network,
    "unknown-site": unknown_site,
    "alone": alone,
    "no-such": no_such,
    "network-in-two": network_in_two,
    "other-prefixes": other_prefixes,
    "unmapped": unmapped,
    "no-more-mapped": no_more_mapped,
    "too-small": too_small,
    "odd-prefix": odd_prefix,
    "network-in-use": network_in_use,
    "exchange-network": exchange_network,
    "other-project": other_project,
    "used-address": used_address,
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
