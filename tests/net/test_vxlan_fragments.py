"""The allow-list and fragments: a datagram cut so that its first piece does not show the VNI gets in nowhere."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from intertie.drivers.linux import nft
from intertie.drivers.linux.nft_model import Family
from intertie.model.bodies import VpnKind
from tests.net.vxlan_lab import CountedNamespaces, Fabric, Wire, checksum, control, udp, vxlan

pytestmark = pytest.mark.net
VNI, PORT, UDP, FRAGMENT = 65537, 4789, 17, 44
HEADER_INCLUDED = {4: (socket.IPPROTO_IP, 3), 6: (socket.IPPROTO_IPV6, 36)}
STRANGER, MEMBER = 3, 2


@pytest.fixture
async def fabric(tmp_path: Path) -> AsyncIterator[Fabric]:
    spaces = CountedNamespaces(tmp_path / "netns")
    fabric = Fabric(spaces)
    await fabric.build()
    yield fabric
    for ns in await spaces.list():
        await spaces.remove(ns)
    await spaces.close()


def fragments(version: int, ends: tuple[str, str], payload: bytes, cut: int, number: int) -> list[bytes]:
    """A UDP datagram in two IP packets, the first with `cut` octets of it (RFC 791, RFC 8200 section 4.5)."""
    datagram = udp(40000, PORT, payload)
    packed = b"".join(ip_address(end).packed for end in ends)
    if version == 6:
        pseudo = packed + struct.pack("!II", len(datagram), UDP)
        datagram = datagram[:6] + struct.pack("!H", checksum(pseudo + datagram)) + datagram[8:]
    found = []
    for offset, part in ((0, datagram[:cut]), (cut, datagram[cut:])):
        more = offset == 0
        if version == 4:
            field = (0x2000 if more else 0) | offset // 8
            head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(part), number, field, 64, UDP, 0) + packed
            found.append(head[:10] + struct.pack("!H", checksum(head)) + head[12:] + part)
        else:
            # An option that nobody knows and everybody skips (RFC 4727): length alone says nothing of what is shown.
            padding = bytes((FRAGMENT, 28, 0x1E, 228)) + bytes(228)
            inner = padding + struct.pack("!BBHI", UDP, 0, offset | more, number) + part
            found.append(struct.pack("!IHBB", 6 << 28, len(inner), 0, 64) + packed + inner)
    return found


async def send(fabric: Fabric, version: int, site: int, mark: int, cut: int) -> None:
    source, target = (str(fabric.lab.underlay(i, version)) for i in (site, 1))
    payload = vxlan(VNI, control("02:00:00:00:00:05", mark).ljust(600, b"\0"))
    pieces = fragments(version, (source, target), payload, cut, mark)

    def open_raw() -> socket.socket:
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        opened = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
        opened.setsockopt(*HEADER_INCLUDED[version], 1)
        return opened

    with await fabric.spaces.run(fabric.lab.site(site), open_raw) as raw:
        for piece in pieces:
            raw.sendto(piece, (target, 0))


async def heard(fabric: Fabric, version: int, wire: Wire) -> list[int]:
    """The marks that came to the host at site 1 of what was sent before."""
    await send(fabric, version, MEMBER, 99, 400)
    arrived = await wire.until(control("02:00:00:00:00:05", 99))
    return [int.from_bytes(data[14:22], "big") for data in arrived if data[6:12] == bytes.fromhex("020000000005")]


@pytest.mark.parametrize("version", [4, 6])
async def test_fragments_hide_nobody(fabric: Fabric, version: int) -> None:
    """The members' own fragments, which some network on the way may have made, pass."""
    await fabric.network(1, "a", VpnKind.L2)
    await fabric.ensure((1, fabric.l2(1, (1, MEMBER), version=version)))
    wire = await Wire.open(fabric.spaces, fabric.hosts[1, "a"])
    for mark, cut in ((1, 8), (2, 16), (3, 24), (4, 400)):
        await send(fabric, version, STRANGER, mark, cut)
    assert await heard(fabric, version, wire) == []
    name = "intertie-vx65537"
    await fabric.spaces.run(fabric.lab.site(1), lambda: nft.delete([(Family.INET, name)]))
    await send(fabric, version, STRANGER, 5, 8)
    assert await heard(fabric, version, wire) == [5], "without the filter the same pieces would have come in"
    wire.close()
