"""What a peer call costs the caller: processor time a call, ours against httpx, same server, same run.

    python bench/peer_call.py [CALLS]

Absolute times belong to the machine, so what counts is the ratio. Both ends speak mutual TLS 1.3 over
loopback and keep one connection; the server is a process of its own, so its time is not counted. The two
take turns in five rounds, and the median of the rounds is printed: one JSON line. Exit code 1 when our call
costs more than half of httpx's.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import uvloop

from intertie.federation.certificates import client_context, issue
from intertie.federation.keys import RootKey, create
from intertie.federation.peer_server import listen
from intertie.federation.peer_transport import TlsTransport
from intertie.federation.transport import PATH, Caller, PeerAddress

ROUNDS = 5
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
        assert await call() == BODY
    return (time.process_time() - before) / calls * 1000


async def compare(nantes: RootKey, lyon: RootKey, port: int, calls: int) -> dict[str, float]:
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
            await cost(call, 100)  # connections, caches
        rounds = [(await cost(ours, calls), await cost(theirs, calls)) for _ in range(ROUNDS)]
    transport.close()
    mine, other = (statistics.median(column) for column in zip(*rounds, strict=True))
    return {"ours_ms": round(mine, 3), "httpx_ms": round(other, 3), "ratio": round(mine / other, 3)}


def main(calls: int) -> int:
    with TemporaryDirectory() as folder:
        nantes, lyon = (create(Path(folder) / name, name) for name in ("nantes", "lyon"))
    sock = listen(IPv4Address("127.0.0.1"), 0)
    server = multiprocessing.get_context("fork").Process(target=serve, args=(lyon, nantes, sock), daemon=True)
    server.start()
    try:
        result = uvloop.run(compare(nantes, lyon, sock.getsockname()[1], calls))
    finally:
        server.terminate()
        server.join()
    print(json.dumps({"bench": "peer_call", **result}))
    return 0 if result["ratio"] <= 0.5 else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
