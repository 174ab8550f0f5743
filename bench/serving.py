"""`python -m bench.serving DIR VPNS`: the agent of a laden site serves its API on loopback; says port and tokens.

All of `intertie.main` is imported, as in a real agent; only cloud and data plane are fakes.
"""

from __future__ import annotations

import asyncio
import os
import sys
from ipaddress import IPv4Address
from pathlib import Path

import structlog
import uvloop

from bench.ballast import carry, compose
from bench.children import until_stdin_ends
from intertie import main as everything
from intertie.api import build
from intertie.federation.peer_server import listen
from intertie.serving import server

TOKENS = 48
"""A token is good for 200 requests a second, after a first 2,000: each turn of a benchmark takes the next one."""


def log_to_nowhere() -> None:
    """The lines of a real agent, as `intertie.main` makes them; only that nobody reads them."""
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event"), bool_as_flag=False),
        ],
        logger_factory=structlog.PrintLoggerFactory(open(os.devnull, "w")),  # noqa: SIM115 as long as the process
    )


async def serve(folder: Path, vpns: int) -> None:
    laden = compose(folder, vpns)
    agent, rounds = laden.agent, laden.rounds
    await agent.open()
    await rounds.first_look()
    if vpns:
        carry(laden)
    sock = listen(IPv4Address("127.0.0.1"), 0)
    api = asyncio.create_task(server(build(laden.services)).serve(sockets=[sock]))
    parts = [asyncio.create_task(work) for work in (rounds.run(), laden.exchange.run(), laden.services.health.run())]
    tokens = [await laden.services.tokens.create("demo", "admin") for _ in range(TOKENS)]
    assert everything  # imported for what it holds in memory
    print(sock.getsockname()[1], *(token.token for token in tokens), flush=True)
    await until_stdin_ends()
    for part in (api, *parts):
        part.cancel()


if __name__ == "__main__":
    log_to_nowhere()
    uvloop.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
