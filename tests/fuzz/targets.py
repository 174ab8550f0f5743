"""What is fuzzed: everything that reads octets which somebody else wrote, and the law that each keeps.

A target takes octets. It returns what it read, or None if it refused them in the words that it declares; any other
exception is a bug, and so is a law that does not hold. Nothing here knows who makes the octets: a guided fuzzer
(`harness`), the kept corpus, or a bug of the past.
"""

from __future__ import annotations

import asyncio
import json
import struct
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from intertie.api.conditions import tags_of, wait_of
from intertie.api.paging import key_of
from intertie.client import attaching
from intertie.drivers.linux import frame_format, icmp, marks, nft_codec, rtnl
from intertie.drivers.linux import nfnetlink as nl
from intertie.drivers.linux.link_probe import LinkProbes
from intertie.drivers.transport import vxlan_names
from intertie.federation import certificates, invitation, keys
from intertie.federation.transport import parse_address
from intertie.model import codec, json_text, wire
from intertie.model.errors import Forbidden, IntertieError, Refused
from intertie.model.json_text import Malformed
from intertie.model.records import Cursor
from intertie.model.storage import Batch, Damaged, LocalEntry
from intertie.planning.plausible import flaw
from intertie.site_file import read_site
from intertie.store import rows, schema
from intertie.store.rules import settle
from intertie.testing import store_samples as samples

Target = Callable[[bytes], object]


def text_of(raw: bytes) -> str:
    return raw.decode("utf-8", errors="surrogateescape")


# ── From peers ─────────────────────────────────────────────────────────────────────────────────────────────


def record(raw: bytes) -> object:
    """A record that can be read can be written, and means the same then; and the rules can look at it."""
    try:
        found = codec.decode(raw, b"s")
    except Malformed:
        return None
    flaw(found.header, found.body)
    again = codec.decode(codec.encode(found.header, found.body), b"s")
    assert (again.header, again.body) == (found.header, found.body)
    return found


def message(raw: bytes) -> object:
    """A message that can be read can be written, and says the same then."""
    try:
        found, _ = wire.decode(raw, codec.decode)
    except Malformed:
        return None
    again, faults = wire.decode(wire.encode(found), codec.decode)
    assert (again, faults) == (found, ())
    return found


def token(raw: bytes) -> object:
    """One invitation is one text."""
    try:
        found = invitation.parse(text_of(raw))
    except Refused:
        return None
    assert found.encode() == "".join(text_of(raw).split())
    return found


def address(raw: bytes) -> object:
    try:
        host, port = parse_address(text_of(raw))
    except Refused:
        return None
    assert 0 < port < 65536
    assert not any(c.isspace() or c in "/@%" for c in host)
    return host


def root(raw: bytes) -> object:
    """A root certificate; and whether it signed something, which is never an error."""
    assert not keys.verify(raw, b"record", raw[:80])
    try:
        found = keys.parse_root(raw)
    except Refused:
        return None
    assert codec.NAME.fullmatch(found.name)
    return found


def leaf(raw: bytes) -> object:
    """A certificate as a connection shows it, held against a pin."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    try:
        shown = certificates.read(raw)
        certificates.check(shown, shown.name, keys.parse_root(pinned()).public_key, now)
    except Forbidden:
        return None
    return shown


def point(raw: bytes) -> object:
    try:
        return keys.key_from_point(raw)
    except Refused:
        return None


def signature(raw: bytes) -> object:
    return keys.verify(pinned(), b"record", raw) or None


@cache
def pinned() -> bytes:
    """A root that stands for one that was pinned: the kept one, which issued the kept leaf."""
    return b64decode((Path(__file__).parent / "corpus" / "root.txt").read_text().split()[0])


# ── From the network ───────────────────────────────────────────────────────────────────────────────────────


def frame(raw: bytes) -> object:
    """A segment probe, from whoever is on the segment."""
    found = frame_format.decode(raw)
    if found is not None:
        assert frame_format.decode(frame_format.encode(found)) == found
    return found


def icmp4(raw: bytes) -> object:
    return icmp.parse(4, raw, IPv4Address("192.0.2.1"), 0xBEEF)


def icmp6(raw: bytes) -> object:
    return icmp.parse(6, raw, IPv6Address("2001:db8::1"), 0xBEEF)


class Sent:
    """A transport that notes what it is given."""

    def __init__(self) -> None:
        self.data: list[bytes] = []

    def sendto(self, data: bytes, address: object) -> None:
        self.data.append(data)


def link(raw: bytes) -> object:
    """A datagram on the probe port is answered with no more than it brought."""
    probes, sent = LinkProbes(), Sent()
    probes.connection_made(cast(asyncio.BaseTransport, sent))
    probes.datagram_received(raw, ("192.0.2.1", 9))
    assert sum(map(len, sent.data)) <= len(raw)
    return sent.data or None


# ── From the kernel ────────────────────────────────────────────────────────────────────────────────────────

CUT = (ValueError, KeyError, struct.error)
"""What the kernel never sends: cut short, or without what is always there."""


def netlink(raw: bytes) -> object:
    found: list[object] = []
    for parse in (rtnl.parse_link, rtnl.parse_address, rtnl.parse_default_route, rtnl.parse_neighbour):
        for _, _, body in rtnl.messages(raw):
            try:
                found.append(parse(body))
            except CUT:
                continue
    return found or None


def nftables(raw: bytes) -> object:
    found: list[object] = []
    parsers: tuple[Callable[[bytes], object], ...] = (
        nft_codec.parse_chain,
        nft_codec.parse_rule,
        nft_codec.parse_set,
        nft_codec.decode,
        lambda body: list(nft_codec.parse_elements(body)),
        lambda body: list(nl.attributes(body)),
    )
    for parse in parsers:
        try:
            found.append(parse(raw))
        except CUT:
            continue
    return found or None


def mark(raw: bytes) -> object:
    """What is written on a device: by us, or by whoever may."""
    alias, *names = raw.decode(errors="replace").split("\n")
    words = marks.read(alias, names)
    if words is not None and names:
        marks.write("it0", words)
    return words or vxlan_names.parse_alias(alias)


# ── From users and operators ───────────────────────────────────────────────────────────────────────────────


def attachment(raw: bytes) -> object:
    try:
        found = attaching.attachment(text_of(raw))
    except Refused:
        return None
    assert found.site
    return found


def site_toml(raw: bytes) -> object:
    folder = Path(scratch().name)
    (folder / "site.toml").write_bytes(raw)
    try:
        return read_site(folder)
    except IntertieError:
        return None


@cache
def scratch() -> TemporaryDirectory[str]:
    return TemporaryDirectory()


def body(raw: bytes) -> object:
    """A request's body: what our reader takes, Python's takes too, and sees the same in it."""
    try:
        found = json_text.loads(raw, 1 << 20)
    except Malformed:
        return None
    assert json.loads(raw) == found
    return found if found is not None else raw


def headers(raw: bytes) -> object:
    """Headers with which a change says when and how, and the marker of a page."""
    text = raw.decode("latin-1")
    seconds, tags = wait_of([text]), tags_of(text)
    assert seconds is None or 0 <= seconds <= 3600
    try:
        key = key_of(text)
    except Refused:
        key = ""
    return seconds or tags or key or None


# ── From the disk ──────────────────────────────────────────────────────────────────────────────────────────


@cache
def database() -> Connection:
    """A store's tables with a row in each."""
    connection = create_engine("sqlite://", poolclass=StaticPool).connect()
    schema.bring_up(connection)
    rows.make_head(connection, samples.SITE)
    batch = Batch(
        drafts=(samples.draft("a", "text"),),
        cursors={"lyon": Cursor(1, 2)},
        acked={"lyon": Cursor(1, 1)},
        local=(LocalEntry("token", "a", "{}"),),
    )
    before = rows.head(connection)
    settled = settle(batch, {}, before.last, samples.SITE, samples.seal)
    rows.write(connection, batch, settled, before)
    connection.commit()
    return connection


def store_row(raw: bytes) -> object:
    """Any value in any cell, its checksum right or wrong: the store says that it is damaged, or reads it whole.

    Octets: which cell; whether the checksums are made right; then the value, of the type that its fourth octet says.
    """
    if len(raw) < 3:
        return None
    connection = database()
    cells = [(t, c) for t in schema.metadata.sorted_tables for c in t.columns]
    table, column = cells[raw[0] % len(cells)]
    value: Any = raw[3:]
    if raw[2] % 4 == 1:
        value = text_of(value)
    elif raw[2] % 4 == 2:
        value = int.from_bytes(value[:8], "big", signed=True)
    elif raw[2] % 4 == 3:
        value = None
    try:
        return _with_cell(connection, str(table.name), str(column.name), value, mend=raw[1] % 2 == 1)
    finally:
        connection.rollback()


def _with_cell(connection: Connection, table: str, column: str, value: Any, mend: bool) -> object:
    try:
        # Around the types that the schema declares: a damaged file keeps to none.
        connection.execute(text(f'UPDATE "{table}" SET "{column}" = :value'), {"value": value})
        if mend and table != "schema_version" and column != "checksum":
            schema.sum_again(connection, table)
            schema._sum_total(connection)
    except (DBAPIError, UnicodeError, ValueError, TypeError, OverflowError):
        return None
    try:
        schema.bring_up(connection)
        return rows.load(connection, "nantes", codec.decode)
    except (Damaged, IntertieError, DBAPIError, UnicodeError):
        # As `SqliteStore` declares: the last two become a StorageError there.
        return None


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (
        *(record, message, token, address, root, leaf, point, signature),
        *(frame, icmp4, icmp6, link, netlink, nftables, mark),
        *(attachment, site_toml, body, headers, store_row),
    )
}
