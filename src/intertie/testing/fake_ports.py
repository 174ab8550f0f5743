"""The small ports of a simulated agent: keys, invitations, probes, ids, and a log that stays silent.

They evaluate: a signature that its maker did not make is not verified, and a probe comes back only if the data plane
would carry it and somebody there lives to answer.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import random
import traceback
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection
from hashlib import sha256
from typing import Protocol

from intertie.agent.ports import Echo, Invitation
from intertie.model.bodies import Address
from intertie.model.codec import dumps, encode
from intertie.model.errors import Refused
from intertie.model.items import Segment
from intertie.model.records import Draft, Order, Record
from intertie.testing.fake_cloud import FakeSystem
from intertie.testing.fake_transport import FakeUnderlay


class FakeKeys:
    """Signatures that only their maker can make, without arithmetic: the world keeps the secrets."""

    def __init__(self, site: str, secrets: dict[str, bytes], later: bool = False) -> None:
        """`later`: the site runs a later version, whose records have a field that this one does not know."""
        self.site = site
        self._later = later
        self._secrets = secrets
        secrets.setdefault(site, sha256(f"secret of {site}".encode()).digest())

    @property
    def root(self) -> str:
        return b64encode(self.site.encode()).decode()

    @property
    def fingerprint(self) -> str:
        return self.fingerprint_of(self.root)

    def seal(self, site: str, draft: Draft, order: Order) -> Record:
        header = draft.header(site, order)
        raw = _with_a_field_more(encode(header, draft.body)) if self._later else encode(header, draft.body)
        return Record(header, draft.body, raw, self.sign(raw))

    def sign(self, raw: bytes) -> bytes:
        return hmac.digest(self._secrets[self.site], raw, "sha256")

    def verify_own(self, record: Record) -> bool:
        """Whether this site signed it."""
        return self.verify(self.root, record)

    def verify(self, root: str, record: Record) -> bool:
        owner = b64decode(root).decode()
        return owner in self._secrets and hmac.compare_digest(
            hmac.digest(self._secrets[owner], record.raw, "sha256"), record.signature
        )

    def fingerprint_of(self, root: str) -> str:
        return sha256(root.encode()).hexdigest()

    def point_of(self, root: str) -> bytes:
        return b64decode(root)


def _with_a_field_more(raw: bytes) -> bytes:
    found = json.loads(raw)
    return dumps({**found, "body": {**found["body"], "later": "said by a later version"}})


class FakeInvitations:
    """Tokens that say the same as real ones, in clear."""

    def __init__(self, ids: Callable[[], str]) -> None:
        self._ids = ids

    def make(self, name: str, inviter: str, address: str) -> tuple[str, str]:
        secret = self._ids()
        return f"{name} {inviter} {address} {secret}", self.hash(secret, name)

    def parse(self, token: str) -> Invitation:
        parts = token.split()
        if len(parts) != 4:
            raise Refused("the token is cut off")
        name, inviter, address, secret = parts
        return Invitation(name=name, inviter=inviter, address=address, key=inviter.encode(), secret=secret)

    def hash(self, secret: str, name: str) -> str:
        return sha256(f"{name} {secret}".encode()).hexdigest()


class Sights(Protocol):
    """What probes and pings ask the world."""

    underlay: FakeUnderlay
    systems: dict[str, FakeSystem]
    addresses: dict[str, Address]

    @property
    def round_trip(self) -> float:
        """Seconds."""
        ...

    def answers(self, site: str) -> bool:
        """Whether the agent of a site runs, and not merely lies there."""
        ...

    def reaches(self, a: str, b: str) -> bool:
        """Whether packets of the underlay cross."""
        ...


class FakePing:
    """Echoes over the evaluated data plane: a host is reached if its site's segment is."""

    def __init__(self, world: Sights, site: str) -> None:
        self._world = world
        self._site = site

    async def ping(self, host: str, target: Address, size: int, timeout: float) -> Echo:
        for name, system in self._world.systems.items():
            for there in system.hosts.values():
                if any(i.ip == target for i in there.interfaces) and self._world.reaches(self._site, name):
                    return Echo(rtt_ms=1.0)
        return Echo(problem="timeout")


class FakeProbes:
    """Segment probes over the evaluated data plane; agents answer them."""

    def __init__(self, world: Sights, site: str) -> None:
        self._world = world
        self._site = site
        self.segments: tuple[Segment, ...] = ()

    async def set_segments(self, segments: Collection[Segment]) -> None:
        self.segments = tuple(segments)

    async def probe(self, vpn: str, site: str, size: int | None, timeout: float) -> float | None:
        await asyncio.sleep(self._world.round_trip)
        crosses = self._world.underlay.crosses
        there_and_back = crosses(vpn, self._site, site) and crosses(vpn, site, self._site)
        return self._world.round_trip * 1000 if there_and_back and self._world.answers(site) else None

    async def check_loops(self, vpn: str | None = None) -> None:
        """Tenants have not joined networks a second time: there is no loop to be found."""


class FakeLinks:
    """Link probes between agents over the underlay."""

    def __init__(self, world: Sights, site: str) -> None:
        self._world = world
        self._site = site

    async def probe(self, address: Address, timeout: float) -> float | None:
        for name, there in self._world.addresses.items():
            if there == address and self._world.answers(name) and self._world.reaches(self._site, name):
                return self._world.round_trip * 1000
        return None


class SeededIds:
    """Unique ids, the same in every run of a seed."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def new(self) -> str:
        return f"{self._chance.getrandbits(128):032x}"


class QuietLog:
    """Keeps what went wrong inside an agent beyond its own errors: (event, traceback)."""

    def __init__(self) -> None:
        self.exceptions: list[tuple[str, str]] = []

    def info(self, event: str, **facts: object) -> None:
        """Traces tell more."""

    def warning(self, event: str, **facts: object) -> None:
        """Traces tell more."""

    def exception(self, event: str, **facts: object) -> None:
        self.exceptions.append((event, traceback.format_exc()))
