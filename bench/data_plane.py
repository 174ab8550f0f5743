"""`data-plane`: TCP throughput, processor time and round trips between two hosts, in network namespaces: over an L2
and an L3 Vpn as the `vxlan` driver makes them, over a VXLAN made by hand with nothing but a device and a bridge, and
over the routed veths below all of them.

One sender, one receiver, in this process; the ways take turns. What moves packets here is the kernel, on whatever
core it finds: figures are of this machine, ratios are what counts.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_interface, ip_network
from typing import Any

from pyroute2 import IPRoute

from bench.figures import Figure
from intertie.drivers.linux.netns import Namespaces, Netns
from intertie.drivers.transport.vxlan import VxlanTransport
from intertie.model.bodies import Endpoint, Range, VpnKind
from intertie.model.items import Remote, Segment
from intertie.planning.identity import segment_mac
from intertie.testing.backbone import Backbone

PORT = 5001
CHUNK = 1 << 17
WORST = 0.95
"""Of the hand-made one's throughput: below it ours is called slower. Turns differ by some per cent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    seconds: float = 1.5
    rounds: int = 5
    echoes: int = 3000


SIZES = {"full": Size(), "tiny": Size(seconds=0.1, rounds=1, echoes=50)}


@dataclass(frozen=True, slots=True)
class Way:
    """From a host to another's address."""

    name: str
    source: Netns
    target: Netns
    address: str


@dataclass(frozen=True, slots=True)
class Seen:
    rate: float
    """Gbit/s"""
    processor: float
    """Seconds a gigabyte, both ends and the kernel's work for them."""
    rtt: float
    """Microseconds, median."""


class Ground:
    """Two sites on the backbone."""

    def __init__(self, spaces: Namespaces) -> None:
        self.spaces = spaces
        self.lab = Backbone(spaces, "bench")

    async def build(self) -> list[Way]:
        await self.lab.build(2)
        ways = [Way("veth", self.lab.site(1), self.lab.site(2), str(self.lab.underlay(2)))]
        ways.append(await self._by_hand())
        for kind, vni in ((VpnKind.L2, 70001), (VpnKind.L3, 70002)):
            ways.append(await self._vpn(kind, vni))
        return ways

    async def _hosts(self, tag: str, addresses: tuple[str, str], gateways: tuple[str, ...] = ()) -> Way:
        hosts = []
        for i, address in enumerate(addresses, start=1):
            await self.lab.bridge(i, f"br{tag}", 1450)
            via = [IPv4Address(gateways[i - 1])] if gateways else []
            host = await self.lab.host(i, f"br{tag}", f"{tag}{i}", [ip_interface(address)], via)
            await self.spaces.netlink(
                host, lambda nl: nl.link("set", index=nl.link_lookup(ifname="eth0")[0], mtu=1450)
            )
            hosts.append(host)
        return Way(tag, hosts[0], hosts[1], addresses[1].partition("/")[0])

    async def _by_hand(self) -> Way:
        """ip link add vx type vxlan id 99 remote … local … dstport 4790; ip link set vx master br"""
        way = await self._hosts("hand", ("10.1.0.1/24", "10.1.0.2/24"))
        for here, there in ((1, 2), (2, 1)):
            local, remote = str(self.lab.underlay(here)), str(self.lab.underlay(there))

            def make(nl: IPRoute, local: str = local, remote: str = remote) -> None:
                nl.link(
                    "add", ifname="vx", kind="vxlan", vxlan_id=99, vxlan_group=remote, vxlan_local=local,
                    vxlan_port=4790, mtu=1450,
                )  # fmt: skip
                nl.link("set", index=nl.link_lookup(ifname="vx")[0], master=nl.link_lookup(ifname="brhand")[0])
                nl.link("set", index=nl.link_lookup(ifname="vx")[0], state="up")

            await self.spaces.netlink(self.lab.site(here), make)
        return way

    async def _vpn(self, kind: VpnKind, vni: int) -> Way:
        l2 = kind is VpnKind.L2
        addresses = ("10.2.0.10/24", "10.2.0.20/24") if l2 else ("10.3.1.10/24", "10.3.2.10/24")
        way = await self._hosts(kind.value, addresses, () if l2 else ("10.3.1.1", "10.3.2.1"))
        for here, there in ((1, 2), (2, 1)):
            driver = VxlanTransport(
                site=f"s{here}", namespaces=self.spaces, underlay=self.lab.underlay(here), home=self.lab.site(here)
            )
            await driver.ensure(self._segment(kind, vni, here, there))
        return way

    def _segment(self, kind: VpnKind, vni: int, here: int, there: int) -> Segment:
        vpn, l2 = f"s1.{kind.value}", kind is VpnKind.L2
        prefixes = () if l2 else (ip_network(f"10.3.{there}.0/24"),)
        first, last = IPv4Address(f"10.2.0.{here}0"), IPv4Address(f"10.2.0.{here}9")
        return Segment(
            vpn=vpn,
            kind=kind,
            epoch=1,
            vni=vni,
            network=f"s{here}.{kind.value}",
            bridge=f"br{kind.value}",
            local=self._endpoint(here, vpn),
            mtu=1450,
            remotes=(Remote(site=f"s{there}", endpoints=(self._endpoint(there, vpn),), prefixes=prefixes),),
            gateways=() if l2 else (ip_interface(f"10.3.{here}.1/24"),),
            ranges=(Range(first=first, last=last),) if l2 else (),
        )

    def _endpoint(self, site: int, vpn: str) -> Endpoint:
        return Endpoint(address=self.lab.underlay(site), mac=segment_mac(f"s{site}", vpn))


# ── Measuring ──────────────────────────────────────────────────────────────────────────────────────────────


async def _seen(spaces: Namespaces, way: Way, size: Size) -> Seen:
    rate, processor = await _throughput(spaces, way, size.seconds)
    return Seen(rate, processor, await _echo(spaces, way, size.echoes))


async def _throughput(spaces: Namespaces, way: Way, seconds: float) -> tuple[float, float]:
    listening = await spaces.run(way.target, lambda: _listening(way.address))
    sending = await spaces.run(way.source, lambda: socket.create_connection((way.address, PORT), timeout=5.0))
    receiving, _ = listening.accept()
    sending.settimeout(None)
    received = [0]
    thread = threading.Thread(target=_receive, args=(receiving, received))
    thread.start()
    before, begun = time.process_time(), time.monotonic()
    data = memoryview(bytes(CHUNK))
    while time.monotonic() - begun < seconds:
        sending.sendall(data)
    sending.shutdown(socket.SHUT_WR)
    thread.join()
    took, spent = time.monotonic() - begun, time.process_time() - before
    for each in (sending, receiving, listening):
        each.close()
    return received[0] * 8 / took / 1e9, spent / (received[0] / 1e9)


def _listening(address: str) -> socket.socket:
    found = socket.create_server((address, PORT))
    found.settimeout(5.0)
    return found


def _receive(sock: socket.socket, count: list[int]) -> None:
    sock.settimeout(None)
    room = memoryview(bytearray(CHUNK * 8))
    while got := sock.recv_into(room):
        count[0] += got


async def _echo(spaces: Namespaces, way: Way, count: int) -> float:
    """Microseconds there and back of a small datagram."""
    there = await spaces.run(way.target, lambda: _datagrams(way.address))
    here = await spaces.run(way.source, lambda: _datagrams("0.0.0.0"))
    here.connect((way.address, PORT))
    times = []
    for _ in range(count + 20):
        begun = time.perf_counter()
        here.send(b"x" * 64)
        data, source = there.recvfrom(100)
        there.sendto(data, source)
        here.recv(100)
        times.append((time.perf_counter() - begun) * 1e6)
    here.close()
    there.close()
    return statistics.median(times[20:])


def _datagrams(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, PORT))
    sock.settimeout(5.0)
    return sock


async def _crosses(spaces: Namespaces, way: Way) -> None:
    """Neighbours are learnt, and the way is open; OSError if it is not."""
    for attempt in range(10):
        try:
            await _echo(spaces, way, 1)
        except TimeoutError:
            if attempt == 9:
                raise


async def _measure(size: Size) -> list[Figure]:
    spaces = Namespaces()
    ground = Ground(spaces)
    try:
        ways = await ground.build()
        for way in ways:
            await _crosses(spaces, way)
        turns: dict[str, list[Seen]] = {way.name: [] for way in ways}
        for _ in range(size.rounds):
            for way in ways:
                turns[way.name].append(await _seen(spaces, way, size))
    finally:
        await ground.lab.destroy()
    best = {name: _median(seen) for name, seen in turns.items()}
    figures = []
    for name, what in (("l2", "L2 Vpn"), ("l3", "L3 Vpn"), ("veth", "the veths below")):
        figures += _figures(what, best[name], best["hand"], name != "veth")
    return figures


def _median(seen: list[Seen]) -> Seen:
    columns: list[Callable[[Seen], float]] = [lambda s: s.rate, lambda s: s.processor, lambda s: s.rtt]
    return Seen(*(statistics.median(column(s) for s in seen) for column in columns))


def _figures(what: str, ours: Seen, hand: Seen, judged: bool) -> list[Figure]:
    beside = "by hand"
    aim: dict[str, Any] = {"aim": f"≥ {WORST:g}", "met": ours.rate / hand.rate >= WORST} if judged else {}
    return [
        Figure(what=f"{what}: throughput", ours=ours.rate, unit="Gbit/s", baseline=hand.rate, beside=beside,
               ratio=ours.rate / hand.rate, **aim),
        Figure(what=f"{what}: processor time a gigabyte", ours=ours.processor, unit="s", baseline=hand.processor,
               beside=beside, ratio=ours.processor / hand.processor),
        Figure(what=f"{what}: round trip", ours=ours.rtt, unit="µs", baseline=hand.rtt, beside=beside,
               ratio=ours.rtt / hand.rtt),
    ]  # fmt: skip


def run(size: str) -> list[Figure]:
    return asyncio.run(_measure(SIZES[size]))
