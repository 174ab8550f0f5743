"""The port between the agent and whatever carries its calls: two methods, opaque bytes.

The real carrier is `peer_transport.TlsTransport`; the simulated federation puts a simulated network here.
What the bytes say is `model.codec`'s business. This module is the whole vocabulary of a call: who is called
(`PeerAddress`), who calls (`Caller`), and what a call may cost (`MAX_BODY`).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Address
from typing import Protocol

from intertie.model.errors import Refused

PATH = "/peer/v1/exchange"
MAX_BODY = 4 * 1024 * 1024
"""Octets of a request or a reply; a site that has more to say says it in several calls."""

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who the TLS certificate says is calling. The only identity there is: a body's `from` proves nothing."""

    name: str
    fingerprint: str
    """SHA-256 of the root's SubjectPublicKeyInfo, hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAddress:
    """A site to call: its name, `host:port` (`[v6]:port`), and what proves that it is the one.

    Exactly one proof: `root`, the pinned root certificate (DER); or, for a join, `join_key`, the public key
    out of the invitation (compressed P-256 point), in which case the caller shows no certificate.
    """

    name: str
    address: str
    root: bytes = field(default=b"", repr=False)
    join_key: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if bool(self.root) == bool(self.join_key):
            raise ValueError("a peer is proved by its root or by an invitation's key: give exactly one")


Handler = Callable[[Caller | None, bytes], Awaitable[bytes]]
"""Answers one call. No caller: whoever it is showed no certificate, and may do nothing but join."""


class PeerTransport(Protocol):
    async def call(self, peer: PeerAddress, body: bytes, timeout: float) -> bytes:
        """The reply to `body`, within `timeout` seconds in all.

        Raises Unavailable whenever there is none, also when the call may have been delivered and only the
        reply was lost. Never retries: calls are idempotent, and when to speak again is the caller's to say.
        """
        ...

    async def serve(self, handler: Handler) -> None:
        """Answer calls until cancelled."""
        ...


def parse_address(text: str) -> tuple[str, int]:
    """(host, port) of `host:port`, `192.0.2.1:port` or `[2001:db8::1]:port`. Raises Refused(invalid)."""
    host, colon, port = text.rpartition(":")
    # isdigit alone would let "²" and other scripts' digits through.
    if not (colon and port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        raise Refused(f"{text!r} is not an address with a port", hint="write HOST:PORT or [IPV6]:PORT")
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(IPv6Address(host[1:-1])), int(port)
        except AddressValueError as error:
            raise Refused(f"{host} is not an IPv6 address: {error}") from error
    if not _HOST.fullmatch(host):
        raise Refused(f"{host!r} is not a host name or address", hint="IPv6 goes in brackets: [2001:db8::1]:7576")
    return host, int(port)
