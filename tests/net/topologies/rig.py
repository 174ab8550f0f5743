"""Runs a topology: agent processes in namespaces on the demo's backbone, driven through their own REST API.

Everything that an operator or tenant does goes to the agents' sockets (`site.py`); what packets do is seen from
inside the hosts' namespaces (`hosts.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from intertie.demo import kernel, lab
from intertie.demo.lab import Lab, Space
from intertie.demo.sites import PLACES, DemoSite
from intertie.site_file import init_site
from tests.net.topologies.hosts import Hosts, Network
from tests.net.topologies.site import PATIENCE, Site, until
from tests.net.topologies.topology import BridgeThere, HostThere, NetworkThere, Topology, VpnThere, attachments

__all__ = ["PATIENCE", "Rig", "Site", "index", "until"]


class Rig:
    """The running topology. `see` looks out of hosts; `sites` holds every site by name."""

    introductions = "accept"

    def __init__(self, topology: Topology, directory: Path) -> None:
        self.topology = topology
        self.sites: dict[str, Site] = {}
        self.see = Hosts()
        self._directory = directory
        self._lab: Lab | None = None
        self._backbone = -1

    def __getitem__(self, site: str) -> Site:
        return self.sites[site]

    def __iter__(self) -> Iterator[Site]:
        return iter(self.sites.values())

    # --- building

    def build(self) -> None:
        """All that the topology says, until every Vpn of it is ready everywhere."""
        self.raise_sites()
        self.enrol()
        for network in self.topology.networks:
            self.network(network)
        for vpn in self.topology.vpns:
            self.vpn(vpn)
        for host in self.topology.hosts:
            self.host(host)
        for vpn in self.topology.vpns:
            self.wait_settled(vpn)

    def raise_sites(self) -> None:
        """Namespaces, keys and agents."""
        places = {name: (lat, lon) for name, lat, lon in PLACES}
        chosen = [
            DemoSite(index=index, name=name, lat=places[name][0], lon=places[name][1])
            for index, name in enumerate(self.topology.sites)
        ]
        with _in_fresh_network():
            self._lab = lab.build(chosen)
            self._backbone = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        for place in chosen:
            self._settle(place, self._lab.spaces[place.name])
        for bridge in self.topology.bridges:
            self.make_bridge(bridge)
        for site in self:
            site.start()
        for site in self:
            site.wait_ready()

    def _settle(self, place: DemoSite, space: Space) -> None:
        directory = self._directory / place.name
        underlay = place.underlay.ip if self.topology.underlay == 4 else place.underlay6.ip
        init_site(place.name, directory, (place.lat, place.lon), str(underlay), self.introductions)
        site = Site(place=place, space=space, directory=directory, underlay=str(underlay))
        self.sites[place.name] = site
        site.drop_anchor()

    def enrol(self) -> None:
        """Invite, join; introductions are accepted; every project is mapped onto itself."""
        first, *others = self
        for other in others:
            token = first.post("/v1/invitations", {"name": other.name, "expires_in": 600})["token"]
            other.post("/v1/peers", {"token": token})
        until("every site knows every other", lambda: all(self.known(site) for site in self))
        for site in self:
            for peer in self:
                if peer is not site:
                    for project in self.topology.projects:
                        wish = {"theirs": project, "ours": project, "may": ["l2", "l3", "read"]}
                        site.post(f"/v1/peers/{peer.name}/mappings", wish)

    def known(self, site: Site) -> bool:
        """Whether every other site is up as `site` sees it."""
        up = {peer["name"] for peer in site.items("/v1/peers") if peer["state"] == "up"}
        return up == self.sites.keys() - {site.name}

    def network(self, wish: NetworkThere) -> None:
        body = {"name": wish.name, "prefix": wish.prefix, "bridge": wish.bridge}
        self[wish.site].post("/v1/networks", body, project=wish.project)

    def vpn(self, wish: VpnThere) -> Any:
        """Make it at its home, and wait until every member has accepted."""
        body = {"name": wish.name, "kind": wish.kind, "attachments": attachments(wish.attachments)}
        return self[wish.home].post("/v1/vpns", body, project=wish.project, wait=20)

    def host(self, wish: HostThere) -> Any:
        """Make it once its network is there, and wait until it can be looked out of."""
        site = self[wish.site]
        names = {"project": wish.project}
        until(
            f"network {wish.network} at {wish.site}",
            lambda: any(n["name"] == wish.network and n["attachable"] for n in site.items("/v1/networks", **names)),
        )
        site.hosts[wish.name] = site.post("/v1/hosts", {"name": wish.name, "network": wish.network}, **names)
        until(f"host {wish.name}", lambda: self.see.up(self.ns(wish.site, wish.name)))
        return site.hosts[wish.name]

    def remove_host(self, where: str, name: str, project: str = "demo") -> None:
        """Delete it, and wait until the site has seen that its port is gone: a Vpn may then go too."""
        site = self[where]
        network = site.get(f"/v1/hosts/{name}", project=project)["network"]

        def count() -> int:
            return next(int(n["ports"]) for n in site.items("/v1/networks", project=project) if _is(n))

        def _is(found: Any) -> bool:
            return bool(found["name"] == network and found["project"] == project)

        before = count()
        site.delete(f"/v1/hosts/{name}", project=project)
        until(f"host {name} is gone", lambda: count() < before and f"{where}-{name}" not in self.names(where))

    def wait_settled(self, wish: VpnThere, sites: Iterable[str] = (), seconds: float = PATIENCE) -> float:
        """Until the Vpn is ready as all its members (or `sites`) see it; the seconds that took."""
        names = list(sites) or [text.partition(":")[0] for text in wish.attachments]

        def settled() -> bool:
            return all(self[name].settled(wish.name, project=wish.project) for name in names)

        return until(f"Vpn {wish.name} is ready everywhere", settled, seconds)

    # --- what a test does

    def at(self, site: str) -> Network:
        """The site's own namespace: bridges, segments, underlay."""
        return Network(f"/proc/{self[site].anchor}/ns/net")

    @property
    def backbone(self) -> Network:
        """The namespace that routes between sites."""
        return Network(f"/proc/self/fd/{self._backbone}")

    def ns(self, site: str, host: str) -> Network:
        """A host's namespace."""
        return Network(f"/proc/{self[site].anchor}/root/run/netns/{site}-{host}")

    def names(self, site: str) -> list[str]:
        """The namespaces that have a name at a site: its hosts and routers."""
        return sorted(os.listdir(f"/proc/{self[site].anchor}/root/run/netns"))

    def address(self, site: str, host: str, version: int = 4) -> str:
        colon = version == 6
        return str(next(a for a in self[site].hosts[host]["addresses"] if (":" in a) is colon))

    def targets(self, hosts: Mapping[str, str], version: int) -> dict[tuple[str, str], tuple[Network, str]]:
        """(from host, to host) → where from and whither, for every ordered pair; `hosts` is host → site."""
        return {
            (one, other): (self.ns(here, one), self.address(there, other, version))
            for one, here in hosts.items()
            for other, there in hosts.items()
            if one != other
        }

    def make_bridge(self, wish: BridgeThere) -> None:
        """An operator's bridge and the machine on it, as somebody else would have made them."""
        machine = self[wish.site].machine(wish.machine)
        port = f"p-{wish.machine}"

        def bridge(nl: IPRoute) -> None:
            nl.link("add", ifname=wish.name, kind="bridge", address=wish.mac, mtu=wish.mtu)
            with open(machine.path) as there:
                peer = {"ifname": "eth0", "net_ns_fd": there.fileno(), "mtu": wish.mtu}
                nl.link("add", ifname=port, kind="veth", peer=peer, mtu=wish.mtu)
            nl.link("set", index=index(nl, port), master=index(nl, wish.name), state="up")
            nl.link("set", index=index(nl, wish.name), state="up")

        self.at(wish.site).netlink(bridge)
        machine.run(lambda: furnish(wish))

    def cut(self, one: str, other: str) -> None:
        assert self._lab is not None
        self._lab.cut(one, other)

    def heal(self) -> None:
        assert self._lab is not None
        self._lab.heal()

    def close(self) -> None:
        for site in self:
            site.close()
        self.see.close()
        if self._lab is not None:
            self._lab.netlink.close()
            os.close(self._backbone)


def index(nl: IPRoute, device: str) -> int:
    return int(nl.link_lookup(ifname=device)[0])


def furnish(wish: BridgeThere) -> None:
    """In the machine's namespace: its interface, addresses and routes, of use at once."""
    Path("/proc/sys/net/ipv6/conf/eth0/accept_dad").write_text("0")
    with IPRoute() as nl:
        nl.link("set", index=1, state="up")
        eth0 = index(nl, "eth0")
        nl.link("set", index=eth0, state="up")
        for each in map(ip_interface, wish.addresses):
            flags = {"flags": 0x02} if each.version == 6 else {}
            nl.addr("add", index=eth0, address=str(each.ip), prefixlen=each.network.prefixlen, **flags)
        for gateway in map(ip_address, wish.gateways):
            everything = "0.0.0.0/0" if gateway.version == 4 else "::/0"
            nl.route("add", dst=everything, gateway=str(gateway), oif=eth0)


@contextmanager
def _in_fresh_network() -> Iterator[None]:
    """The calling thread is in a network namespace of its own: the backbone, which lives while a socket is in it."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    kernel.unshare(kernel.CLONE_NEWNET)
    try:
        yield
    finally:
        kernel.setns(before, kernel.CLONE_NEWNET)
        os.close(before)
