"""Limits of the peer message: what is too much is refused before a record of it is parsed or a signature verified."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from intertie.model import codec, wire
from intertie.model.errors import Forbidden
from intertie.model.json_text import Malformed
from intertie.model.records import MAX_RECORD, Record
from intertie.model.wire import MAX_BATCH, MAX_MESSAGE, MAX_VERIFY, Message
from intertie.testing.fake_ports import FakeKeys
from intertie.testing.federation import Site, World
from tests.unit.api_lab import virtually

EMPTY = Message(sender="lyon", incarnation=1, boot="b")


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("this was to cost nothing")


def with_(**parts: Any) -> bytes:
    return json.dumps({**json.loads(wire.encode(EMPTY)), **parts}).encode()


@pytest.mark.parametrize(
    "raw",
    [b" " * (MAX_MESSAGE + 1), b"[" * 13 + b"]" * 13, b"[" * MAX_MESSAGE, b'{"a":' * 100000],
    ids=["size", "depth", "very deep", "open"],
)
def test_size_and_depth_are_seen_before_anything_is_parsed(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intertie.model.codec.json.loads", never)
    with pytest.raises(Malformed):
        wire.decode(raw, never)


@pytest.mark.parametrize("place", ["records", "returned"])
def test_too_many_records_are_refused_before_one_is_parsed(place: str) -> None:
    sealed = {"record": "{}", "signature": "AA=="}
    with pytest.raises(Malformed):
        wire.decode(with_(**{place: [sealed] * (MAX_BATCH + 1)}), never)
    read: list[bytes] = []

    def counted(raw: bytes, signature: bytes) -> Record:
        read.append(raw)
        raise Malformed("not a record")

    wire.decode(with_(**{place: [sealed] * MAX_BATCH}), counted)
    assert len(read) == MAX_BATCH


def test_an_envelope_that_is_wrong_is_refused_before_a_record_is_parsed() -> None:
    sealed = {"record": "{}", "signature": "AA=="}
    for wrong in ({"from": ""}, {"verify": ["x"] * (MAX_VERIFY + 1)}, {"incarnation": -1}, {"wait": -1}):
        with pytest.raises(Malformed):
            wire.decode(with_(records=[sealed], **wrong), never)


def test_a_large_record_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intertie.model.codec.json.loads", never)
    for raw in (b" " * (MAX_RECORD + 1), b"[" * 13 + b"]" * 13):
        with pytest.raises(Malformed):
            codec.decode(raw, b"")


async def two(world: World) -> Site:
    """nantes, which has pinned lyon."""
    for name in ("nantes", "lyon"):
        await world.site(name)
    await world.enrol("nantes", "lyon")
    return world.running["nantes"]


@virtually
async def test_nobody_has_a_signature_verified_who_may_not_speak() -> None:
    world = World()
    nantes = await two(world)
    own = world.running["lyon"].agent.table.get("lyon.site")
    assert own is not None
    message = replace(EMPTY, records=(own,))
    joining = replace(message, join=wire.Join(name="lyon", secret="guess"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeKeys, "verify", never)
        for caller, said in ((None, message), (None, joining), ("rennes", message), ("metz", message)):
            with pytest.raises(Forbidden):
                await nantes.exchange.handle(caller, wire.encode(said))
    await world.close()


@virtually
async def test_a_record_that_a_peer_may_not_send_has_no_signature_verified() -> None:
    """What a peer says of others, and what is not for this site, is refused by its header."""
    world = World()
    nantes = await two(world)
    await world.site("rennes")
    foreign = world.running["rennes"].agent.table.get("rennes.site")
    assert foreign is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeKeys, "verify", never)
        await nantes.exchange.handle("lyon", wire.encode(replace(EMPTY, records=(foreign,) * MAX_BATCH)))
    assert nantes.agent.table.get("rennes.site") is None
    await world.close()
