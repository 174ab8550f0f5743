"""`api`: requests that one core answers in a second, beside the bare framework on the same core.

Counted by the processor time of the server, so that what else the machine does is not counted; the load comes from
another process over eight connections that are kept, for a bounded time. The two servers take turns.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import uvloop

from bench.ballast import PEER, SITE, lay
from bench.bare import SHOWN
from bench.children import Child, child
from bench.figures import Figure

CONNECTIONS = 8
AIM = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    vpns: int = 1000
    seconds: float = 1.5
    rounds: int = 3


SIZES = {"full": Size(), "tiny": Size(vpns=100, seconds=0.1, rounds=1)}


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of request."""

    what: str
    method: str
    path: str


LOADS = (
    Load("authenticated GET of a Vpn", "GET", f"/v1/vpns/{SITE}.v00007"),
    Load("list of 100 Vpns", "GET", "/v1/vpns?limit=100"),
    Load("durable POST of a Vpn", "POST", "/v1/vpns"),
)


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests a second,"""

    processor: float
    """of the server's processor time,"""
    wall: float
    """and of the clock."""


class Client:
    """Eight connections to one server."""

    def __init__(self, server: Child) -> None:
        self._server = server
        port, *self._tokens = server.said.split()
        self._port, self._made, self._turn = int(port), 0, 0

    def _request(self, load: Load) -> bytes:
        body = b""
        if load.method == "POST":
            self._made += 1
            ends = [{"site": SITE, "network": f"net-{self._made % 100}"}, {"site": PEER, "network": "far"}]
            body = json.dumps({"name": f"new-{os.getpid()}-{self._made}", "kind": "l3", "attachments": ends}).encode()
        head = (
            f"{load.method} {load.path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {self._tokens[self._turn]}\r\n"
        )
        kind = "Content-Type: application/json\r\n" if body else ""
        return f"{head}{kind}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def rate(self, load: Load, seconds: float) -> Rate:
        self._turn = (self._turn + 1) % len(self._tokens)
        before, begun = self._server.seconds, perf_counter()
        done = sum(await asyncio.gather(*(self._go(load, begun + seconds) for _ in range(CONNECTIONS))))
        wall, spent = perf_counter() - begun, self._server.seconds - before
        return Rate(done / max(spent, 0.01), done / wall)

    async def _go(self, load: Load, until: float) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        done = 0
        while perf_counter() < until:
            writer.write(self._request(load))
            await self._answer(reader)
            done += 1
        writer.close()
        return done

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        """RuntimeError for any answer but a success: a refusal would be quick, and no figure."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        body = await reader.readexactly(length)
        if not head.startswith("http/1.1 2"):
            raise RuntimeError(f"{head.splitlines()[0]}: {body[:300]!r}")
        return body

    async def one(self, path: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22)
        writer.write(self._request(Load("", "GET", path)))
        found = await self._answer(reader)
        writer.close()
        return found


def run(size: str) -> list[Figure]:
    return uvloop.run(_measure(SIZES[size]))


async def _measure(size: Size) -> list[Figure]:
    figures = []
    with TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        await lay(site, size.vpns)
        core = min(os.sched_getaffinity(0))
        with child("bench.serving", str(site), str(size.vpns), core=core) as ours:
            mine = Client(ours)
            SHOWN.write_bytes(await mine.one(LOADS[0].path))
            with child("bench.bare", folder, core=core) as bare:
                other = Client(bare)
                for load in LOADS:
                    figures += await _compare(load, mine, other, size)
    return figures


async def _compare(load: Load, mine: Client, other: Client, size: Size) -> list[Figure]:
    for client in (mine, other):
        await client.rate(load, size.seconds / 3)
    rates = [(await mine.rate(load, size.seconds), await other.rate(load, size.seconds)) for _ in range(size.rounds)]
    ours, theirs = (statistics.median(r.processor for r in column) for column in zip(*rates, strict=True))
    wall, other_wall = (statistics.median(r.wall for r in column) for column in zip(*rates, strict=True))
    ratio, get = ours / theirs, load is LOADS[0]
    return [
        Figure(
            what=f"{load.what}, of {size.vpns:,}: by processor time",
            ours=ours,
            unit="/s",
            baseline=theirs,
            beside="bare FastAPI",
            ratio=ratio,
            aim=f"≥ {AIM:g}" if get else "",
            met=ratio >= AIM if get else None,
        ),
        Figure(
            what=f"{load.what}, of {size.vpns:,}: by the clock, {CONNECTIONS} at once",
            ours=wall,
            unit="/s",
            baseline=other_wall,
            beside="bare FastAPI",
            ratio=wall / other_wall,
        ),
    ]
