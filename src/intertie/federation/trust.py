"""Whom this site trusts now, and the TLS contexts that follow from it.

The table of pins is given whole (`replace`), as computed from Introductions and Forgotten records; what falls
out of it is trusted no more from that instant. A TLS context is never altered: a new table or a new leaf
makes new contexts, and a handshake in progress ends with the one it began with and then meets `identify`,
which asks the table as it is *now*.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from intertie.federation import certificates
from intertie.federation.certificates import LIFETIME, Leaf
from intertie.federation.keys import Root, RootKey, key_from_point, parse_root
from intertie.federation.transport import Caller, PeerAddress
from intertie.model.errors import Forbidden, Refused

log = structlog.get_logger()

Clock = Callable[[], datetime]
"""Aware, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who is at the other end of a connection, and until when its certificate vouches for that."""

    caller: Caller
    until: datetime


@dataclass(frozen=True, slots=True)
class _Contexts:
    leaf: Leaf
    server: ssl.SSLContext
    client: ssl.SSLContext


class Trust:
    """This site's root, its current leaf, and its pins."""

    def __init__(self, root: RootKey, clock: Clock, lifetime: timedelta = LIFETIME) -> None:
        self._root = root
        self._clock = clock
        self._lifetime = lifetime
        self._pins: dict[str, Root] = {}
        self._bad: dict[str, str] = {}
        self._contexts: _Contexts | None = None
        self._join: ssl.SSLContext | None = None
        self._problem = ""
        """Why the last try to renew the leaf failed."""

    def replace(self, pins: Mapping[str, bytes]) -> frozenset[str]:
        """Trust these sites (name → root certificate, DER) and no others, from now on.

        Returns the names that were trusted, with the root they had, and no longer are: cut them. A pin that is
        no root of that name is left out and logged: it must not keep the others from being trusted, nor
        from being forgotten.
        """
        roots: dict[str, Root] = {}
        bad: dict[str, str] = {}
        for name, der in pins.items():
            try:
                roots[name] = _root_of(name, der)
            except Refused as error:
                bad[name] = error.detail
        if bad != self._bad:
            self._bad = bad
            log.warning("pins-not-usable", pins=bad)
        if roots == self._pins:
            return frozenset()
        gone = frozenset(name for name, root in self._pins.items() if roots.get(name) != root)
        self._pins, self._contexts = roots, None
        return gone

    def server_context(self) -> ssl.SSLContext:
        return self._current().server

    def client_context(self) -> ssl.SSLContext:
        return self._current().client

    def join_context(self) -> ssl.SSLContext:
        self._join = self._join or certificates.join_context()
        return self._join

    @property
    def connection_life(self) -> timedelta:
        """How long a connection may be used. A leaf shown has half its life left, so neither end's runs out."""
        return self._lifetime / 4

    def identify(self, shown: bytes) -> Identity:
        """The trusted site whose certificate (DER) this is. Raises Forbidden."""
        leaf = certificates.read(shown)
        root = self._pins.get(leaf.name)
        if root is None:
            raise Forbidden(f"{leaf.name} is not a site that this one has pinned", sites=(leaf.name,))
        certificates.check(leaf, root.name, root.public_key, self._clock())
        return Identity(caller=Caller(name=root.name, fingerprint=root.fingerprint), until=leaf.not_after)

    def identify_inviter(self, shown: bytes, peer: PeerAddress) -> None:
        """Raises Forbidden unless the certificate is the inviter's, by the key in the invitation."""
        certificates.check(certificates.read(shown), peer.name, key_from_point(peer.join_key), self._clock())

    def holds(self, identity: Identity) -> bool:
        """Whether who was identified is still trusted, and its certificate still in force."""
        root = self._pins.get(identity.caller.name)
        known = root is not None and root.fingerprint == identity.caller.fingerprint
        return known and self._clock() <= identity.until

    def pinned(self, peer: PeerAddress) -> bool:
        """Whether this very root is pinned for this name."""
        try:
            return self._pins.get(peer.name) == parse_root(peer.root)
        except Refused:
            return False

    def _current(self) -> _Contexts:
        now = self._clock()
        known = self._contexts
        if known is not None and not known.leaf.stale(now):
            return known
        try:
            self._contexts = self._made(now)
        except (OSError, ValueError) as error:
            if not self._problem:
                until = str(known.leaf.not_after) if known is not None else ""
                log.warning("certificate not renewed", why=str(error), until=until)
            self._problem = str(error)
            if known is None or now >= known.leaf.not_after:
                raise
            # Half of its life is left: time for whatever is wrong to end, and no reason to be silent meanwhile.
            return known
        self._problem = ""
        return self._contexts

    def _made(self, now: datetime) -> _Contexts:
        leaf = certificates.issue(self._root, now, self._lifetime)
        roots = b"".join(root.der for root in self._pins.values())
        return _Contexts(leaf, certificates.server_context(leaf, roots), certificates.client_context(leaf, roots))

    @property
    def root(self) -> Root:
        return self._root.root

    def certificate(self) -> tuple[datetime | None, str]:
        """When the leaf ends, and why it could not be renewed when it was time; "" if it was."""
        try:
            return self._current().leaf.not_after, self._problem
        except (OSError, ValueError):
            return None, self._problem


def _root_of(name: str, der: bytes) -> Root:
    root = parse_root(der)
    if root.name != name:
        raise Refused(f"the root given for {name} is {root.name}'s")
    return root
