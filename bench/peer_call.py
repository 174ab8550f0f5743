"""`peer-call`: what a peer call costs the caller: processor time a call, ours against httpx, same server, same run.

Both ends speak mutual TLS 1.3 over loopback and keep one connection; the server is a process of its own, so its time
is not counted. The two take turns.
"""

from __future__ import annotations

import multiprocessing
import socket
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import uvloop

from bench.figures import Figure
from intertie.federation.certificates import client_context, issue
from intertie.federation.keys import RootKey, create
from intertie.federation.peer_server import listen
from intertie.federation.peer_transport import TlsTransport
from intertie.federation.transport import PATH, Caller, PeerAddress

SIZES = {"full": (500, 5), "tiny": (20, 1)}
"""Calls in a turn, and turns."""
AIM = 0.5
BODY = b'{"from":"nantes","incarnation":1,"records":[],"acks":[]}' * 5


def now() -> datetime:
    return datetime.now(UTC)


async def echo(_: Caller | None, body: bytes) -> bytes:
    return body


def serve(key: RootKey, caller: RootKey, sock: socket.socket) -> None:
    transport = TlsTransport(key, now, [sock])
    transport.trust({caller.name: caller.root.der})
    uvloop.run(transport.serve(echo))


async def cost(call: Callable[[], Awaitable[bytes]], calls: int) -> float:
    """Milliseconds of this process's time a call."""
    before = time.process_time()
    for _ in range(calls):
        if await call() != BODY:
            raise RuntimeError("another answer came")
    return (time.process_time() - before) / calls * 1000


async def compare(nantes: RootKey, lyon: RootKey, port: int, size: tuple[int, int]) -> tuple[float, float]:
    calls, turns = size
    transport = TlsTransport(nantes, now)
    transport.trust({"lyon": lyon.root.der})
    peer = PeerAddress(name="lyon", address=f"127.0.0.1:{port}", root=lyon.root.der)
    context = client_context(issue(nantes, now()), lyon.root.der)
    async with httpx.AsyncClient(verify=context) as client:

        async def ours() -> bytes:
            return await transport.call(peer, BODY, 10.0)

        async def theirs() -> bytes:
            return (await client.post(f"https://127.0.0.1:{port}{PATH}", content=BODY)).content

        for call in (ours, theirs):
            await cost(call, min(calls, 100))  # connections, caches
        rounds = [(await cost(ours, calls), await cost(theirs, calls)) for _ in range(turns)]
    transport.close()
    mine, other = (statistics.median(column) for column in zip(*rounds, strict=True))
    return mine, other


def run(size: str) -> list[Figure]:
    with TemporaryDirectory() as folder:
        nantes, lyon = (create(Path(folder) / name, name) for name in ("nantes", "lyon"))
    sock = listen(IPv4Address("127.0.0.1"), 0)
    server = multiprocessing.get_context("fork").Process(target=serve, args=(lyon, nantes, sock), daemon=True)
    server.start()
    try:
        mine, other = uvloop.run(compare(nantes, lyon, sock.getsockname()[1], SIZES[size]))
    finally:
        server.terminate()
        server.join()
    return [
        Figure(
            what="a call on a warm connection, the caller's processor time",
            ours=mine,
            unit="ms",
            baseline=other,
            beside="httpx",
            ratio=mine / other,
            aim=f"≤ {AIM:g}",
            met=mine / other <= AIM,
        )
    ]
