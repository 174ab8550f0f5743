"""A site's ports in its cloud: found again, mended in place, and never made twice."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from ipaddress import ip_address

import pytest

from intertie.drivers.openstack import gateway
from intertie.drivers.openstack.gateway import OWNER, GatewayPorts, Port, PortWish
from intertie.model.errors import Conflict, Forbidden, IntertieError, Unavailable

WISH = PortWish(network="net", mac="02:00:00:00:00:01")


class Cloud:
    """Neutron as far as ports go. Hosts without an agent bind nothing."""

    def __init__(self) -> None:
        self.held: dict[str, Port] = {}
        self.alive: dict[str, list[bool]] = {"gw": [True]}
        self.calls: list[str] = []
        self.fault: IntertieError | None = None
        self.late = False
        """The next creation is done, and answered with an error."""

    def _call(self, what: str) -> None:
        self.calls.append(what)
        if self.fault is not None:
            raise self.fault

    async def ports(self, *, device_owner: str = "", network: str = "") -> Sequence[Port]:
        self._call("ports")
        return [p for p in self.held.values() if p.device_owner == device_owner and network in ("", p.network)]

    async def create_port(self, port: Port) -> Port:
        self._call("create")
        made = self._bound(replace(port, id=f"p{len(self.calls):03}"))
        self.held[made.id] = made
        if self.late:
            self.late = False
            raise Unavailable("the cloud did not answer in time")
        return made

    async def update_port(self, port: Port) -> Port:
        self._call("update")
        assert port.mac == self.held[port.id].mac
        self.held[port.id] = self._bound(port)
        return self.held[port.id]

    async def delete_port(self, id: str) -> None:
        self._call("delete")
        self.held.pop(id, None)

    async def agents(self, host: str) -> Collection[bool]:
        self._call("agents")
        return self.alive.get(host, [])

    def _bound(self, port: Port) -> Port:
        return replace(port, binding="ovs" if any(self.alive.get(port.host, [])) else "binding_failed")


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


def ports(cloud: Cloud, host: str = "gw", site: str = "s1") -> GatewayPorts:
    async def named() -> str:
        return host

    return GatewayPorts(site, cloud, named)


async def test_a_port_is_made_once_and_seen(cloud: Cloud) -> None:
    made = await ports(cloud).ensure(WISH)
    [held] = cloud.held.values()
    assert (held.device_owner, held.host, held.secured, held.addresses) == (OWNER, "gw", False, frozenset())
    assert held.description == "intertie s1 net"
    before = cloud.calls.count("create")
    assert await ports(cloud).ensure(WISH) == made
    assert (cloud.calls.count("create"), cloud.calls.count("update")) == (before, 0)
    assert await ports(cloud).sights() == {"net": made}


async def test_what_was_answered_too_late_is_not_made_twice(cloud: Cloud) -> None:
    cloud.late = True
    with pytest.raises(Unavailable):
        await ports(cloud).ensure(WISH)
    assert (await ports(cloud).ensure(WISH)).id in cloud.held
    assert cloud.calls.count("create") == 1


async def test_of_two_of_them_one_stays(cloud: Cloud) -> None:
    made = await ports(cloud).ensure(WISH)
    cloud.held["p999"] = replace(cloud.held[made.id], id="p999")
    assert await ports(cloud).ensure(WISH) == made
    assert list(cloud.held) == [made.id]


@pytest.mark.parametrize(
    "damage",
    [
        {"host": "elsewhere"},
        {"secured": True},
        {"up": False},
        {"addresses": frozenset((ip_address("10.0.0.7"),))},
        {"binding": "binding_failed"},
    ],
)
async def test_what_somebody_changed_is_mended_in_place(cloud: Cloud, damage: dict[str, object]) -> None:
    made = await ports(cloud).ensure(WISH)
    whole = cloud.held[made.id]
    cloud.held[made.id] = replace(whole, **damage)  # type: ignore[arg-type]
    assert await ports(cloud).ensure(WISH) == made
    assert cloud.held == {made.id: whole}


async def test_another_mac_is_another_port(cloud: Cloud) -> None:
    made = await ports(cloud).ensure(replace(WISH, mac="02:00:00:00:00:99"))
    again = await ports(cloud).ensure(WISH)
    assert again.id != made.id
    assert [p.mac for p in cloud.held.values()] == [WISH.mac]


async def test_gateways_come_and_go(cloud: Cloud) -> None:
    gateways = frozenset((ip_address("10.0.0.1"), ip_address("fd00::1")))
    made = await ports(cloud).ensure(replace(WISH, addresses=gateways))
    assert cloud.held[made.id].addresses == gateways
    await ports(cloud).ensure(WISH)
    assert cloud.held[made.id].addresses == frozenset()


async def test_ports_of_others_are_left_alone(cloud: Cloud) -> None:
    theirs = await ports(cloud, site="s2").ensure(WISH)
    mine = await ports(cloud).ensure(WISH)
    assert mine.id != theirs.id
    await ports(cloud).remove("net")
    await ports(cloud).remove("net")
    assert list(cloud.held) == [theirs.id]
    assert await ports(cloud).sights() == {}


async def test_a_host_that_nobody_serves_is_said(cloud: Cloud) -> None:
    with pytest.raises(Conflict, match="not bound: no network agent on host nowhere takes it"):
        await ports(cloud, "nowhere").ensure(WISH)
    seen = await ports(cloud, "gw").sights()
    assert seen is not None
    assert seen["net"].flaw == "bound to host nowhere, not to gw"


async def test_what_is_lacking_is_said(cloud: Cloud) -> None:
    assert await ports(cloud).lacking() == ""
    assert await ports(cloud, "nowhere").lacking() == "the cloud knows no network agent on host nowhere"
    assert await ports(cloud, "").lacking() == "this host's name in the cloud is not known"
    cloud.alive["gw"] = [False]
    assert await ports(cloud).lacking() == "the network agent on host gw is down"
    cloud.fault = Unavailable("the cloud answers 500")
    assert await ports(cloud).lacking() == "the cloud answers 500"


async def test_who_may_not_see_agents_may_still_have_ports(cloud: Cloud) -> None:
    class Shy(Cloud):
        async def agents(self, host: str) -> Collection[bool]:
            raise Forbidden("get_agents")

    assert await ports(Shy()).lacking() == ""


async def test_a_cloud_that_is_silent_says_what_it_said_before(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    watching = ports(cloud)
    cloud.fault = Unavailable("the cloud answers 500")
    assert await watching.sights() is None
    cloud.fault = None
    made = await ports(cloud).ensure(WISH)
    assert await watching.sights() is None, "it is not asked all the time"
    monkeypatch.setattr(gateway, "GOOD_FOR", 0.0)
    watching = ports(cloud)
    assert await watching.sights() == {"net": made}
    cloud.fault = Unavailable("the cloud answers 500")
    await asyncio.sleep(0.001)
    assert await watching.sights() == {"net": made}
