"""Laws of the one message between sites."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intertie.model import wire
from intertie.model.codec import decode
from intertie.model.json_text import Malformed
from intertie.model.records import Cursor
from intertie.model.wire import Join, Message, ToldCause, ToldHost, ToldPair, ToldSight, Volatile
from tests.unit import arbitrary
from tests.unit.test_laws_codec import trees

places = st.builds(Cursor, st.integers(0, 9), st.integers(0, 2**63 - 1))
sights = st.builds(
    ToldSight,
    vpn=arbitrary.lines,
    to=arbitrary.lines,
    health=arbitrary.lines,
    rtt_ms=st.none() | st.floats(0, 1e6),
    loss=st.none() | st.floats(0, 1),
    age=st.floats(0, 1e6),
)
volatile = st.builds(
    Volatile,
    sights=st.lists(sights, max_size=3).map(tuple),
    hosts=st.lists(arbitrary.of(ToldHost), max_size=3).map(tuple),
    verified=st.lists(arbitrary.of(ToldPair), max_size=3).map(tuple),
)
records = st.lists(arbitrary.records(), max_size=3).map(tuple)
messages = st.builds(
    Message,
    sender=arbitrary.names,
    incarnation=st.integers(0, 99),
    boot=arbitrary.lines,
    held=places,
    since=places,
    upto=places,
    records=records,
    returned=records,
    volatile=volatile,
    wait=st.floats(0, 60),
    verify=st.lists(arbitrary.lines, max_size=3).map(tuple),
    join=st.none() | st.builds(Join, name=arbitrary.lines, secret=arbitrary.lines),
    more=st.booleans(),
    recover=st.booleans(),
    returns=st.booleans(),
    request=arbitrary.lines,
    trace=arbitrary.lines,
    causes=st.lists(arbitrary.of(ToldCause), max_size=3).map(tuple),
    at=st.floats(0, 1e11),
)


@settings(max_examples=40)
@given(messages)
def test_every_message_is_read_as_it_was_written(message: Message) -> None:
    found, faults = wire.decode(wire.encode(message), decode)
    assert found == message
    assert faults == ()
    # What home signed arrives to the octet.
    assert [r.raw for r in found.records] == [r.raw for r in message.records]


@settings(max_examples=40)
@given(messages, st.lists(trees, min_size=1, max_size=3))
def test_a_bad_record_is_left_out_and_the_others_stand(message: Message, bad: list[Any]) -> None:
    tree = json.loads(wire.encode(message))
    good = tree["records"]
    tree["records"] = [*({"record": json.dumps(b), "signature": "AA=="} for b in bad), *good]
    found, faults = wire.decode(json.dumps(tree).encode(), decode)
    assert found.records == message.records
    assert len(faults) == len(bad)


@settings(max_examples=40)
@given(messages, st.data())
def test_any_json_in_any_place_is_a_message_or_malformed(message: Message, data: st.DataObject) -> None:
    tree = json.loads(wire.encode(message))
    tree[data.draw(st.sampled_from(sorted(tree)))] = data.draw(trees)
    with suppress(Malformed):
        wire.decode(json.dumps(tree).encode(), decode)


@given(st.binary(max_size=200))
def test_any_bytes_are_malformed_or_a_message(raw: bytes) -> None:
    with suppress(Malformed):
        wire.decode(raw, decode)


BASE = json.loads(wire.encode(Message(sender="nantes", incarnation=1, boot="b")))


@pytest.mark.parametrize(
    "change",
    [
        {"from": "Nantes\n"},
        {"from": ["nantes"]},
        {"incarnation": -1},
        {"incarnation": True},
        {"records": {}},
        {"records": [{}] * (wire.MAX_BATCH + 1)},
        {"verify": ["x"] * (wire.MAX_VERIFY + 1)},
        {"wait": -1},
        {"held": {"seq": -1}},
        {"volatile": {"sights": [{"vpn": "v", "to": "lyon", "health": "ready", "age": 1e300}]}},
        {"volatile": {"sights": [{"vpn": "v", "to": "lyon", "health": "ready", "age": -1}]}},
        {"volatile": {"sights": [{"vpn": "v", "to": "lyon", "health": "ready", "loss": 2}]}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_envelopes_that_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        wire.decode(json.dumps({**BASE, **change}).encode(), decode)
