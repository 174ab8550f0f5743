"""What every released version wrote is read for ever: records, messages, invitations, stores (tests/fixtures/wire).

`tools/record_wire.py` records those of the present version; those of a version that was released stay as they are.
"""

from __future__ import annotations

import json
import sqlite3
from base64 import b64decode
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from intertie import __version__
from intertie.federation import keys
from intertie.model import wire
from intertie.model.codec import decode
from intertie.model.records import Kind, Record
from intertie.store.sqlite import SqliteStore
from tools.record_wire import FIXTURES, message_view, record_view, token_view

RARE = {"more", "cloned"}
"""Fields of a message that the recorded story has no cause for: more records than fit, two agents of one site."""
VERSIONS = sorted(path.name for path in FIXTURES.iterdir())


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> Path:
    return FIXTURES / str(request.param)


def expected(version: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((version / "expected.json").read_text())
    return found


def records(version: Path) -> list[Record]:
    lines = (version / "records.txt").read_bytes().splitlines()
    return [decode(raw, b64decode(signature)) for signature, _, raw in (line.partition(b" ") for line in lines)]


def messages(version: Path) -> list[bytes]:
    return (version / "messages.txt").read_bytes().splitlines()


def holds(found: Any, then: Any) -> bool:
    """Whether all that was read then is read now; fields may have come since."""
    if isinstance(then, dict):
        return isinstance(found, dict) and all(key in found and holds(found[key], then[key]) for key in then)
    if isinstance(then, list):
        return isinstance(found, list) and len(found) == len(then) and all(map(holds, found, then))
    return bool(found == then)


def test_the_present_version_is_recorded() -> None:
    assert __version__ in VERSIONS, "python tools/record_wire.py"


def test_the_recorded_ones_say_something_of_everything(version: Path) -> None:
    """Every kind of record, and every field of a message but the rare ones."""
    if version.name != __version__:
        return  # the present one may have come to say more
    assert {r.header.kind for r in records(version)} == set(Kind)
    said = {key for raw in messages(version) for key, value in json.loads(raw).items() if value}
    told = {key for raw in messages(version) for key, value in json.loads(raw)["volatile"].items() if value}
    assert {f.name for f in fields(wire.Message)} - said - RARE == {"sender"}
    assert {f.name for f in fields(wire.Volatile)} == told


def test_records_are_read_as_they_were(version: Path) -> None:
    then = expected(version)["records"]
    assert len(records(version)) == len(then)
    for record, view in zip(records(version), then, strict=True):
        assert holds(record_view(record), view), record.id


def test_signatures_hold(version: Path) -> None:
    roots = json.loads((version / "roots.json").read_text())
    for record in records(version):
        assert keys.verify(b64decode(roots[record.home]), record.raw, record.signature), record.id


def test_messages_are_read_as_they_were(version: Path) -> None:
    for raw, view in zip(messages(version), expected(version)["messages"], strict=True):
        assert holds(message_view(raw), view)
        assert message_view(raw)["faults"] == []


def test_what_is_passed_on_is_what_was_signed(version: Path) -> None:
    """Read, written again into a message of this version, read: the signed bytes are the same to the octet."""
    for raw in messages(version):
        message, _ = wire.decode(raw, decode)
        again, faults = wire.decode(wire.encode(message), decode)
        assert (again, faults) == (message, ())
        for one, other in zip((*message.records, *message.returned), (*again.records, *again.returned), strict=True):
            assert (one.raw, one.signature, one.digest) == (other.raw, other.signature, other.digest)


def test_an_invitation_is_read_as_it_was(version: Path) -> None:
    assert token_view((version / "invitation.txt").read_text()) == expected(version)["invitation"]


async def test_a_store_opens_with_the_bytes_that_were_signed(version: Path, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((version / "store.sql").read_text())
        rows = dict(connection.execute("SELECT id, raw FROM records").fetchall())
    store = SqliteStore(path, site=expected(version)["store_of"], decode=decode)
    found = await store.open(0)
    await store.close()
    assert not found.fresh
    assert {r.id: r.raw for r in found.records} == rows
    roots = json.loads((version / "roots.json").read_text())
    assert all(keys.verify(b64decode(roots[r.home]), r.raw, r.signature) for r in found.records)


# ── What a later version may add ───────────────────────────────────────────────────────────────────────────


def test_fields_that_a_later_version_adds_to_a_message_are_ignored(version: Path) -> None:
    for raw in messages(version):
        said = json.loads(raw)
        later = {**said, "later": {"nested": [1]}}
        later["held"] = {**said["held"], "later": 1}
        later["volatile"] = {
            key: [{**each, "later": None} for each in value] for key, value in said["volatile"].items()
        } | {"later": [{"of": "anything"}]}
        if said["join"]:
            later["join"] = {**said["join"], "later": ""}
        for place in ("records", "returned"):
            later[place] = [{**each, "later": True} for each in said[place]]
        assert wire.decode(json.dumps(later).encode(), decode) == wire.decode(raw, decode)


def test_a_kind_of_record_that_a_later_version_adds_is_left_out_and_the_others_stand(version: Path) -> None:
    raw = next(raw for raw in messages(version) if json.loads(raw)["records"])
    said = json.loads(raw)
    new = said["records"][0]["record"].replace('"kind":"', '"kind":"later-', 1)
    said["records"].append({"record": new, "signature": "AAAA"})
    message, faults = wire.decode(json.dumps(said).encode(), decode)
    assert message == wire.decode(raw, decode)[0]
    assert len(faults) == 1
    assert "later-" in faults[0]
