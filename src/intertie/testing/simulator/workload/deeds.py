"""What users ask for that makes sense: it should succeed unless something breaks meanwhile."""

from __future__ import annotations

from intertie.testing.simulator.story import Step, Verb
from intertie.testing.simulator.workload.known import Net, Tie
from intertie.testing.simulator.workload.writer import Act, Writer

SITE_NAMES = ("nantes", "lyon", "rennes", "paris", "lille", "nice", "metz", "brest", "tours", "dijon", "reims")


def network(w: Writer) -> None:
    if (site := w.site()) is not None:
        w.make_net(site, w.project(), w.prefixes())


def host(w: Writer) -> None:
    if (net := w.net()) is not None:
        start_host(w, net)


def start_host(w: Writer, net: Net) -> None:
    name = w.host_name()
    w.do(Step(at=0, verb=Verb.HOST, site=net.site, project=net.project, name=name, network=net.name))


def drop_host(w: Writer) -> None:
    found = [(n, h) for n, h in w.known.hosts() if w.known.runs(n.site, w.now)]
    if (chosen := w.one(found)) is not None:
        stop_host(w, *chosen)


def stop_host(w: Writer, net: Net, name: str) -> None:
    w.do(Step(at=0, verb=Verb.DROP_HOST, site=net.site, project=net.project, name=name))


def drop_network(w: Writer) -> None:
    found = [
        n
        for n in w.known.nets
        if not n.made_for and not n.hosts and not w.known.ties_on(n) and w.known.runs(n.site, w.now)
    ]
    if (net := w.one(found)) is not None:
        w.do(Step(at=0, verb=Verb.DROP_NETWORK, site=net.site, project=net.project, name=net.name))


# ── Vpns ───────────────────────────────────────────────────────────────────────────────────────────────────


def stretch(w: Writer) -> None:
    """An L2 Vpn of a network of its home; at some members a network with the same prefixes stands already."""
    home = w.site()
    project = w.project()
    others = partners(w, home, project)
    if home is None or not others:
        return
    free = [n for n in w.known.free_nets(home, project) if roomy(n, len(others) + 1)]
    net = w.one(free) if w.odds(0.7) else None
    net = net or w.make_net(home, project, stretchable(w, len(others) + 1))
    if net is not None:
        w.rest(0.0, 0.5)
        stretch_net(w, net, others)


def stretch_net(w: Writer, net: Net, others: list[str]) -> None:
    """Stretch `net` to other sites, into new networks or ones that are there."""
    attachments = [f"{net.site}:{net.name}"]
    for site in others:
        there = _same_net(w, net, site)
        if there is None and w.known.runs(site, w.now) and w.odds(0.25):
            name = net.name if w.odds(0.5) else w.net_name(net.project)
            there = w.make_net(site, net.project, net.prefixes, name)
        attachments.append(f"{site}:{there.name}" if there is not None else site)
    propose(w, net.site, net.project, "l2", attachments)


def _same_net(w: Writer, net: Net, site: str) -> Net | None:
    """A network at `site` that can be the other end: the same prefixes, no hosts; or any with the name, which is in
    the way of a new one."""
    found = w.known.free_nets(site, net.project)
    same = [n for n in found if set(n.prefixes) == set(net.prefixes) and not n.hosts]
    return w.one(same) or next((n for n in found if n.name == net.name), None)


def roomy(net: Net, members: int) -> bool:
    """Whether its prefixes can be cut among so many, as users reckon."""
    return all(spare(p) >= 3 * members for p in net.prefixes)


def spare(prefix: str) -> int:
    """Addresses of a prefix that hosts can have, roughly."""
    bits = (128 if ":" in prefix else 32) - int(prefix.partition("/")[2])
    return int(2 ** min(bits, 30)) - 3


def stretchable(w: Writer, members: int) -> tuple[str, ...]:
    """Prefixes of a new network that so many members can share, mostly."""
    for _ in range(5):
        found = w.prefixes()
        if all(spare(p) >= 3 * members for p in found):
            return found
    return w.prefixes("ipv4")


def route(w: Writer) -> None:
    """An L3 Vpn between networks that are there."""
    home = w.site()
    project = w.project()
    others = partners(w, home, project)
    if home is None or not others:
        return
    nets: list[Net] = []
    for site in [home, *others]:
        net = w.routable(site, project, nets)
        if net is not None:
            nets.append(net)
    if len(nets) >= 2 and nets[0].site == home:
        w.rest(0.0, 0.5)
        propose(w, home, project, "l3", [f"{n.site}:{n.name}" for n in nets])


def propose(w: Writer, home: str, project: str, kind: str, attachments: list[str], name: str = "") -> str:
    """Ask for a Vpn; its name."""
    name = name or w.vpn_name(project)
    w.do(
        Step(
            at=0,
            verb=Verb.VPN,
            site=home,
            project=project,
            name=name,
            kind=kind,
            attachments=tuple(attachments),
            require="any" if w.odds(w.profile.any_share) else "all",
            seconds=w.patience(),
        )
    )
    return name


def partners(w: Writer, home: str | None, project: str) -> list[str]:
    """Sites to make a Vpn with: they run, can be reached, and let the project act there."""
    if home is None:
        return []
    up = [s for s in w.known.up(w.now) if s != home and w.known.reach(home, s, w.now)]
    up = [s for s in up if w.known.mapped(s, home, project) and w.known.friends(home, s)]
    near = [s for s in up if s in w.focus]
    low, high = w.profile.members
    found = w.some(near if near and w.odds(0.6) else up, low - 1, high - 1)
    return found if len(found) >= low - 1 or w.odds(0.5) else w.some(up, low - 1, high - 1)


def grow(w: Writer) -> None:
    """One member more."""
    tie = w.tie()
    if tie is None:
        return
    up = [s for s in partners(w, tie.home, tie.project) if s not in tie.members]
    site = w.one(up)
    if site is None:
        return
    text = attachment_for(w, tie, site)
    if text:
        change(w, tie, tie.home, [*tie.members.values(), text])


def attachment_for(w: Writer, tie: Tie, site: str) -> str:
    """How `site` can be attached to a Vpn; "" if it cannot."""
    if tie.kind == "l2":
        held = w.known.net(site, tie.project, tie.network)
        return "" if held is not None and not held.made_for else site
    nets = [w.known.net(s, tie.project, tie.net_of(s)) for s in tie.members]
    net = w.routable(site, tie.project, [n for n in nets if n is not None])
    return f"{site}:{net.name}" if net is not None else ""


def shrink(w: Writer) -> None:
    """A member less: one without hosts on a network that was made for it."""
    tie = w.tie()
    if tie is None or len(tie.members) < 3:
        return
    busy = {n.site for n in w.known.busy(tie)}
    leaver = w.one([s for s in tie.members if s != tie.home and s not in busy])
    if leaver is not None:
        change(w, tie, tie.home, [a for s, a in tie.members.items() if s != leaver])


def change(w: Writer, tie: Tie, at: str, attachments: list[str]) -> None:
    w.do(
        Step(
            at=0,
            verb=Verb.CHANGE,
            site=at,
            project=tie.project,
            name=tie.name,
            attachments=tuple(attachments),
            seconds=w.patience(),
        )
    )


def delete(w: Writer) -> None:
    """End a Vpn on whose made networks nobody lives."""
    found = [t for t in w.known.ties if not w.known.busy(t) and w.known.runs(t.home, w.now)]
    tie = w.one(found)
    if tie is not None:
        end(w, tie, tie.home)


def end(w: Writer, tie: Tie, at: str, force: bool = False) -> None:
    w.do(Step(at=0, verb=Verb.DELETE, site=at, project=tie.project, name=tie.name, force=force, seconds=w.patience()))


def verify(w: Writer) -> None:
    tie = w.tie()
    if tie is not None:
        site = w.one([s for s in tie.members if w.known.runs(s, w.now)])
        w.do(Step(at=0, verb=Verb.VERIFY, site=site or tie.home, project=tie.project, name=tie.name))


# ── Sites and projects ─────────────────────────────────────────────────────────────────────────────────────


def grant_project(w: Writer) -> None:
    """Two or three sites map a project to one another."""
    project = next((p for p in w.profile.projects if p != "demo"), "")
    if project:
        map_project(w, project, w.some(w.known.up(w.now), 2, 3))


def map_project(w: Writer, project: str, sites: list[str]) -> None:
    for site in sites:
        for other in sites:
            if other != site and not w.known.mapped(site, other, project):
                w.do(Step(at=0, verb=Verb.MAP, site=site, other=other, project=project, amount=1))
    w.rest(0.1, 0.5)


def enrol(w: Writer) -> None:
    """A new site joins."""
    inviter = w.site()
    name = next((s for s in SITE_NAMES if s not in w.known.sites), "")
    if inviter is not None and name:
        w.do(Step(at=0, verb=Verb.ENROL, site=name, other=inviter))
        w.rest(3.0, 20.0)


DEEDS: dict[str, Act] = {
    "network": network,
    "host": host,
    "stretch": stretch,
    "route": route,
    "grow": grow,
    "shrink": shrink,
    "delete": delete,
    "drop-host": drop_host,
    "drop-network": drop_network,
    "verify": verify,
    "grant-project": grant_project,
    "enrol": enrol,
    # Here come: reserve, confirm and cancel a reservation (rule 21); allocate an address by itself (rule 15).
}
