"""What a peer call and a forced write cost on this machine, so that worlds that do without them can charge it."""

from __future__ import annotations

import asyncio
import statistics
import time
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import uvloop

from bench.own_cores import Costs
from intertie.federation.keys import create, load
from intertie.federation.peer_server import listen
from intertie.federation.peer_transport import TlsTransport
from intertie.federation.transport import Caller, PeerAddress
from intertie.model.bodies import NetworkBody
from intertie.model.codec import decode
from intertie.model.records import Draft, Kind
from intertie.model.storage import Batch
from intertie.store.sqlite import SqliteStore
from intertie.wiring import SiteKeys

CALLS, WRITES = 400, 40
BODY = b"x" * 1500


def measured() -> Costs:
    """Medians, in this process, of the real peer transport and of the real store in the default temporary folder."""
    with TemporaryDirectory() as folder:
        call = uvloop.run(_call(Path(folder)))
        return Costs(calling=call / 2, answering=call / 2, write=uvloop.run(_write(Path(folder))))


async def _echo(caller: Caller | None, body: bytes) -> bytes:
    return body


def _now() -> datetime:
    return datetime.now(UTC)


async def _call(folder: Path) -> float:
    """Processor seconds of a call on a warm connection, both ends together."""
    one, other = (create(folder / name, name) for name in ("one", "other"))
    sock = listen(IPv4Address("127.0.0.1"), 0)
    server, client = TlsTransport(other, _now, [sock]), TlsTransport(one, _now)
    server.trust({"one": one.root.der})
    client.trust({"other": other.root.der})
    serving = asyncio.create_task(server.serve(_echo))
    peer = PeerAddress(name="other", address=f"127.0.0.1:{sock.getsockname()[1]}", root=other.root.der)
    costs = []
    for _ in range(5):
        await client.call(peer, BODY, 10.0)
        before = time.process_time()
        for _ in range(CALLS // 5):
            await client.call(peer, BODY, 10.0)
        costs.append((time.process_time() - before) / (CALLS // 5))
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    client.close()
    return statistics.median(costs)


async def _write(folder: Path) -> float:
    """Seconds until a commit of one record is on disk."""
    create(folder / "w", "w")
    own = SiteKeys(load(folder / "w"))
    store = SqliteStore(folder / "w" / "intertie.db", site="w", decode=decode)
    await store.open(0)
    times = []
    for number in range(WRITES):
        body = NetworkBody(name=f"n{number}", project="demo", prefixes=(), mtu=1450)
        draft = Draft(kind=Kind.NETWORK, id=f"w.n{number}", body=body)
        begun = perf_counter()
        await store.commit(Batch(drafts=(draft,)), lambda d, order: own.seal("w", d, order))
        times.append(perf_counter() - begun)
    await store.close()
    return statistics.median(times)
