"""Echoes between two namespaces with a router between them, whose second link is narrower."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from intertie.drivers.linux.icmp import Outcome, Pinger, ping
from intertie.drivers.linux.netns import Namespaces, Netns

pytestmark = pytest.mark.net
LEFT, ROUTER, RIGHT = Netns("i-left"), Netns("i-router"), Netns("i-right")
FAR4, FAR6 = IPv4Address("10.2.0.2"), IPv6Address("fd02::2")


@pytest.fixture
async def spaces(tmp_path: Path):
    spaces = Namespaces(tmp_path / "netns")
    for ns in (LEFT, ROUTER, RIGHT):
        await spaces.create(ns)
        await spaces.run(ns, no_waiting_for_duplicates)
    await wire(spaces, LEFT, 1, 1500)
    await wire(spaces, RIGHT, 2, 1400)
    await spaces.run(ROUTER, forward)
    yield spaces
    for ns in await spaces.list():
        await spaces.remove(ns)
    await spaces.close()


def no_waiting_for_duplicates() -> None:
    """Link-local addresses serve at once; otherwise a router cannot ask for its neighbours for a second."""
    Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
    Path("/proc/sys/net/ipv6/conf/all/accept_dad").write_text("0")


def forward() -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")


async def wire(spaces: Namespaces, ns: Netns, n: int, mtu: int) -> None:
    """A veth eth0 in `ns` to e<n> in the router; both sides addressed, `ns` routed through it."""
    peer = {"ifname": f"e{n}", "net_ns_fd": str(spaces.directory / ROUTER)}
    await spaces.netlink(ns, lambda nl: nl.link("add", ifname="eth0", kind="veth", peer=peer))

    def side(nl: IPRoute, name: str, last: int) -> None:
        index = nl.link_lookup(ifname=name)[0]
        nl.link("set", index=index, state="up", mtu=mtu)
        nl.addr("add", index=index, address=f"10.{n}.0.{last}", prefixlen=24)
        nl.addr("add", index=index, address=f"fd0{n}::{last}", prefixlen=64, flags=0x02)

    await spaces.netlink(ROUTER, lambda nl: side(nl, f"e{n}", 1))
    await spaces.netlink(ns, lambda nl: side(nl, "eth0", 2))
    await spaces.netlink(ns, lambda nl: nl.route("add", dst="default", gateway=f"10.{n}.0.1"))
    await spaces.netlink(ns, lambda nl: nl.route("add", dst="::/0", gateway=f"fd0{n}::1"))


@pytest.mark.parametrize("far", [FAR4, FAR6], ids=["v4", "v6"])
async def test_exact_sizes_pass_or_name_the_mtu(spaces: Namespaces, far: IPv4Address | IPv6Address) -> None:
    async with Pinger(spaces, LEFT) as pinger:
        passed = await pinger.ping(far, size=1400)
        assert passed.outcome is Outcome.REPLY
        assert passed.rtt is not None
        assert 0 < passed.rtt < 1
        router = ip_address("10.1.0.1" if far.version == 4 else "fd01::1")
        for _ in range(2):  # the second time the kernel knows the path MTU, and we must not care
            refused = await pinger.ping(far, size=1401)
            assert (refused.outcome, refused.mtu, refused.source) == (Outcome.TOO_BIG, 1400, router)
        local = await pinger.ping(far, size=1501)
        assert (local.outcome, local.mtu, local.source) == (Outcome.TOO_BIG, 1400, None)


async def test_silence_no_route_and_no_such_host(spaces: Namespaces) -> None:
    await spaces.netlink(RIGHT, lambda nl: nl.route("del", dst="default", gateway="10.2.0.1"))
    silent = await ping(spaces, LEFT, FAR4, timeout=0.2)
    assert silent.outcome is Outcome.TIMEOUT
    no_route = await ping(spaces, RIGHT, IPv4Address("10.9.0.1"))
    assert no_route.outcome is Outcome.UNREACHABLE
    await spaces.netlink(ROUTER, lambda nl: nl.route("add", dst="10.9.0.0/16", type="unreachable"))
    refused = await ping(spaces, LEFT, IPv4Address("10.9.0.1"))
    assert (refused.outcome, refused.source) == (Outcome.UNREACHABLE, IPv4Address("10.1.0.1"))


async def test_hundreds_at_once(spaces: Namespaces) -> None:
    async with Pinger(spaces, LEFT) as pinger:
        sizes = range(100, 500)
        echoes = await asyncio.gather(*(pinger.ping(far, size=n) for n in sizes for far in (FAR4, FAR6)))
    assert {echo.outcome for echo in echoes} == {Outcome.REPLY}


async def test_a_size_below_the_headers_is_refused(spaces: Namespaces) -> None:
    with pytest.raises(ValueError, match="28 to 65535"):
        await ping(spaces, LEFT, FAR4, size=27)
