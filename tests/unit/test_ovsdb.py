"""The wire of OVSDB: messages are cut right wherever the stream is, and values come back as they went."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intertie.drivers.openstack import ovsdb
from intertie.drivers.openstack.ovsdb import Framing, Named, Ovsdb, Uuid, parsed, value
from intertie.model.errors import Conflict, Unavailable

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
messages = st.lists(st.dictionaries(st.text(), plain, max_size=3), min_size=1, max_size=4)
columns = (
    st.integers(0, 99)
    | st.text(max_size=5)
    | st.booleans()
    | st.frozensets(st.integers(0, 9), max_size=3).filter(lambda s: len(s) != 1)
    | st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3)
)


@given(messages, st.lists(st.integers(1, 9), max_size=200), st.booleans())
def test_a_stream_is_cut_where_objects_end(sent: list[dict[str, Any]], cuts: list[int], ascii_only: bool) -> None:
    stream = b"".join(json.dumps(each, ensure_ascii=ascii_only).encode() for each in sent)
    framing, heard = Framing(), []
    for cut in cuts:
        heard += framing.feed(stream[:cut])
        stream = stream[cut:]
    heard += framing.feed(stream)
    assert heard == sent


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(ValueError, match="not a JSON object"):
        Framing().feed(b'[{"a": 1}]{}')


@given(columns)
def test_values_come_back(plain: object) -> None:
    assert parsed(json.loads(json.dumps(value(plain)))) == plain


def test_rows_are_named_by_uuid_or_within_the_transaction() -> None:
    assert value(Uuid("a-b")) == ["uuid", "a-b"]
    assert parsed(["uuid", "a-b"]) == Uuid("a-b")
    assert ovsdb.insert("Port", "p", {"interfaces": Named("i")})["row"] == {"interfaces": ["named-uuid", "i"]}
    assert parsed(["set", [["uuid", "a"], ["uuid", "b"]]]) == frozenset((Uuid("a"), Uuid("b")))


Answer = Callable[[dict[str, Any]], list[dict[str, Any]]]


async def serving(path: Path, answer: Answer, ask: Callable[[Ovsdb], Awaitable[Any]]) -> Any:
    """A server that answers each request with these messages, and closes when it has none."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        framing = Framing()
        while data := await reader.read(1 << 16):
            for request in framing.feed(data):
                replies = answer(dict(request))
                for each in replies:
                    writer.write(json.dumps(each).encode())
                if not replies:
                    writer.close()
                    return

    server = await asyncio.start_unix_server(talk, path)
    async with server:
        return await ask(Ovsdb(f"unix:{path}"))


async def test_an_echo_is_answered_while_waiting(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []

    def answer(request: dict[str, Any]) -> list[dict[str, Any]]:
        heard.append(request)
        if request.get("method") == "transact":
            return [{"method": "echo", "params": ["still there?"], "id": "echo"}]
        return [{"id": 1, "result": [{"rows": [{"name": "x"}]}], "error": None}]

    ask = ovsdb.select("Port", (), ("name",))
    [result] = await serving(tmp_path / "db", answer, lambda database: database.transact(ask))
    assert ovsdb.rows(result) == [{"name": "x"}]
    assert heard[1] == {"id": "echo", "result": ["still there?"], "error": None}


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ([{}, {"error": "constraint violation", "details": "two of it"}], "constraint violation: two of it"),
        ([{}, {}, {"error": "referential integrity violation"}], "referential integrity violation"),
        ([{"error": "timed out"}, None], "timed out"),
    ],
)
async def test_what_the_server_refuses_is_said(tmp_path: Path, result: list[Any], words: str) -> None:
    def answer(request: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"id": request["id"], "result": result, "error": None}]

    one = ovsdb.select("Port", (), ("name",))
    with pytest.raises(Conflict, match=words):
        await serving(tmp_path / "db", answer, lambda database: database.transact(one, one))


async def test_a_server_that_hangs_up_or_is_not_there(tmp_path: Path) -> None:
    one = ovsdb.select("Port", (), ("name",))
    with pytest.raises(Unavailable, match="closed the connection"):
        await serving(tmp_path / "db", lambda request: [], lambda database: database.transact(one))
    for address in (f"unix:{tmp_path}/none", "tcp:127.0.0.1:1", "carrier pigeon"):
        with pytest.raises(Unavailable, match="Open vSwitch's database at"):
            await Ovsdb(address).transact(one)


async def test_one_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ovsdb, "TIMEOUT", 0.05)
    one = ovsdb.select("Port", (), ("name",))
    silence: Answer = lambda request: [{"method": "update", "params": [None, {}], "id": None}]  # noqa: E731
    with pytest.raises(Unavailable, match=r"no answer within 0\.05 s"):
        await serving(tmp_path / "db", silence, lambda database: database.transact(one))
