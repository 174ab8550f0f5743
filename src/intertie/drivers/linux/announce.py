"""Telling a network that an address is here now: gratuitous ARP (RFC 5227 §3) and unsolicited neighbour
advertisement (RFC 4861 §7.2.6), so that neighbours and bridges forget where it was before.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from threading import Thread

from intertie.drivers.linux.icmp import checksum
from intertie.model.bodies import Address

BROADCAST = b"\xff" * 6
ALL_NODES = IPv6Address("ff02::1")
ALL_NODES_MAC = bytes.fromhex("333300000001")
ETH_ARP, ETH_IPV6 = 0x0806, 0x86DD
ARP_REQUEST = 1
NEIGHBOUR_ADVERTISEMENT = 136
OVERRIDE = 0x20000000
TARGET_LINK_LAYER_ADDRESS = 2


def announcement(address: Address, mac: bytes) -> bytes:
    """The Ethernet frame that says `address` is at `mac`."""
    if isinstance(address, IPv4Address):
        arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, ARP_REQUEST) + mac + address.packed + bytes(6) + address.packed
        return BROADCAST + mac + struct.pack("!H", ETH_ARP) + arp
    option = struct.pack("!BB", TARGET_LINK_LAYER_ADDRESS, 1) + mac
    body = struct.pack("!I", OVERRIDE) + address.packed + option
    pseudo = address.packed + ALL_NODES.packed + struct.pack("!II", 4 + len(body), socket.IPPROTO_ICMPV6)
    check = checksum(pseudo + struct.pack("!BBH", NEIGHBOUR_ADVERTISEMENT, 0, 0) + body)
    message = struct.pack("!BBH", NEIGHBOUR_ADVERTISEMENT, 0, check) + body
    header = struct.pack("!IHBB", 6 << 28, len(message), socket.IPPROTO_ICMPV6, 255)
    return ALL_NODES_MAC + mac + struct.pack("!H", ETH_IPV6) + header + address.packed + ALL_NODES.packed + message


def announce(device: str, addresses: Iterable[Address]) -> None:
    """Send each once from `device` of the namespace that the calling thread is in. Raises OSError."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC)
    try:
        sock.bind((device, 0))
        for address in addresses:
            sock.send(announcement(address, sock.getsockname()[4]))
    finally:
        Thread(target=sock.close).start()  # the kernel lets go of a packet socket only after 10 to 20 ms
