"""A small client of OVSDB, the database by which Open vSwitch is told what to do (RFC 7047).

It speaks JSON-RPC 1.0 over a stream, without a length or a line end: a message ends where its object does. A
transaction has a connection of its own, since local ones cost next to nothing and nothing is then left to mend; news
comes over one that stays and answers the server's echoes.

Values of a set or map column are written `["set", […]]` and `["map", [[k, v], …]]`, a set of one as its element
(section 5.1). `rows` gives them back as frozensets, dicts and plain values.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from intertie.model.errors import Conflict, Unavailable

DATABASE = "Open_vSwitch"
PORT = 6640
"""Registered for OVSDB (RFC 7047 section 7)."""
TIMEOUT = 5.0
"""Seconds for a transaction, its connection included."""
LARGEST = 64 << 20
CHUNK = 1 << 16

Row = Mapping[str, Any]
Operation = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Named:
    """A row inserted earlier in the same transaction, by its `uuid-name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Uuid:
    """A row by its UUID."""

    value: str


class Ovsdb:
    """A server at `unix:PATH` or `tcp:HOST:PORT`; it is connected to when it is asked something."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def transact(self, *operations: Operation) -> list[Row]:
        """All or none of the operations (section 4.1.3); the result of each. Conflict, with the server's words, if
        one of them cannot be; Unavailable if the server cannot be reached or does not answer."""
        try:
            async with asyncio.timeout(TIMEOUT):
                channel = await self._connect()
                try:
                    return _results(await channel.call("transact", [DATABASE, *operations]), len(operations))
                finally:
                    channel.close()
        except TimeoutError as error:
            raise self._unavailable(f"no answer within {TIMEOUT:g} s") from error
        except (OSError, EOFError, ValueError) as error:
            raise self._unavailable(str(error) or type(error).__name__) from error

    async def news(self, columns: Mapping[str, Sequence[str]]) -> AsyncIterator[Mapping[str, Any]]:
        """After the connection stands, an empty word; then per change the tables and rows that changed, as they come
        ({table: {uuid: {"old": …, "new": …}}}, section 4.1.6). Unavailable when the connection ends."""
        wish = {table: [{"columns": list(names), "select": {"initial": False}}] for table, names in columns.items()}
        try:
            async with asyncio.timeout(TIMEOUT):
                channel = await self._connect()
        except (OSError, TimeoutError) as error:
            raise self._unavailable(str(error) or "no answer") from error
        try:
            await channel.call("monitor", [DATABASE, None, wish])
            yield {}
            while True:
                yield await channel.update()
        except (OSError, EOFError, ValueError) as error:
            raise self._unavailable(str(error) or "the connection ended") from error
        finally:
            channel.close()

    async def _connect(self) -> _Channel:
        kind, _, rest = self.address.partition(":")
        if kind == "unix":
            return _Channel(*await asyncio.open_unix_connection(rest))
        host, _, port = rest.rpartition(":")
        if kind != "tcp" or not port.isdigit():
            raise ValueError("an address is unix:PATH or tcp:HOST:PORT")
        return _Channel(*await asyncio.open_connection(host.strip("[]"), int(port)))

    def _unavailable(self, why: str) -> Unavailable:
        return Unavailable(f"Open vSwitch's database at {self.address}: {why}", hint="is openvswitch-switch running?")


class _Channel:
    """One connection. Requests are made one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._framing = Framing()
        self._waiting: list[Mapping[str, Any]] = []
        self._updates: list[Mapping[str, Any]] = []
        self._last = 0

    async def call(self, method: str, params: Sequence[object]) -> Any:
        self._last += 1
        await self._send({"method": method, "params": params, "id": self._last})
        while True:
            message = await self._next()
            if message.get("method") == "update":
                self._updates.append(message["params"][1])
            if message.get("id") == self._last and "method" not in message:
                if message.get("error") is not None:
                    raise Conflict(f"Open vSwitch's database refuses {method}: {message['error']}")
                return message.get("result")

    async def update(self) -> Mapping[str, Any]:
        while not self._updates:
            message = await self._next()
            if message.get("method") == "update":
                self._updates.append(message["params"][1])
        return self._updates.pop(0)

    async def _next(self) -> Mapping[str, Any]:
        """The next message that is not an echo request; those are answered."""
        while True:
            while not self._waiting:
                data = await self._reader.read(CHUNK)
                if not data:
                    raise EOFError("the server closed the connection")
                self._waiting += self._framing.feed(data)
            message = self._waiting.pop(0)
            if message.get("method") != "echo":
                return message
            await self._send({"id": message.get("id"), "result": message.get("params"), "error": None})

    async def _send(self, message: Mapping[str, object]) -> None:
        self._writer.write(json.dumps(message, separators=(",", ":")).encode())
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()


class Framing:
    """Cuts a stream into JSON objects. Nothing else than an object's end looks like one that can be read whole."""

    def __init__(self) -> None:
        self._begun = bytearray()
        self._decoder = json.JSONDecoder()

    def feed(self, data: bytes) -> list[Mapping[str, Any]]:
        """The objects that are whole now. ValueError for what is no object, or is larger than any can be."""
        self._begun += data
        if len(self._begun) > LARGEST:
            raise ValueError("a message without end")
        whole: list[Mapping[str, Any]] = []
        if not self._begun.rstrip().endswith(b"}"):
            return whole
        text, at = self._begun.decode().rstrip(), 0
        while at < len(text):
            try:
                message, at = self._decoder.raw_decode(text, at)
            except json.JSONDecodeError:
                break
            if not isinstance(message, dict):
                raise ValueError("not a JSON object")
            whole.append(message)
        self._begun = bytearray(text[at:].encode())
        return whole


def _results(answer: Any, asked: int) -> list[Row]:
    """An operation that failed has an error in its place; one of the whole comes after the last (section 4.1.3)."""
    found = answer if isinstance(answer, list) else []
    for each in found:
        if isinstance(each, dict) and each.get("error"):
            raise Conflict(f"Open vSwitch's database: {each['error']}: {each.get('details', '')}".rstrip(": "))
    if len(found) < asked:
        raise ValueError("an answer that is too short")
    return [each or {} for each in found]


# ── Values ─────────────────────────────────────────────────────────────────────────────────────────────────


def value(plain: object) -> Any:
    """A column's value as it is sent."""
    match plain:
        case Uuid():
            return ["uuid", plain.value]
        case Named():
            return ["named-uuid", plain.name]
        case dict():
            return ["map", [[k, value(v)] for k, v in sorted(plain.items())]]
        case frozenset() | set():
            return ["set", [value(each) for each in sorted(plain, key=str)]]
        case _:
            return plain


def parsed(wire: Any) -> Any:
    """A column's value as it came."""
    match wire:
        case ["uuid", str(uuid)]:
            return Uuid(uuid)
        case ["set", list(elements)]:
            return frozenset(parsed(each) for each in elements)
        case ["map", list(pairs)]:
            return {k: parsed(v) for k, v in pairs}
        case _:
            return wire


def rows(result: Row) -> list[dict[str, Any]]:
    """The rows of a `select`."""
    return [{name: parsed(each) for name, each in row.items()} for row in result.get("rows", ())]


def select(table: str, where: Sequence[tuple[str, str, object]], columns: Sequence[str]) -> Operation:
    return {"op": "select", "table": table, "where": _where(where), "columns": list(columns)}


def insert(table: str, name: str, row: Mapping[str, object]) -> Operation:
    """`name` stands for the row's UUID within the transaction."""
    return {"op": "insert", "table": table, "row": {k: value(v) for k, v in row.items()}, "uuid-name": name}


def update(table: str, where: Sequence[tuple[str, str, object]], row: Mapping[str, object]) -> Operation:
    return {"op": "update", "table": table, "where": _where(where), "row": {k: value(v) for k, v in row.items()}}


def mutate(
    table: str, where: Sequence[tuple[str, str, object]], column: str, *mutations: tuple[str, object]
) -> Operation:
    """Each mutation is a mutator ("insert", "delete", "+=") and its argument."""
    done = [[column, mutator, value(by)] for mutator, by in mutations]
    return {"op": "mutate", "table": table, "where": _where(where), "mutations": done}


def _where(conditions: Sequence[tuple[str, str, object]]) -> list[Any]:
    return [[column, function, value(operand)] for column, function, operand in conditions]
