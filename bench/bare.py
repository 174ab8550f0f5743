"""`python -m bench.bare [DIR]`: the least that the same framework can do: FastAPI on uvicorn, and nothing else.

It has a token to compare, one Vpn to show, a list of a hundred, and a table of SQLite to write into, forced to disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sqlite3
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any

import uvicorn
import uvloop
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from bench.children import until_stdin_ends

TOKEN = "itk_" + "x" * 32
SHOWN = Path(tempfile.gettempdir()) / f"intertie-bench-{os.getuid()}.json"
"""A Vpn as our API shows it: both send the same octets."""

_bearer = Depends(HTTPBearer())


async def allowed(given: Annotated[HTTPAuthorizationCredentials, _bearer]) -> None:
    if not secrets.compare_digest(given.credentials, TOKEN):
        raise HTTPException(401)


def build(folder: Path) -> FastAPI:
    app, vpn, thread = FastAPI(), json.loads(SHOWN.read_text()) if SHOWN.exists() else {}, ThreadPoolExecutor(1)
    database = sqlite3.connect(folder / "bare.db", check_same_thread=False)
    database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE IF NOT EXISTS t (v TEXT)")
    may = [Depends(allowed)]

    def keep(body: dict[str, Any]) -> None:
        with database:
            database.execute("INSERT INTO t VALUES (?)", (json.dumps(body),))

    @app.get("/v1/vpns/{id}", dependencies=may)
    async def one(id: str) -> dict[str, Any]:
        return {**vpn, "id": id}

    @app.get("/v1/vpns", dependencies=may)
    async def all(limit: int = 100) -> dict[str, Any]:
        return {"items": [vpn] * limit, "next": None}

    @app.post("/v1/vpns", status_code=201, dependencies=may)
    async def make(request: Request) -> dict[str, Any]:
        body = await request.json()
        await asyncio.get_running_loop().run_in_executor(thread, keep, body)
        return {**vpn, **body}

    return app


async def serve(folder: Path) -> None:
    from intertie.federation.peer_server import listen

    sock = listen(IPv4Address("127.0.0.1"), 0)
    config = uvicorn.Config(build(folder), log_config=None, access_log=False, lifespan="off")
    serving = asyncio.create_task(uvicorn.Server(config).serve(sockets=[sock]))
    print(sock.getsockname()[1], TOKEN, flush=True)
    await until_stdin_ends()
    serving.cancel()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1])))
