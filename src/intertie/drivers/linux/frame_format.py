"""The frames that sites send one another inside a segment, as bytes.

EtherType 0x88B5 (IEEE Std 802, local experimental): no tenant address is needed, and no tenant's stack answers.

    0   destination MAC        16  VNI (4)
    6   source MAC             20  nonce (8)
    12  0x88B5                 28  length of what follows the Ethernet header (2)
    14  type: 1 2 3            30  from, to: names of sites, each a length octet and ASCII
    15  side: 0 or 1           …   zeros up to the length

`side` is 0 when sent. The filter of each member sets it to 1 in a loop-check frame that comes in through a port
of the tenants', and to 0 in one that comes from a remote: the frame itself says which way it came.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

ETHERTYPE = 0x88B5
TYPE_AT, SIDE_AT, VNI_AT = 14, 15, 16
BROADCAST = "ff:ff:ff:ff:ff:ff"
ETHERNET = struct.Struct("!6s6sH")
FIXED = struct.Struct("!BBIQH")
LONGEST = 9000


class FrameType(IntEnum):
    REQUEST = 1
    ECHO = 2
    LOOP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """`size`: octets after the Ethernet header, what an IP packet of the same frame would have; 0: as short as
    possible."""

    destination: str
    source: str
    type: FrameType
    vni: int
    nonce: int
    sender: str
    receiver: str = ""
    tenant_side: bool = False
    size: int = 0


def mac_bytes(mac: str) -> bytes:
    """Six octets; ValueError if it is not "aa:bb:cc:dd:ee:ff"."""
    found = bytes.fromhex(mac.replace(":", ""))
    if len(found) != 6:
        raise ValueError(f"not a MAC address: {mac!r}")
    return found


def mac_text(mac: bytes) -> str:
    return mac.hex(":")


def encode(frame: Frame) -> bytes:
    """ValueError if the names do not fit the size."""
    names = b"".join(bytes((len(n),)) + n for n in (frame.sender.encode(), frame.receiver.encode()))
    size = frame.size or FIXED.size + len(names)
    if not FIXED.size + len(names) <= size <= LONGEST:
        raise ValueError(f"a probe cannot have {size} octets")
    head = ETHERNET.pack(mac_bytes(frame.destination), mac_bytes(frame.source), ETHERTYPE)
    fixed = FIXED.pack(frame.type, frame.tenant_side, frame.vni, frame.nonce, size)
    return (head + fixed + names).ljust(ETHERNET.size + size, b"\0")


def decode(data: bytes) -> Frame | None:
    """The frame, or None for anything else: a foreign use of the EtherType, or one cut short."""
    if len(data) < ETHERNET.size + FIXED.size + 2:
        return None
    destination, source, ethertype = ETHERNET.unpack_from(data)
    kind, side, vni, nonce, size = FIXED.unpack_from(data, ETHERNET.size)
    if ethertype != ETHERTYPE or kind not in set(FrameType) or len(data) < ETHERNET.size + size:
        return None
    sender, rest = _name(data[ETHERNET.size + FIXED.size : ETHERNET.size + size])
    receiver, _ = _name(rest)
    if sender is None or receiver is None:
        return None
    return Frame(
        destination=mac_text(destination),
        source=mac_text(source),
        type=FrameType(kind),
        vni=vni,
        nonce=nonce,
        sender=sender,
        receiver=receiver,
        tenant_side=bool(side),
        size=size,
    )


def _name(data: bytes) -> tuple[str | None, bytes]:
    if not data or len(data) < 1 + data[0]:
        return None, b""
    name = data[1 : 1 + data[0]]
    return (name.decode() if name.isascii() else None), data[1 + data[0] :]
