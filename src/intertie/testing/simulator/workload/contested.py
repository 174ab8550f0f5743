"""What is wrong by itself: requests that somebody should refuse.

What users hear is the product's; here it is only seen to that each rule of refusal is met often.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from intertie.testing.simulator.story import Step, Verb
from intertie.testing.simulator.workload.deeds import (
    change,
    partners,
    propose,
    spare,
    start_host,
    stretch_net,
)
from intertie.testing.simulator.workload.known import Tie
from intertie.testing.simulator.workload.writer import Act, Writer

ODD_PREFIXES = ("224.0.1.0/24", "127.0.1.0/24", "0.0.0.0/0", "fe80::/64", "10.0.0.0/7", "10.9.0.1/32", "::/3")
MAX_PREFIXES = 14
"""More than a network may have; nobody minds before it is stretched."""


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
    strangers = [s for s in w.known.sites if not w.known.friends(net.site, s)]
    strange = (w.one(strangers) if w.odds(0.8) else None) or "atlantis"
    propose(w, net.site, net.project, "l2", [f"{net.site}:{net.name}", strange])


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
    if net is None:
        return
    propose(w, site, "lab", "l2", [f"{site}:{net.name}", other])
    if w.odds(0.3):
        # Its operator changes its mind: a member that others go on without comes in, an ended Vpn stays ended.
        w.do(Step(at=0, verb=Verb.MAP, site=other, other=site, project="lab", amount=1), w.chance.uniform(0.05, 20.0))


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
    chosen = w.chance.choice([*lists, many, many, many])
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


def foreign_network(w: Writer) -> None:
    """Somebody attaches a network of another project of the same site: for its own users there is none."""
    net = w.one([n for n in w.known.nets if n.project == "ops" and not n.made_for and w.known.runs(n.site, w.now)])
    site = net.site if net is not None else w.site()
    net = net or (w.make_net(site, "ops", w.prefixes("ipv4")) if site is not None else None)
    others = partners(w, net.site, "demo") if net is not None else []
    if net is None or not others:
        return
    w.rest(1.0, 4.0)
    if w.odds(0.5):
        propose(w, net.site, "demo", "l2", [f"{net.site}:{net.name}", *others])
    elif (mine := w.make_net(others[0], "demo", w.prefixes("ipv4"))) is not None:
        propose(w, mine.site, "demo", "l3", [f"{mine.site}:{mine.name}", f"{net.site}:{net.name}"])


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


def asked_address(w: Writer) -> None:
    """A host asks for an address: the gateway's, a free one, another member's, one that in use, a foreign one."""
    net = w.net()
    if net is None:
        return
    asked = []
    for prefix in map(ip_network, net.prefixes):
        places = (0, 1, 2, 3, prefix.num_addresses // 2, prefix.num_addresses - 2, prefix.num_addresses)
        asked.append(str(prefix[0] + w.chance.choice(places)))
    step = Step(at=0, verb=Verb.HOST, site=net.site, project=net.project, name=w.host_name(), network=net.name)
    w.do(replace(step, prefixes=tuple(asked)))


def orphan(w: Writer) -> None:
    """Something is asked of a network whose record went with its site's database."""
    lost = w.one([n for n in w.known.orphans if w.known.runs(n.site, w.now)])
    if lost is None:
        return
    match w.chance.choice(("drop", "host", "stretch", "again")):
        case "drop":
            w.do(Step(at=0, verb=Verb.DROP_NETWORK, site=lost.site, project=lost.project, name=lost.name))
        case "host":
            w.do(
                Step(
                    at=0,
                    verb=Verb.HOST,
                    site=lost.site,
                    project=lost.project,
                    name=w.host_name(),
                    network=lost.name,
                )
            )
        case "stretch":
            propose(
                w,
                lost.site,
                lost.project,
                "l2",
                [f"{lost.site}:{lost.name}", *partners(w, lost.site, lost.project)],
            )
        case _:
            w.make_net(lost.site, lost.project, lost.prefixes, lost.name)


def enrol_again(w: Writer) -> None:
    """A site that is a peer already, or is forgotten here, is invited once more."""
    site = w.site()
    other = w.one([s for s in w.known.sites if s != site])
    if site is not None and other is not None:
        w.do(Step(at=0, verb=Verb.ENROL, site=other, other=site))


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
    "foreign-network": foreign_network,
    "used-address": used_address,
    "asked-address": asked_address,
    "enrol-again": enrol_again,
    "orphan": orphan,
}
