"""What joins the agent's ports to what satisfies them: small adapters, no decisions. Only `main` imports this."""

from __future__ import annotations

import json
import os
import secrets
import time
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import structlog

from intertie.agent import ports
from intertie.agent.ports import Shared, Store
from intertie.drivers.cloud.linux import LinuxCloud
from intertie.drivers.linux import icmp
from intertie.drivers.linux.netns import Namespaces
from intertie.federation import invitation, keys
from intertie.federation.peer_transport import TlsTransport
from intertie.federation.transport import PeerAddress
from intertie.model.bodies import Address, IntroductionBody, TransportFacts
from intertie.model.codec import decode, encode
from intertie.model.errors import IntertieError, Refused
from intertie.model.records import Draft, Order, Record

log = structlog.get_logger()

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class SharedStore(Store, Shared, Protocol):
    """What several agents of a site share."""


def shared_store(url: str, site: str, marker: Path) -> SharedStore:
    """The PostgreSQL store. Refused if this installation lacks the driver."""
    try:
        from intertie.store.postgres import PostgresStore
    except ImportError as error:
        raise Refused(
            f"store = postgresql://… in site.toml needs a driver that is not installed: {error}",
            hint="pip install 'intertie[postgresql]'",
        ) from error
    return PostgresStore(url, site=site, decode=decode, marker=marker)


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class Ulids:
    """Universally unique, lexically sortable identifiers: 48 bits of milliseconds, 80 of chance."""

    def new(self) -> str:
        number = (int(time.time() * 1000) << 80) | secrets.randbits(80)
        return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


class SiteKeys:
    """`ports.Keys` over the root key."""

    def __init__(self, key: keys.RootKey) -> None:
        self._key = key

    @property
    def root(self) -> str:
        return b64encode(self._key.root.der).decode()

    @property
    def fingerprint(self) -> str:
        return self._key.root.fingerprint

    def seal(self, site: str, draft: Draft, order: Order) -> Record:
        header = draft.header(site, order)
        raw = encode(header, draft.body)
        return Record(header, draft.body, raw, self._key.sign(raw))

    def verify(self, root: str, record: Record) -> bool:
        try:
            return keys.verify(_der(root), record.raw, record.signature)
        except Refused:
            return False

    def fingerprint_of(self, root: str) -> str:
        """ "" for what is no root: a peer may introduce anything, and the list of peers is to show the others."""
        try:
            return keys.fingerprint(_der(root))
        except Refused:
            return ""

    def point_of(self, root: str) -> bytes:
        return keys.parse_root(_der(root)).point


class InvitationTokens:
    """`ports.Invitations`. When an invitation ends is the use case's to say."""

    def __init__(self, key: keys.RootKey) -> None:
        self._key = key

    def make(self, name: str, inviter: str, address: str) -> tuple[str, str]:
        token, kept = invitation.invite(self._key.root, name, address, datetime.now(UTC), timedelta(hours=24))
        return token.encode(), kept.secret_hash

    def parse(self, token: str) -> ports.Invitation:
        found = invitation.parse(token)
        return ports.Invitation(
            name=found.invited,
            inviter=found.inviter,
            address=found.address,
            key=found.public_key,
            secret=b64encode(found.secret).decode(),
        )

    def hash(self, secret: str, name: str) -> str:
        """ "" for what is no secret: a stranger sends what it likes."""
        try:
            return invitation.hash_of(name, b64decode(secret, validate=True))
        except ValueError:
            return ""


class PeerCalls:
    """`ports.PeerTransport` over mutual TLS. Keeps the pins in a file beside the keys as well: a site that lost its
    database still knows whom it trusts and where they are, and can take its records back from them at once."""

    def __init__(self, transport: TlsTransport, pins: Path) -> None:
        self._transport = transport
        self._pins = pins
        self._trusted = {body.site: body.root for body in self.kept()}
        self._addresses = {body.site: body.address for body in self.kept()}

    async def call(self, peer: ports.PeerAddress, body: bytes, timeout: float) -> bytes:
        root = _der(peer.root) if peer.root else b""
        address = PeerAddress(name=peer.name, address=peer.address, root=root, join_key=peer.key)
        answer = await self._transport.call(address, body, timeout)
        if self._addresses.get(peer.name) != peer.address:
            self._addresses[peer.name] = peer.address
            self._keep()
        return answer

    def trust(self, pins: Mapping[str, str]) -> None:
        usable: dict[str, bytes] = {}
        for name, root in pins.items():
            try:
                usable[name] = _der(root)
            except Refused as error:
                # One pin that is none must not keep the others from being trusted, nor from being forgotten.
                log.warning("pin not usable", site=name, why=error.detail)
        self._transport.trust(usable)
        self._trusted = dict(sorted(pins.items()))
        self._keep()

    def _keep(self) -> None:
        known = {n: {"root": root, "address": self._addresses.get(n, "")} for n, root in self._trusted.items()}
        text = json.dumps(known, indent=1)
        if not self._pins.exists() or self._pins.read_text() != text:
            draft = self._pins.with_suffix(f".{os.getpid()}")  # several agents may share the directory
            with draft.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self._pins)

    def kept(self) -> tuple[IntroductionBody, ...]:
        """Whom the file names: as last trusted, and as last called ("" if never). It is a help for a site that lost
        its database, so one that cannot be read is no reason not to start."""
        try:
            found = json.loads(self._pins.read_text())
            return tuple(
                IntroductionBody(site=str(name), root=str(each["root"]), address=str(each["address"]))
                for name, each in found.items()
            )
        except FileNotFoundError:
            return ()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("the file of pins cannot be read", file=str(self._pins), why=str(error))
            return ()


class Tried:
    """What transports can do here. Trying costs a namespace, so a good answer holds for a while."""

    GOOD_FOR = 300.0

    def __init__(self, probes: Mapping[str, Callable[[], Awaitable[TransportFacts]]]) -> None:
        self._probes = probes
        self._found: dict[str, tuple[TransportFacts, float]] = {}

    async def facts(self) -> tuple[TransportFacts, ...]:
        """In the order of the probes."""
        return tuple([await self._facts(name) for name in self._probes])

    async def _facts(self, name: str) -> TransportFacts:
        found, until = self._found.get(name, (None, 0.0))
        if found is None or not found.ok or time.monotonic() > until:
            found = await self._try(name)
            self._found[name] = (found, time.monotonic() + self.GOOD_FOR)
        return found

    async def _try(self, name: str) -> TransportFacts:
        try:
            return await self._probes[name]()
        except (IntertieError, OSError) as error:  # what one cannot tell keeps nobody from hearing of the others
            return TransportFacts(name=name, ok=False, reason=str(error))


class HostPings:
    """`ports.HostPing` from inside the hosts of a `linux` cloud."""

    def __init__(self, cloud: LinuxCloud, namespaces: Namespaces) -> None:
        self._cloud = cloud
        self._namespaces = namespaces

    async def ping(self, host: str, target: Address, size: int, timeout: float) -> ports.Echo:
        ns = await self._cloud.namespace(host)
        if ns is None:
            return ports.Echo(problem="the host is not there")
        try:
            echo = await icmp.ping(self._namespaces, ns, target, size=size, timeout=timeout)
        except OSError as error:
            return ports.Echo(problem=str(error))
        if echo.outcome is icmp.Outcome.REPLY and echo.rtt is not None:
            return ports.Echo(rtt_ms=echo.rtt * 1000)
        return ports.Echo(problem=echo.outcome.value, mtu=echo.mtu or 0)


def _der(root: str) -> bytes:
    try:
        return b64decode(root, validate=True)
    except ValueError as error:
        raise Refused(f"not a root certificate: {error}") from error
