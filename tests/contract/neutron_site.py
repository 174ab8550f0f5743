"""A site beside a Neutron in memory, for tests of what it does there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_interface, ip_network

from intertie.drivers.cloud.neutron import NeutronCloud, Policy
from intertie.drivers.openstack.gateway import GatewayPorts
from intertie.drivers.openstack.neutron import Net, Subnet
from intertie.drivers.openstack.pools import Pools
from intertie.drivers.openstack.site_ports import SitePorts
from intertie.drivers.openstack.view import View
from intertie.model.bodies import Endpoint, Range, VpnKind
from intertie.model.items import Network, NetworkFacts, Segment
from intertie.planning.identity import bridge_name, made_network
from intertie.testing.fake_neutron import MARKS, FakeNeutron, FakeRegion
from intertie.testing.neutron_suite import span

SITE, PROJECT = "nantes", "a" * 32
MADE = made_network(SITE, "lyon.01")
BOTH = (ip_network("10.0.0.0/24"), ip_network("fd00:1::/64"))
LOCAL = Endpoint(address=ip_interface("192.0.2.1/24").ip, mac="02:00:00:00:00:01")


@dataclass(slots=True)
class Beside:
    """What an agent that starts now has: nothing is remembered from one to the next."""

    region: FakeRegion
    good_for: float = 0.0
    policy: Policy = field(default_factory=Policy)
    neutron: FakeNeutron = field(init=False)
    view: View = field(init=False)
    cloud: NeutronCloud = field(init=False)
    pools: Pools = field(init=False)
    ports: SitePorts = field(init=False)

    def __post_init__(self) -> None:
        self.neutron = FakeNeutron(self.region)
        self.view = View(self.neutron, MARKS, self.good_for)
        self.cloud = NeutronCloud(SITE, self.neutron, self.view, self.policy)
        self.pools = Pools(SITE, self.neutron, self.view)
        ports = GatewayPorts(SITE, self.neutron, _host)
        self.ports = SitePorts(SITE, ports, self.pools, self.view)

    async def facts(self, id: str) -> NetworkFacts:
        return {facts.id: facts for facts in await self.cloud.inventory()}[id]


async def _host() -> str:
    return "gw"


def wish(id: str = MADE, name: str = "blue", mtu: int = 1400) -> Network:
    return Network(id=id, name=name, project=PROJECT, prefixes=BOTH, mtu=mtu, bridge=bridge_name(id))


def segment(network: str, *held: Range, gateways: tuple[str, ...] = ("10.0.0.1/24", "fd00:1::1/64")) -> Segment:
    return Segment(
        vpn="lyon.01",
        kind=VpnKind.L2,
        epoch=1,
        vni=4096,
        network=network,
        bridge=bridge_name(network),
        local=LOCAL,
        mtu=1400,
        remotes=(),
        gateways=tuple(ip_interface(gateway) for gateway in gateways),
        ranges=held or (span("10.0.0.1", "10.0.0.99"), span("fd00:1::1", "fd00:1::ffff")),
    )


async def existing(region: FakeRegion, *subnets: Subnet, name: str = "old", project: str = PROJECT) -> Net:
    """A tenant's network, with those subnets on it."""
    neutron = FakeNeutron(region)
    net = await neutron.create_network(Net(name=name, project=project, mtu=1400))
    for subnet in subnets:
        await neutron.create_subnet(replace(subnet, network=net.id, project=net.project))
    return net
