"""Peer calls over mutual TLS 1.3: the real `PeerTransport`.

Puts together whom this site trusts (`trust`), the calling end (`peer_client`) and the called end
(`peer_server`). The agent tells it the whole table of pins whenever that changes; whoever falls out of the
table is refused from that instant, and every live connection of his, in both directions, is cut with it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from intertie.federation.certificates import LIFETIME
from intertie.federation.keys import Root, RootKey
from intertie.federation.peer_client import PeerClient
from intertie.federation.peer_door import Limits
from intertie.federation.peer_server import PeerServer
from intertie.federation.transport import Handler, PeerAddress
from intertie.federation.trust import Clock, Trust

_LIMITS = Limits()


class TlsTransport:
    """`sockets`: listening TCP sockets (see `peer_server.listen`); none, for a site that only calls."""

    def __init__(
        self,
        root: RootKey,
        clock: Clock,
        sockets: Iterable[socket.socket] = (),
        *,
        limits: Limits = _LIMITS,
        lifetime: timedelta = LIFETIME,
    ) -> None:
        self._trust = Trust(root, clock, lifetime)
        self._sockets = list(sockets)
        self._server = PeerServer(self._trust, limits)
        self._client = PeerClient(self._trust, clock)

    def trust(self, pins: Mapping[str, bytes]) -> None:
        """Trust exactly these sites (name → root certificate, DER). Cuts whoever is no longer among them.

        What is no root, or another site's, is not trusted; that is logged.
        """
        for name in self._trust.replace(pins):
            self.cut(name)

    def cut(self, name: str) -> None:
        """Close every live connection of that peer, in both directions, calls in progress included."""
        self._client.cut(name)
        self._server.cut(name)

    async def call(self, peer: PeerAddress, body: bytes, timeout: float) -> bytes:
        """See `transport.PeerTransport.call`. Raises Refused(too-large) for a body over 4 MiB."""
        return await self._client.call(peer, body, timeout)

    async def serve(self, handler: Handler) -> None:
        """Answer calls until cancelled; then the listening sockets and all connections are closed."""
        await self._server.serve(self._sockets, handler)

    @property
    def root(self) -> Root:
        """This site's."""
        return self._trust.root

    def certificate(self) -> tuple[datetime | None, str]:
        """When the TLS certificate ends (it is renewed now, if it is time), and why it could not be; "" if it was."""
        return self._trust.certificate()

    def close(self) -> None:
        """Close the calling end's connections, and the listening sockets also where `serve` never ran."""
        self._client.close()
        for sock in self._sockets:
            sock.close()
