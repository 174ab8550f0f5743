"""Laws of the codec: what is written is read again as it was, and nothing that is read does more than fail."""

from __future__ import annotations

import json
from contextlib import suppress
from time import perf_counter
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from intertie.model import json_text
from intertie.model.bodies import BODIES, Location, SiteBody, TransportFacts, VpnBody
from intertie.model.codec import MAX_TEXT, decode, encode, one_line, read
from intertie.model.errors import Reason, Refused
from intertie.model.json_text import Malformed, loads
from intertie.model.records import Header, Kind, Order, Record
from tests.unit import arbitrary

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | arbitrary.lines
later = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(arbitrary.lines, inner))
"""What a later version may add."""
trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner))


@given(arbitrary.records())
def test_every_record_is_read_as_it_was_written(record: Record) -> None:
    assert decode(record.raw, record.signature) == record
    assert encode(record.header, record.body) == record.raw


@given(arbitrary.records(), st.dictionaries(st.from_regex(r"[a-z]{1,9}", fullmatch=True), later, max_size=3))
def test_unknown_fields_are_ignored_and_the_bytes_kept(record: Record, more: dict[str, Any]) -> None:
    tree = json.loads(record.raw)
    for part in (tree, tree["header"], tree["body"]):
        for key, value in more.items():
            part[f"later-{key}"] = value
    assume(_depth(tree) <= json_text.MAX_DEPTH)
    raw = json.dumps(tree).encode()
    found = decode(raw, b"")
    assert (found.header, found.body, found.raw) == (record.header, record.body, raw)


def test_a_version_that_knows_one_field_more_is_read() -> None:
    record = decode(RAW.replace(b'"version":"1"', b'"version":"2","colour":["later"]'), b"")
    assert isinstance(record.body, SiteBody)
    assert record.body.version == "2"


@given(st.sampled_from(list(BODIES)), trees)
def test_any_json_as_a_body_is_a_body_or_malformed(kind: Kind, tree: Any) -> None:
    with suppress(Malformed):
        read(BODIES[kind], tree)


@given(arbitrary.records(), st.data())
def test_any_json_in_any_place_of_a_record_is_a_record_or_malformed(record: Record, data: st.DataObject) -> None:
    tree = json.loads(record.raw)
    places = list(_places(tree))
    holder, key = data.draw(st.sampled_from(places))
    holder[key] = data.draw(trees)
    raw = json.dumps(tree).encode()
    with suppress(Malformed):
        again = decode(raw, b"")
        with suppress(Refused):
            # What was let in can be written again: it may end up in a record of this site's.
            decode(encode(again.header, again.body), b"")


@given(st.binary(max_size=200))
def test_any_bytes_are_malformed_or_a_record(raw: bytes) -> None:
    with suppress(Malformed):
        decode(raw, b"")


@given(arbitrary.records(), st.data())
def test_any_change_of_the_bytes_is_malformed_or_a_record(record: Record, data: st.DataObject) -> None:
    raw = bytearray(record.raw)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw)))
        raw[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=6))
    with suppress(Malformed):
        decode(bytes(raw), b"")


@given(arbitrary.texts)
def test_whatever_a_driver_says_can_be_read_again(text: str) -> None:
    """A driver's error of two lines once signed would make the site's own store unreadable."""
    header = Header(kind=Kind.SITE, id="nantes.site", home="nantes", order=Order(0, "", 1, 1))
    facts = TransportFacts(name="vxlan", ok=False, reason=text)
    body = SiteBody(name="nantes", version="1", root="", transports=(facts,))
    found = decode(encode(header, body), b"").body
    assert found.transports[0].reason == one_line(text)
    assert one_line(one_line(text)) == one_line(text)


RAW = encode(
    Header(kind=Kind.SITE, id="nantes.site", home="nantes", order=Order(0, "", 1, 1)),
    SiteBody(name="nantes", version="1", root="r"),
)

HOSTILE = {
    "infinity": b'{"lat":1e999,"lon":0}',
    "not a number": b'{"lat":NaN,"lon":0}',
    "a thousand digits": b'{"lat":' + b"9" * 1000 + b',"lon":0}',
    "a key twice": b'{"lat":1,"lat":2,"lon":0}',
    "deep": b'{"lat":' + b"[" * 13 + b"]" * 13 + b',"lon":0}',
    "very deep": b"[" * 60000,
    "deep in strings": b'["' + b'\\"' * 9 + b"[" * 20 + b'",' + b"[" * 13 + b"]" * 14,
    "cut off": b'{"lat":1,"lon":',
    "not UTF-8": b'{"lat":"\xff","lon":0}',
    "nothing": b"",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_json(what: str) -> None:
    with pytest.raises(Malformed):
        read(Location, loads(HOSTILE[what]))


@pytest.mark.parametrize(
    "text",
    ["a\nb", "a\x00b", "a\x1b[2Jb", "a\x9bb", "a\u2028b", "a\u202eb", "a\ud800b", "a" * (MAX_TEXT + 1)],
    ids=["newline", "nul", "escape", "csi", "line separator", "turned round", "half a character", "too long"],
)
def test_texts_that_are_not_one_plain_line(text: str) -> None:
    with pytest.raises(Malformed):
        read(Reason, {"code": "x", "text": text})


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-01T00:00:00", "2026-01-01\n00:00Z"]
)
def test_times_that_are_none(time: str) -> None:
    with pytest.raises(Malformed) as caught:
        read(VpnBody, {"created_at": time, **dict.fromkeys(_TEXTS, "x"), "vni": 1, "mtu": 1, "attachments": []})
    assert "\n" not in caught.value.detail


_TEXTS = ("name", "project", "transport", "route_target")


@pytest.mark.parametrize("address", ["fe80::1%eth0", "fe80::1%a\nb", "10.0.0.1%x", "10.0.0", "1", "", "0x7f.0.0.1"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(Malformed):
        read(SiteBody, {"name": "a", "version": "", "root": "", "underlay": [address]})


def test_a_later_format_is_not_guessed_at() -> None:
    with pytest.raises(Malformed, match="format 2"):
        decode(RAW.replace(b'"format":1', b'"format":2'), b"")


def test_an_id_of_another_site_is_refused_unless_adopted() -> None:
    with pytest.raises(Malformed):
        decode(RAW.replace(b'"id":"nantes.site"', b'"id":"lyon.site"'), b"")
    with pytest.raises(Malformed):
        decode(RAW.replace(b'"id":"nantes.site"', b'"id":"lyon.site"').replace(b'"epoch":0', b'"epoch":1'), b"")


@pytest.mark.parametrize("raw", [b'"' + b'\\"' * 500_000, b'"' + b"\\" * 1_000_001, b'"a' * 300_000])
def test_reading_takes_time_in_proportion(raw: bytes) -> None:
    """Unclosed strings were tried from every quote again: 256 KiB kept an agent busy for a minute."""
    begun = perf_counter()
    with pytest.raises(Malformed):
        loads(raw, 4 * 1024 * 1024)
    assert perf_counter() - begun < 2


def _depth(tree: Any) -> int:
    if isinstance(tree, dict):
        return 1 + max((_depth(v) for v in tree.values()), default=0)
    if isinstance(tree, list):
        return 1 + max((_depth(v) for v in tree), default=0)
    return 0


def _places(tree: Any) -> Any:
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in inner:
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)
