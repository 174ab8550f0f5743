"""Lies that a peer with real keys can tell. What it says is well-formed as far as the lie allows.

A liar's own records may be spoiled by this, as they would be: whoever takes its word does so at the liar's risk. What
belongs to others must not change (invariant I16).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from intertie.agent.ports import PeerAddress
from intertie.model import wire
from intertie.model.bodies import AnswerBody, Attachment, VpnBody, VpnKind
from intertie.model.codec import encode
from intertie.model.errors import IntertieError
from intertie.model.records import Cursor, Header, Kind, Record, State
from intertie.model.wire import Message, ToldSight, Volatile
from intertie.testing.fake_ports import FakeKeys
from intertie.testing.federation import World

FAR = 1 << 40
TIMEOUT = 15.0


def lie(world: World, liar: str, other: str, sort: str) -> bool:
    """`liar` tells `other` a lie of this sort; False if it knows nothing that it could twist."""
    chance = random.Random(f"{world.seed}/lie/{liar}/{other}/{world.network.calls}")
    said = LIES[sort](_Liar(world, liar, other, chance))
    if said is None:
        return False
    asyncio.get_running_loop().create_task(_tell(world, liar, other, said))
    return True


async def _tell(world: World, liar: str, other: str, body: bytes) -> None:
    with suppress(IntertieError):
        await world.network.call(liar, PeerAddress(name=other, address="", root="known"), body, TIMEOUT)


class _Liar:
    """What a liar has to work with: all that its site knows, and its keys."""

    def __init__(self, world: World, site: str, other: str, chance: random.Random) -> None:
        self.world = world
        self.agent = world.running[site].agent
        self.keys = FakeKeys(site, world.secrets)
        self.site = site
        self.other = other
        self.chance = chance

    def records(self, kind: Kind, own: bool) -> list[Record]:
        """Records that the victim should have, of the liar's own or of others; by id."""
        found = [r for r in self.agent.table.all_of(kind) if (r.home == self.site) is own and r.concerns(self.other)]
        return sorted(found, key=lambda r: r.id)

    def pick(self, records: list[Record]) -> Record | None:
        return self.chance.choice(records) if records else None

    def twisted(self, header: Header, body: Any) -> Record:
        """A record that nobody but the liar would have written, signed with the liar's key."""
        raw = encode(header, body)
        return Record(header, body, raw, self.keys.sign(raw))

    def message(self, *records: Record, upto: Cursor | None = None, volatile: Volatile = wire.NOTHING) -> bytes:
        agent = self.agent
        return wire.encode(
            Message(
                sender=self.site,
                incarnation=agent.incarnation,
                boot=agent.boot,
                held=agent.cursors.get(self.other, Cursor()),
                since=Cursor(),
                upto=upto or agent.acked.get(self.other, Cursor()),
                records=records,
                volatile=volatile,
            )
        )

    def later(self, record: Record) -> Header:
        order = replace(record.order, seq=record.order.seq + 1000)
        return replace(record.header, order=order)


def _foreign_record(liar: _Liar) -> bytes | None:
    record = liar.pick([r for r in liar.records(Kind.VPN, own=False) if isinstance(r.body, VpnBody)])
    if record is None:
        return None
    body = replace(record.body, attachments=tuple(replace(a, leaving=True) for a in record.body.attachments))
    return liar.message(liar.twisted(liar.later(record), body))


def _forged(liar: _Liar) -> bytes | None:
    record = liar.pick(liar.records(Kind.VPN, own=False) + liar.records(Kind.ANSWER, own=False))
    if record is None:
        return None
    raw = encode(liar.later(record), record.body)
    return liar.message(replace(record, header=liar.later(record), raw=raw, signature=bytes(32)))


def _equivocate(liar: _Liar) -> bytes | None:
    record = liar.pick([r for r in liar.records(Kind.VPN, own=True) if r.live])
    if record is None:
        return None
    return liar.message(liar.twisted(record.header, replace(record.body, name=f"{record.body.name}-x")))


def _foreign_prefix(liar: _Liar) -> bytes | None:
    """It answers with a prefix of another member, as if that were attached to it."""
    own = [r for r in liar.records(Kind.ANSWER, own=True) if isinstance(r.body, AnswerBody)]
    record = liar.pick(own)
    others = [r for r in liar.records(Kind.ANSWER, own=False) if r.body.prefixes]
    taken = liar.pick(others)
    if record is None or taken is None:
        return None
    return liar.message(liar.twisted(liar.later(record), replace(record.body, prefixes=taken.body.prefixes)))


def _replay(liar: _Liar) -> bytes | None:
    kept = list(liar.world.network.link(liar.site, liar.other).requests)
    return liar.chance.choice(kept) if kept else None


def _rollback(liar: _Liar) -> bytes | None:
    """An own record as it never was: an order from its past, another body."""
    record = liar.pick([r for r in liar.records(Kind.VPN, own=True) if r.order.seq > 1])
    if record is None:
        return None
    header = replace(record.header, order=replace(record.order, seq=record.order.seq - 1))
    return liar.message(liar.twisted(header, replace(record.body, name=f"{record.body.name}-old")))


def _huge_cursor(liar: _Liar) -> bytes | None:
    return liar.message(upto=Cursor(FAR, FAR))


def _sights(liar: _Liar) -> bytes | None:
    """Everything is ready, also between others."""
    told = []
    for vpn in liar.records(Kind.VPN, own=True) + liar.records(Kind.VPN, own=False):
        told += [ToldSight(vpn=vpn.id, to=site, health="ready") for site in vpn.header.names]
    return liar.message(volatile=Volatile(sights=tuple(told))) if told else None


def _nonsense(liar: _Liar) -> bytes | None:
    honest = bytearray(liar.message())
    for _ in range(liar.chance.randint(1, 20)):
        honest[liar.chance.randrange(len(honest))] = liar.chance.randrange(256)
    return bytes(honest)


def _impersonate_home(liar: _Liar) -> bytes | None:
    """An Answer in the name of another site."""
    record = liar.pick(liar.records(Kind.ANSWER, own=False))
    if record is None:
        return None
    return liar.message(liar.twisted(liar.later(record), replace(record.body, prefixes=(), endpoints=())))


def _stolen_certificate(liar: _Liar) -> bytes | None:
    """Not the site: a thief of its certificate, who may call in its name but has not the key that signs records."""
    found = liar.records(Kind.VPN, own=True) + liar.records(Kind.ANSWER, own=True) + liar.records(Kind.SITE, own=True)
    record = liar.pick([r for r in found if r.live])
    if record is None:
        return None
    header = liar.later(record)
    return liar.message(Record(header, record.body, encode(header, record.body), bytes(32)))


def _grab_prefix(liar: _Liar) -> bytes | None:
    """A home says of another member that a prefix lies there which that member has not."""
    own = [r for r in liar.records(Kind.VPN, own=True) if r.live and r.body.kind is VpnKind.L3]
    record = liar.pick([r for r in own if any(_loose(liar, a) for a in r.body.attachments)])
    if record is None:
        return None
    more = ip_network("10.254.0.0/16")
    given = tuple(replace(a, prefixes=(*a.prefixes, more)) if _loose(liar, a) else a for a in record.body.attachments)
    return liar.message(liar.twisted(liar.later(record), replace(record.body, attachments=given)))


def _loose(liar: _Liar, a: Attachment) -> bool:
    return a.site not in (liar.site, liar.other) and not a.agreed


def _resurrect(liar: _Liar) -> bytes | None:
    """A Vpn that has ended lives again (I6)."""
    record = liar.pick([r for r in liar.records(Kind.VPN, own=True) if not r.live])
    if record is None:
        return None
    return liar.message(liar.twisted(replace(liar.later(record), state=State.LIVE), record.body))


def _other_nature(liar: _Liar) -> bytes | None:
    """What never changes in a Vpn changes: its number, MTU or project, or the prefixes on which all agreed."""
    record = liar.pick([r for r in liar.records(Kind.VPN, own=True) if r.live])
    if record is None:
        return None
    body = record.body
    agreed = [a for a in body.attachments if a.agreed and a.prefixes]
    twists = [replace(body, vni=body.vni + 1), replace(body, mtu=1280), replace(body, project="other")]
    if agreed:
        moved = replace(agreed[0], prefixes=(ip_network("10.255.0.0/24"),))
        twists.append(replace(body, attachments=tuple(moved if a is agreed[0] else a for a in body.attachments)))
    return liar.message(liar.twisted(liar.later(record), liar.chance.choice(twists)))


def _odd_words(liar: _Liar) -> bytes | None:
    """A new Vpn, well-formed, that nobody honest would write."""
    record = liar.pick([r for r in liar.records(Kind.VPN, own=True) if r.live])
    if record is None:
        return None
    body: VpnBody = record.body
    default = (ip_network("0.0.0.0/0"),)
    twists = [
        replace(body, vni=0),
        replace(body, mtu=60000),
        replace(body, name="../../etc"),
        replace(body, route_target="x"),
        replace(body, attachments=(*body.attachments, body.attachments[0])),
        replace(body, attachments=body.attachments[:1]),
        replace(body, prefixes=default),
        replace(body, prefixes=(*body.prefixes, *body.prefixes, ip_network("10.7.0.0/24"))),
        replace(body, shares=body.shares[:1]),
        replace(body, shares=tuple(replace(s, ranges=body.shares[0].ranges) for s in body.shares)),
        replace(body, attachments=tuple(replace(a, prefixes=default) for a in body.attachments)),
        replace(body, attachments=tuple(replace(a, agreed=True, prefixes=()) for a in body.attachments)),
    ]
    header = replace(liar.later(record), id=f"{liar.site}.{liar.chance.getrandbits(128):032x}")
    return liar.message(liar.twisted(header, liar.chance.choice(twists)))


def _wrong_id(liar: _Liar) -> bytes | None:
    """A record under an id that is derived from something else."""
    kinds = (Kind.SITE, Kind.INTRODUCTION, Kind.GRANT, Kind.ANSWER, Kind.PROPOSAL, Kind.FORGOTTEN)
    found = [r for kind in kinds for r in liar.records(kind, own=True)]
    record = liar.pick(found)
    if record is None:
        return None
    others = [r.id for r in found if r.header.kind is not record.header.kind]
    wrong = replace(liar.later(record), id=liar.chance.choice([f"{liar.site}.zzz", *others]))
    return liar.message(liar.twisted(wrong, record.body))


def _inner_kind(liar: _Liar) -> bytes | None:
    """A record of a kind that is a site's own business; or one of a kind that has no epochs, as if adopted."""
    inner = [r for kind in (Kind.NETWORK, Kind.HOST, Kind.MAPPING) for r in liar.agent.table.of(kind)]
    answers = liar.records(Kind.ANSWER, own=True)
    record = liar.pick(sorted(inner, key=lambda r: r.id) if liar.chance.random() < 0.5 or not answers else answers)
    if record is None:
        return None
    header = replace(liar.later(record), names=(liar.other,))
    if record in answers:
        header = replace(header, order=replace(header.order, epoch=1, adopter=liar.site))
    return liar.message(liar.twisted(header, record.body))


LIES: dict[str, Callable[[_Liar], bytes | None]] = {
    "foreign-record": _foreign_record,
    "forged": _forged,
    "equivocate": _equivocate,
    "foreign-prefix": _foreign_prefix,
    "replay": _replay,
    "rollback": _rollback,
    "huge-cursor": _huge_cursor,
    "sights": _sights,
    "nonsense": _nonsense,
    "impersonate-home": _impersonate_home,
    "stolen-certificate": _stolen_certificate,
    "grab-prefix": _grab_prefix,
    "resurrect": _resurrect,
    "other-nature": _other_nature,
    "odd-words": _odd_words,
    "wrong-id": _wrong_id,
    "inner-kind": _inner_kind,
}
