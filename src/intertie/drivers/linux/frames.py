"""Probes and loop checks inside segments, by frames that need no tenant address (`frame_format`).

L2. A probe leaves through the bridge with the segment device's MAC as its source and the remote's as its target:
it takes the way of any tenant's frame, bridge, VXLAN, remote bridge, and is delivered up there because that MAC is
the bridge's own. L3. It leaves by the segment's device in the router's namespace.

The socket of each segment hears only this EtherType, and only what its bridge or device delivers up: nothing is
tapped, and tenants' traffic costs nothing more.

A loop check is one broadcast frame with a fresh nonce. Each member's bridge floods it to its tenants; whoever sees
the nonce come in from a tenant's port, and also knows it from its own sending or from a remote, is part of a loop.
The filter (`vxlan_rules`) marks the side it came from and never forwards it a second time, so the check cannot
itself become a storm. Seeing needs both: a tenant that invents nonces convicts nobody.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum, auto

from intertie.drivers.linux.frame_format import BROADCAST, ETHERTYPE, Frame, FrameType, decode, encode
from intertie.drivers.linux.netns import Namespaces, Netns
from intertie.model.bodies import VpnKind
from intertie.model.items import Segment

REMEMBERED = 4096
"""Nonces of loop checks that are kept."""
LONGEST_FRAME = 1 << 14
AT_ONCE = 64
GONE = (errno.ENETDOWN, errno.ENODEV, errno.ENXIO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a segment's frames are sent and heard: a namespace (None: the agent's own) and a device in it."""

    netns: Netns | None
    device: str


class Side(Enum):
    OWN = auto()
    REMOTE = auto()
    TENANT = auto()


@dataclass(slots=True)
class _Ear:
    """One segment's socket."""

    segment: Segment
    place: Place
    socket: socket.socket


@dataclass(slots=True)
class _Heard:
    sides: set[Side] = field(default_factory=set)
    told: bool = False


class SegmentProbes:
    """Probes between the members of each segment; answers those of others for as long as the segment is set.

    `place` says where a segment's frames go, None where nothing of ours is on it; `on_loop` is called with the Vpn's
    id, once a nonce that came back.
    """

    def __init__(
        self,
        *,
        site: str,
        namespaces: Namespaces,
        place: Callable[[Segment], Place | None],
        on_loop: Callable[[str], None] = lambda vpn: None,
    ) -> None:
        self.site = site
        self.on_loop = on_loop
        self._namespaces = namespaces
        self._place = place
        self._ears: dict[tuple[str, str], _Ear] = {}
        self._waiting: dict[int, asyncio.Future[float]] = {}
        self._nonces: OrderedDict[int, _Heard] = OrderedDict()

    async def set_segments(self, segments: Collection[Segment]) -> None:
        """The segments from now on. One whose bridge or device is not there (yet) is tried at the next call."""
        wanted = {(s.vpn, s.network): s for s in segments}
        for key in [key for key, ear in self._ears.items() if self._stale(ear, wanted.get(key))]:
            self._close(key)
        for key, segment in wanted.items():
            ear = self._ears.get(key)
            if ear is not None:
                ear.segment = segment
            else:
                await self._open(key, segment)

    async def probe(self, vpn: str, site: str, size: int | None, timeout: float) -> float | None:
        """RTT in ms to `site` over the Vpn, None if nothing came back. `size`: octets of the packet, as IP counts."""
        ear = next((e for e in self._ears.values() if e.segment.vpn == vpn and site in _macs(e.segment)), None)
        if ear is None:
            return None
        nonce = secrets.randbits(64)
        answer: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting[nonce] = answer
        begun = time.perf_counter()
        try:
            if not self._send(ear, self._frame(ear, FrameType.REQUEST, nonce, site, size or 0)):
                return None
            return (await asyncio.wait_for(answer, timeout) - begun) * 1000
        except TimeoutError:
            return None
        finally:
            del self._waiting[nonce]

    async def check_loops(self, vpn: str | None = None) -> None:
        """Send one nonce on each L2 segment, or on those of one Vpn. What comes back is told by `on_loop`."""
        for ear in list(self._ears.values()):
            if ear.segment.kind is VpnKind.L2 and vpn in (None, ear.segment.vpn):
                nonce = secrets.randbits(64)
                self._hear(ear, nonce, Side.OWN)
                self._send(ear, self._frame(ear, FrameType.LOOP, nonce))

    async def close(self) -> None:
        for key in list(self._ears):
            self._close(key)

    # ── Sending ────────────────────────────────────────────────────────────────────────────────────────

    def _frame(self, ear: _Ear, kind: FrameType, nonce: int, receiver: str = "", size: int = 0) -> bytes:
        frame = Frame(
            destination=_macs(ear.segment)[receiver] if receiver else BROADCAST,
            source=ear.segment.local.mac,
            type=kind,
            vni=ear.segment.vni,
            nonce=nonce,
            sender=self.site,
            receiver=receiver,
            size=size,
        )
        return encode(frame)

    def _send(self, ear: _Ear, data: bytes) -> bool:
        """False if the device does not take it: down, gone, full, or smaller than the frame."""
        try:
            ear.socket.send(data)
        except OSError:
            return False
        return True

    # ── Hearing ────────────────────────────────────────────────────────────────────────────────────────

    def _readable(self, key: tuple[str, str]) -> None:
        ear = self._ears[key]
        for _ in range(AT_ONCE):
            try:
                data = ear.socket.recv(LONGEST_FRAME)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in GONE:  # opened again by the next set_segments
                    self._close(key)
                return
            frame = decode(data)
            if frame is not None and frame.vni == ear.segment.vni:
                self._take(ear, frame)

    def _take(self, ear: _Ear, frame: Frame) -> None:
        if frame.type is FrameType.LOOP:
            self._hear(ear, frame.nonce, Side.TENANT if frame.tenant_side else Side.REMOTE)
        elif frame.receiver != self.site or frame.tenant_side:
            return
        elif frame.type is FrameType.ECHO:
            answer = self._waiting.get(frame.nonce)
            if answer is not None and not answer.done():
                answer.set_result(time.perf_counter())
        elif _macs(ear.segment).get(frame.sender) == frame.source:
            self._send(ear, self._frame(ear, FrameType.ECHO, frame.nonce, frame.sender, frame.size))

    def _hear(self, ear: _Ear, nonce: int, side: Side) -> None:
        heard = self._nonces.setdefault(nonce, _Heard())
        heard.sides.add(side)
        while len(self._nonces) > REMEMBERED:
            self._nonces.popitem(last=False)
        if Side.TENANT in heard.sides and len(heard.sides) > 1 and not heard.told:
            heard.told = True
            self.on_loop(ear.segment.vpn)

    # ── Sockets ────────────────────────────────────────────────────────────────────────────────────────

    def _stale(self, ear: _Ear, segment: Segment | None) -> bool:
        return segment is None or self._place(segment) != ear.place or not _bound(ear.socket)

    async def _open(self, key: tuple[str, str], segment: Segment) -> None:
        place = self._place(segment)
        if place is None:
            return
        try:
            opened = await self._namespaces.run(place.netns, lambda: _listen(place.device))
        except OSError:
            return
        if key in self._ears:  # a second call was quicker
            opened.close()
            return
        self._ears[key] = _Ear(segment, place, opened)
        asyncio.get_running_loop().add_reader(opened, self._readable, key)

    def _close(self, key: tuple[str, str]) -> None:
        ear = self._ears.pop(key)
        asyncio.get_running_loop().remove_reader(ear.socket)
        ear.socket.close()


def _listen(device: str) -> socket.socket:
    """A packet socket for our EtherType on one device of the calling thread's namespace."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    try:
        opened.bind((device, ETHERTYPE))
    except OSError:
        opened.close()
        raise
    return opened


def _bound(opened: socket.socket) -> bool:
    """False once the device has gone: the kernel unbinds the socket from it."""
    try:
        return bool(opened.getsockname()[0])
    except OSError:
        return False


def _macs(segment: Segment) -> dict[str, str]:
    """The MAC of each remote that has told one."""
    found = ((r.site, next((e.mac for e in r.endpoints if e.mac), "")) for r in segment.remotes)
    return {site: mac for site, mac in found if mac}
