"""The one peer call's message, and its bytes (federation rule 7). The request and the reply have the same shape.

JSON: {"from","incarnation","boot","acks":[{"incarnation","seq"}],"upto":{…},"records":[{"record","signature"}],
"returned":[…],"volatile":{…},"wait":s,"verify":[vpn],"join":{…},"request":id,"trace":traceparent,
"causes":[{"record","request","trace"}],"at":s}. A record travels as the very text that its
home signed, so its bytes survive.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from intertie.model.bodies import Address
from intertie.model.codec import check_name, dumps, read
from intertie.model.json_text import Malformed, loads
from intertie.model.records import Cursor, Record

START = Cursor()
MAX_MESSAGE = 4 * 1024 * 1024
MAX_PAGE = MAX_MESSAGE // 4
"""Octets of records in one message: JSON in JSON grows, and a message carries records in two places."""
MAX_BATCH = 256
"""Records in one message: a long absence is caught up in several calls, none of which is large."""
MAX_VERIFY = 64
"""Vpns of which one message may ask to run the pairs: each costs packets."""
MAX_MARK = 128
LONGEST_AGE = 10.0 * 366 * 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldSight:
    """A pair's health as the site that measured it tells it; age in seconds when the message was written."""

    vpn: str
    to: str
    health: str
    rtt_ms: float | None = None
    loss: float | None = None
    age: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldHost:
    """A host on a network of a Vpn, so that any member can verify that packets reach it."""

    vpn: str
    name: str
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldPair:
    """The outcome of one pair of a `verify`, measured by the sender from its own host."""

    vpn: str
    from_host: str = ""
    from_address: str = ""
    to_site: str = ""
    to_host: str = ""
    to_address: str = ""
    rtt_ms: float | None = None
    mtu: int = 0
    ok: bool = False
    broken_at: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volatile:
    """Status that is measured, not promised: never a record."""

    sights: tuple[ToldSight, ...] = ()
    hosts: tuple[ToldHost, ...] = ()
    verified: tuple[ToldPair, ...] = ()


NOTHING = Volatile()


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """First contact: the secret of an invitation, and who uses it. Only in a call without a client certificate."""

    name: str
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldCause:
    """Why the sender wrote a record of this message: a user's request, and its span (W3C traceparent). For logs."""

    record: str
    request: str = ""
    trace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    sender: str
    incarnation: int
    boot: str
    """The lineage of the sender's store (`Snapshot.lineage`): the same for all agents that share it; another one each
    time that a store for one agent is opened. Two that live at once are clones (rule 18)."""
    opened: Cursor = START
    """The last place that the sender had given when that lineage began; START: it does not say."""
    mark: str = ""
    """Any text, made anew with what the sender hears. Who echoes it wrote after it was made."""
    echo: str = ""
    """The last `mark` that the sender had from the receiver."""
    cloned: bool = False
    """The receiver is quarantined at the sender: two agents write as it."""
    held: Cursor = START
    """How far the sender has read the receiver's records,"""
    held_of: str = ""
    """of which lineage of it."""
    since: Cursor = START
    upto: Cursor = START
    """`records` are all of the sender's that concern the receiver in (since, upto]."""
    records: tuple[Record, ...] = ()
    returned: tuple[Record, ...] = ()
    """The receiver's own records, for one that is behind its own past (rule 18)."""
    volatile: Volatile = NOTHING
    wait: float = 0.0
    """Seconds for which the receiver may hold the reply when it has no news: a site that cannot be called asks so."""
    verify: tuple[str, ...] = ()
    """Vpns whose pairs the receiver is asked to probe now."""
    join: Join | None = None
    more: bool = False
    """There are more records than fit: call again at once."""
    recover: bool = False
    """The sender lost its store: it asks for its own records back."""
    recover_after: Cursor = START
    """How far it has them back."""
    returns: bool = False
    """With `returned`, this is all that the sender holds of the receiver's."""
    request: str = ""
    """The user's request that waits for the reply, and its span; nothing is decided by them, nor by `causes`."""
    trace: str = ""
    causes: tuple[ToldCause, ...] = ()
    at: float = 0.0
    """Seconds since 1970 by the sender's clock; 0 if it does not say."""


@dataclass(frozen=True, slots=True)
class _Envelope:
    """The message without its records, as the codec reads it."""

    boot: str = ""
    opened: _Place = field(default_factory=lambda: _Place())
    mark: str = ""
    echo: str = ""
    cloned: bool = False
    held: _Place = field(default_factory=lambda: _Place())
    held_of: str = ""
    since: _Place = field(default_factory=lambda: _Place())
    upto: _Place = field(default_factory=lambda: _Place())
    volatile: Volatile = NOTHING
    wait: float = 0.0
    verify: tuple[str, ...] = ()
    join: Join | None = None
    more: bool = False
    recover: bool = False
    recover_after: _Place = field(default_factory=lambda: _Place())
    returns: bool = False
    request: str = ""
    trace: str = ""
    causes: tuple[ToldCause, ...] = ()
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class _Place:
    incarnation: int = 0
    seq: int = 0

    def cursor(self) -> Cursor:
        return Cursor(self.incarnation, self.seq)


def encode(message: Message) -> bytes:
    """The message's bytes."""
    held = message.held
    return dumps(
        {
            "from": message.sender,
            "incarnation": message.incarnation,
            "boot": message.boot,
            "opened": message.opened,
            "mark": message.mark,
            "echo": message.echo,
            "cloned": message.cloned,
            "acks": [{"incarnation": held.incarnation, "seq": held.seq}],
            "held": held,
            "held_of": message.held_of,
            "since": message.since,
            "upto": message.upto,
            "records": [_sealed(r) for r in message.records],
            "returned": [_sealed(r) for r in message.returned],
            "volatile": message.volatile,
            "wait": message.wait,
            "verify": message.verify,
            "join": message.join,
            "more": message.more,
            "recover": message.recover,
            "recover_after": message.recover_after,
            "returns": message.returns,
            "request": message.request,
            "trace": message.trace,
            "causes": message.causes,
            "at": message.at,
        }
    )


def _sealed(record: Record) -> dict[str, str]:
    return {"record": record.raw.decode(), "signature": b64encode(record.signature).decode()}


def decode(raw: bytes, record: Callable[[bytes, bytes], Record]) -> tuple[Message, tuple[str, ...]]:
    """The message, and a line for each record in it that could not be read (left out; the others stand).

    Malformed if the envelope itself is wrong.
    """
    found = loads(raw, MAX_MESSAGE)
    if not isinstance(found, dict):
        raise Malformed("not a message")
    envelope = read(_Envelope, {k: v for k, v in found.items() if k in _Envelope.__slots__})
    _sane(envelope)
    sender = check_name(found["from"], "from") if isinstance(found.get("from"), str) else ""
    incarnation = found.get("incarnation", 0)
    if not sender or isinstance(incarnation, bool) or not isinstance(incarnation, int) or incarnation < 0:
        raise Malformed("from and incarnation are missing")
    faults: list[str] = []
    message = Message(
        sender=sender,
        incarnation=incarnation,
        boot=envelope.boot,
        opened=envelope.opened.cursor(),
        mark=envelope.mark,
        echo=envelope.echo,
        cloned=envelope.cloned,
        held=envelope.held.cursor(),
        held_of=envelope.held_of,
        since=envelope.since.cursor(),
        upto=envelope.upto.cursor(),
        records=_records(found.get("records", []), record, faults),
        returned=_records(found.get("returned", []), record, faults),
        volatile=envelope.volatile,
        wait=envelope.wait,
        verify=envelope.verify,
        join=envelope.join,
        more=envelope.more,
        recover=envelope.recover,
        recover_after=envelope.recover_after.cursor(),
        returns=envelope.returns,
        request=envelope.request,
        trace=envelope.trace,
        causes=envelope.causes,
        at=envelope.at,
    )
    return message, tuple(faults)


def _sane(envelope: _Envelope) -> None:
    """Malformed if a number is one that nobody could have measured: receivers reckon with them."""
    if len(envelope.verify) > MAX_VERIFY or envelope.wait < 0:
        raise Malformed(f"a wait from 0 up, and at most {MAX_VERIFY} Vpns to verify, are expected")
    if max(map(len, (envelope.boot, envelope.mark, envelope.echo, envelope.held_of))) > MAX_MARK:
        raise Malformed(f"boot, mark, echo and held_of of at most {MAX_MARK} characters are expected")
    for place in (envelope.opened, envelope.held, envelope.since, envelope.upto):
        if place.incarnation < 0 or place.seq < 0:
            raise Malformed("a place from 0 up is expected")
    for sight in envelope.volatile.sights:
        if not (0 <= sight.age <= LONGEST_AGE and (sight.rtt_ms or 0) >= 0 and 0 <= (sight.loss or 0) <= 1):
            raise Malformed("a sight with an age or loss that cannot be")


def _records(value: Any, record: Callable[[bytes, bytes], Record], faults: list[str]) -> tuple[Record, ...]:
    if not isinstance(value, list) or len(value) > MAX_BATCH:
        raise Malformed(f"a list of at most {MAX_BATCH} records is expected")
    found: list[Record] = []
    for item in value:
        try:
            found.append(_opened(item, record))
        except Malformed as error:
            faults.append(error.detail)
    return tuple(found)


def _opened(item: Any, record: Callable[[bytes, bytes], Record]) -> Record:
    if (
        not isinstance(item, dict)
        or not isinstance(item.get("record"), str)
        or not isinstance(item.get("signature"), str)
    ):
        raise Malformed("a record and its signature are expected")
    try:
        return record(item["record"].encode(), b64decode(item["signature"], validate=True))
    except (Base64Error, UnicodeEncodeError):
        raise Malformed("the signature is not base64") from None
