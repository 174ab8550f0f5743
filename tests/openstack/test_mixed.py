"""A region of OpenStack and a site with Linux bridges, in one Vpn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from intertie.client import Attachment, Client, VpnKind, connect
from intertie.model.views import HostView
from lab.agent import Agent
from lab.beside import USERS
from lab.sites import run
from tests.net.topologies.hosts import Network
from tests.openstack.joined import Joined, inside, reaches, space, until, vpn

pytestmark = [pytest.mark.timeout(600), pytest.mark.parametrize("joined", ["independent"], indirect=True)]

NAME, PROJECT = "rennes", "works"
ADDRESS = "198.18.76.51"


@dataclass(frozen=True, slots=True)
class LinuxSite:
    """A site of Linux bridges on the wire between the regions. `tenant` speaks for its project."""

    tenant: Client

    @contextmanager
    def host(self, network: str, name: str) -> Iterator[HostView]:
        made = self.tenant.hosts.create(name, network).value

        def up() -> bool:
            """the host is there"""
            return made.name in {host.name for host in self.tenant.hosts.list() if host.addresses}

        until(up)
        yield made
        self.tenant.hosts.delete(made.id)

        def gone() -> bool:
            """the host is gone, and its network is not in use"""
            return not [n for n in self.tenant.networks.list() if n.ports]

        until(gone)

    def inside(self, host: HostView) -> Network:
        return space(f"{NAME}-{host.name}")


@pytest.fixture
def linux(joined: Joined) -> Iterator[LinuxSite]:
    """Known to the first region, whose project demo is its project."""
    one = joined.one.agent
    with ExitStack() as ends:
        run("ip", "netns", "add", NAME)
        ends.callback(run, "ip", "netns", "delete", NAME)
        run("ip", "link", "add", "itl-linux", "type", "veth", "peer", "name", "underlay", "netns", NAME)
        run("ip", "link", "set", "itl-linux", "master", "itl-wire", "up")
        run("ip", "-n", NAME, "link", "set", "lo", "up")
        run("ip", "-n", NAME, "address", "add", f"{ADDRESS}/24", "dev", "underlay")
        run("ip", "-n", NAME, "link", "set", "underlay", "up")
        agent = Agent(joined.lab.folder / NAME, NAME, USERS + len(joined.agents))
        agent.init(NAME, ADDRESS)
        agent.start()
        ends.callback(agent.end)
        operator = ends.enter_context(agent.up())
        operator.peers.join(one.operator.invite(NAME).value.token)

        def known() -> bool:
            """each is up for the other"""
            sides = ((one.operator, NAME), (operator, one.name))
            return all(name in {p.name for p in who.peers.list() if p.state == "up"} for who, name in sides)

        until(known)
        one.operator.peers.map(NAME, PROJECT, one.project)
        operator.peers.map(one.name, one.project, PROJECT)
        tenant = ends.enter_context(connect(agent.url, token=operator.tokens.create(PROJECT).value.token))
        yield LinuxSite(tenant)
        operator.leave()


def test_a_region_and_linux_bridges_in_one_l2_and_one_l3_vpn(joined: Joined, linux: LinuxSite) -> None:
    one = joined.one
    with ExitStack() as ends:
        network = one.network("mixed", "10.65.0.0/24", ends)
        a = one.boot(network, "a", ends)

        wish = (Attachment(site=one.agent.name, network="mixed"), Attachment(site=NAME))
        with vpn(one.agent.tenant, "mixed-l2", VpnKind.L2, *wish), ExitStack() as on_it:
            host = on_it.enter_context(linux.host("mixed", "stretched"))
            reaches(joined.see, inside(a), str(host.address))
            reaches(joined.see, linux.inside(host), a.address)

        own = linux.tenant.networks.create("own", "10.66.0.0/24").value
        with linux.host(own.id, "routed") as host:
            wish = (Attachment(site=one.agent.name, network="mixed"), Attachment(site=NAME, network="own"))
            with vpn(one.agent.tenant, "mixed-l3", VpnKind.L3, *wish):
                reaches(joined.see, inside(a), str(host.address))
                reaches(joined.see, linux.inside(host), a.address)
        linux.tenant.networks.delete(own.id)
