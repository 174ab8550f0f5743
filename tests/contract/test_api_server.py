"""The API behind the real server, on a TCP port of the loopback and on a Unix socket: what only a wire can show."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI

from intertie.api import end_streams, trusted
from intertie.api.gate import MAX_BODY
from intertie.api.server import LIMITS, Server, server
from intertie.federation.peer_door import Limits
from intertie.testing.federation import World
from tests.unit.api_lab import api_of


@dataclass
class Wire:
    app: FastAPI
    servers: list[Server]
    port: int
    tcp: httpx.AsyncClient
    local: httpx.AsyncClient
    tasks: list[asyncio.Task[None]]

    async def stop(self) -> None:
        """As `main` does."""
        end_streams(self.app)
        for each in self.servers:
            each.should_exit = True
        await asyncio.wait_for(asyncio.gather(*self.tasks), 5)


@asynccontextmanager
async def served(limits: Limits = LIMITS, pem: str = "") -> AsyncIterator[Wire]:
    world = World(delay=0.0)
    app = api_of(await world.site("nantes")).app
    tcp = socket.create_server(("127.0.0.1", 0))
    port = tcp.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "api.sock")
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(path)
        unix.listen()
        servers = [server(app, certificate=pem, key=pem, limits=limits), server(trusted(app), limits=limits)]
        tasks = [asyncio.create_task(s.serve([sock])) for s, sock in zip(servers, (tcp, unix), strict=True)]
        async with (
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as over_tcp,
            httpx.AsyncClient(base_url="http://agent", transport=httpx.AsyncHTTPTransport(uds=path)) as over_unix,
        ):
            wire = Wire(app, servers, port, over_tcp, over_unix, tasks)
            try:
                yield wire
            finally:
                await wire.stop()
                await world.close()


async def test_the_socket_needs_no_token_and_tcp_does() -> None:
    async with served() as wire:
        assert (await wire.tcp.get("/v1/site")).status_code == 401
        assert (await wire.local.get("/v1/site")).status_code == 200
        token = (await wire.local.post("/v1/tokens", json={"project": "demo", "role": "admin"})).json()["token"]
        answer = await wire.tcp.get("/v1/site", headers={"Authorization": f"Bearer {token}"})
        assert answer.json()["name"] == "nantes"
        assert "server" not in answer.headers


async def test_one_connection_serves_many_answers_with_and_without_bodies() -> None:
    async with served() as wire:
        for i in range(3):
            body = {"name": f"n{i}", "prefix": f"10.0.{i}.0/24"}
            assert (await wire.local.post("/v1/networks", json=body)).status_code == 201
            gone = await wire.local.delete(f"/v1/networks/n{i}")
            assert (gone.status_code, gone.content) == (204, b"")
        assert (await wire.local.get("/v1/networks")).json()["items"] == []


async def test_a_body_without_end_is_cut_off() -> None:
    async with served() as wire:
        token = (await wire.local.post("/v1/tokens", json={"project": "demo", "role": "reader"})).json()["token"]
        reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
        head = f"POST /v1/networks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 50 * MAX_BODY and not reader.at_eof():
                writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                await writer.drain()
                sent += 65536
                if sent > 2 * MAX_BODY:
                    break
        answer = await asyncio.wait_for(reader.read(4096), 5)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b'"code":"too-large"' in answer
        writer.close()
        assert (await wire.tcp.get("/livez")).status_code == 200


async def test_who_is_not_known_is_answered_before_its_body_is_read() -> None:
    async with served() as wire:
        reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
        writer.write(b"POST /v1/networks HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(64), 5)).startswith(b"HTTP/1.1 401 ")
        writer.close()


async def test_events_come_as_they_happen_and_the_stream_ends_at_shutdown() -> None:
    async with served() as wire:
        async with wire.local.stream("GET", "/v1/events") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            await wire.local.post("/v1/networks", json={"name": "blue", "prefix": "10.0.0.0/24"})
            async for line in lines:
                if line.startswith("data: "):
                    assert json.loads(line[6:])["kind"] == "network"
                    break
            stop = asyncio.create_task(wire.stop())
            rest = [line async for line in lines]
            await stop
        assert all(line == "" or line.startswith(("id: ", "data: ")) for line in rest)
        assert all(task.done() for task in wire.tasks)


@pytest.mark.parametrize(
    "target", ["/v1/vpns/%00", "/v1/vpns/" + "a" * 8000, "/v1/vpns/%2e%2e%2fsite", "/v1/vpns/%ff"]
)
async def test_odd_paths_are_answered(target: str) -> None:
    async with served() as wire:
        answer = await wire.local.get(target)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
