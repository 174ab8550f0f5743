"""nf_tables messages over netlink: attributes, atomic batches, dumps.

Only what `nft` needs. A `Socket` belongs to the network namespace of the thread that opens it, blocks for as
long as the kernel takes to answer (it answers within the call) and speaks of nothing but bytes.

An attribute is (type, payload); numbers in nf_tables' attributes are big-endian, lengths and types are the
host's. A batch is one transaction of the kernel's: all of it or nothing, and packets see either the old rules
or the new ones.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import NamedTuple

NETLINK_NETFILTER = 12
SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_CREATE, NLM_F_APPEND = 0x1, 0x4, 0x300, 0x400, 0x800
NLM_F_DUMP_INTR = 0x10
NLMSG_ERROR, NLMSG_DONE = 2, 3
BATCH_BEGIN, BATCH_END = 0x10, 0x11
NESTED = 0x8000
TYPE_MASK = 0x3FFF
HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
RECEIVE = 1 << 17
TRIES = 8


class Message(NamedTuple):
    """One nf_tables message: its NFT_MSG_ number, flags besides REQUEST, address family and attributes."""

    type: int
    flags: int
    family: int
    payload: bytes


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four octets."""
    length = ATTRIBUTE.size + len(payload)
    return ATTRIBUTE.pack(length, kind) + payload + b"\0" * (-length % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NESTED, b"".join(attributes))


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!I", value & 0xFFFFFFFF))


def u64(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!Q", value))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def attributes(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes of a payload, in order. ValueError if it is cut short."""
    offset = 0
    while offset + ATTRIBUTE.size <= len(payload):
        length, kind = ATTRIBUTE.unpack_from(payload, offset)
        if length < ATTRIBUTE.size or offset + length > len(payload):
            raise ValueError("netlink attribute cut short")
        yield kind & TYPE_MASK, payload[offset + ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def fields(payload: bytes) -> dict[int, bytes]:
    """The attributes by type, for payloads where none repeats."""
    return dict(attributes(payload))


def number(payload: bytes) -> int:
    return int.from_bytes(payload, "big")


def signed(payload: bytes) -> int:
    return int.from_bytes(payload, "big", signed=True)


def string(payload: bytes) -> str:
    return payload.rstrip(b"\0").decode()


class Socket:
    """An nf_tables socket in the caller's network namespace. OSError carries the kernel's errno."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Socket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def commit(self, messages: Sequence[Message]) -> None:
        """Apply the messages as one transaction; the last one is acknowledged."""
        if not messages:
            return
        out = [self._frame(BATCH_BEGIN, 0, 0, b"", resource=SUBSYSTEM)]
        for index, message in enumerate(messages):
            flags = message.flags | (NLM_F_ACK if index == len(messages) - 1 else 0)
            kind = SUBSYSTEM << 8 | message.type
            out.append(self._frame(kind, flags, message.family, message.payload))
        last = self._sequence
        out.append(self._frame(BATCH_END, 0, 0, b"", resource=SUBSYSTEM))
        self._socket.send(b"".join(out))
        while True:
            for kind, _, sequence, payload in self._receive():
                if kind != NLMSG_ERROR:
                    continue
                _raise(payload)
                if sequence == last:
                    return

    def dump(self, kind: int, family: int, payload: bytes = b"") -> list[tuple[int, bytes]]:
        """Everything of one sort, as (family, attributes); asked again when it changed meanwhile."""
        for _ in range(TRIES):
            found, whole = self._dump_once(kind, family, payload)
            if whole:
                return found
        raise OSError(errno.EINTR, "nf_tables kept changing while it was read")

    def there(self, kind: int, family: int, payload: bytes) -> bool:
        """Whether the one thing asked for exists."""
        self._socket.send(self._frame(SUBSYSTEM << 8 | kind, 0, family, payload))
        for answer, _, _, body in self._receive():
            if answer == NLMSG_ERROR and struct.unpack_from("=i", body)[0] == -errno.ENOENT:
                return False
            if answer == NLMSG_ERROR:
                _raise(body)
        return True

    def _dump_once(self, kind: int, family: int, payload: bytes) -> tuple[list[tuple[int, bytes]], bool]:
        self._socket.send(self._frame(SUBSYSTEM << 8 | kind, NLM_F_DUMP, family, payload))
        wanted = self._sequence
        found: list[tuple[int, bytes]] = []
        whole = True
        while True:
            for answer, flags, sequence, body in self._receive():
                if sequence != wanted:
                    continue
                whole = whole and not flags & NLM_F_DUMP_INTR
                if answer == NLMSG_DONE:
                    return found, whole
                if answer == NLMSG_ERROR:
                    if abs(struct.unpack_from("=i", body)[0]) == errno.EINTR:
                        return found, False
                    _raise(body)
                    return found, whole
                found.append((body[0], body[4:]))

    def _frame(self, kind: int, flags: int, family: int, payload: bytes, resource: int = 0) -> bytes:
        self._sequence += 1
        body = struct.pack("!BBH", family, 0, resource) + payload
        return HEADER.pack(HEADER.size + len(body), kind, flags | NLM_F_REQUEST, self._sequence, 0) + body

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        data = self._socket.recv(RECEIVE)
        offset = 0
        while offset + HEADER.size <= len(data):
            length, kind, flags, sequence, _ = HEADER.unpack_from(data, offset)
            yield kind, flags, sequence, data[offset + HEADER.size : offset + length]
            offset += (length + 3) & ~3


def _raise(payload: bytes) -> None:
    code = -struct.unpack_from("=i", payload)[0]
    if code:
        raise OSError(code, f"nf_tables: {os.strerror(code)}")
