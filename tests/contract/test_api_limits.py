"""The port of the user API under rude clients: each limit is reached, and nothing was spent on who reached it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from intertie.agent import access
from intertie.api import auth, gate
from intertie.api.server import KEPT, LIMITS, MAX_HEAD
from intertie.federation.certificates import issue, join_context
from intertie.federation.keys import create
from intertie.federation.rates import Rate
from tests.contract.test_api_server import Wire, served

QUICK = replace(LIMITS, head=0.5, handshake=0.5)
ASK = "GET /v1/site HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n"


@dataclass
class Client:
    """A connection that says whatever it likes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def rest(self, seconds: float = 10.0) -> bytes:
        """What comes until the server ends the connection."""
        async with asyncio.timeout(seconds):
            parts = []
            with suppress(ConnectionError):
                while part := await self.reader.read(65536):
                    parts.append(part)
            self.writer.transport.abort()
            return b"".join(parts)

    async def ask(self, request: str | bytes) -> bytes:
        """The head and body of one answer; the connection stays."""
        self.writer.write(request.encode() if isinstance(request, str) else request)
        async with asyncio.timeout(10):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = next(
                int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length")
            )
            return head + await self.reader.readexactly(length)

    def gone(self) -> bool:
        return self.reader.at_eof() or self.reader.exception() is not None


async def dial(wire: Wire, source: str = "127.0.0.1") -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", wire.port, local_addr=(source, 0)))


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.01)


async def token_of(wire: Wire, role: str = "reader") -> str:
    made = await wire.local.post("/v1/tokens", json={"project": "demo", "role": role})
    return str(made.json()["token"])


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that is hashed from now on, to find out whose token it is."""
    found: list[str] = []
    plain = access._hash

    def spied(secret: str) -> str:
        found.append(secret)
        return plain(secret)

    monkeypatch.setattr(access, "_hash", spied)
    return found


@asynccontextmanager
async def counted(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """The paths of the requests that reached the application at all."""
    paths: list[str] = []
    whole = gate.Access.__call__

    async def seen(self, scope, receive, send):
        paths.append(scope["path"])
        await whole(self, scope, receive, send)

    with monkeypatch.context() as patch:
        patch.setattr(gate.Access, "__call__", seen)
        yield paths


async def test_a_token_of_a_megabyte_is_never_hashed_nor_even_read(
    hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served() as wire, counted(wire, monkeypatch) as paths:
        client = await dial(wire)
        client.writer.write(ASK.format("itk_" + "x" * 1024 * 1024).encode())
        answer = await client.rest()
        # A connection that is cut while it still talks may not live to hear why.
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
        assert hashed == []
        assert paths == []
        assert (await wire.tcp.get("/livez")).status_code == 200


async def test_a_head_beyond_the_limit_is_told_so_in_our_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as wire, counted(wire, monkeypatch) as paths:
        client = await dial(wire)
        client.writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * (MAX_HEAD + 1))
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"content-type: application/problem+json" in answer
        assert paths == []
        many = b"".join(b"X-%d: y\r\n" % n for n in range(4000))
        client = await dial(wire)
        client.writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n")
        assert (await client.rest())[:13] in (b"", b"HTTP/1.1 400 ")
        assert paths == []


@pytest.fixture
def few_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "UNKNOWN", Rate(30, per_second=0.01))


@pytest.mark.usefixtures("few_guesses")
async def test_guesses_are_not_hashed_for_ever_and_who_is_known_is_not_kept_out(hashed: list[str]) -> None:
    async with served() as wire:
        good = await token_of(wire)
        known = await dial(wire)
        assert (await known.ask(ASK.format(good))).startswith(b"HTTP/1.1 200 ")
        guesser = httpx.AsyncClient(base_url=f"http://127.0.0.1:{wire.port}", trust_env=False)
        statuses = []
        async with guesser:
            for n in range(40):
                answer = await guesser.get("/v1/site", headers={"Authorization": f"Bearer itk_guess{n}"})
                statuses.append(answer.status_code)
                if answer.status_code == 429:
                    break
        assert set(statuses[:-1]) == {401}
        assert answer.json()["code"] == "rate"
        assert "retry-after" in answer.headers
        # The last was refused without a look, and so is whatever comes next from there, of whoever it is.
        assert f"itk_guess{len(statuses) - 1}" not in hashed
        assert f"itk_guess{len(statuses) - 2}" in hashed
        assert (await known.ask(ASK.format(good))).startswith(b"HTTP/1.1 200 ")
        elsewhere = await dial(wire, "127.0.1.1")
        assert (await elsewhere.ask(ASK.format(good))).startswith(b"HTTP/1.1 200 ")
        assert (await wire.local.get("/v1/site")).status_code == 200
        assert (await wire.tcp.get("/livez")).status_code == 200
        for client in (known, elsewhere):
            client.writer.transport.abort()


async def test_who_says_nothing_or_drips_its_head_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(QUICK) as wire, counted(wire, monkeypatch) as paths:
        assert await (await dial(wire)).rest() == b""
        client = await dial(wire)
        ending = asyncio.create_task(client.rest())
        client.writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        while not ending.done():
            with suppress(OSError):
                client.writer.write(b"x")
            await asyncio.wait([ending], timeout=0.02)
        assert await ending == b""
        assert paths == []


async def test_a_second_head_has_no_more_time_than_the_first() -> None:
    async with served(QUICK) as wire:
        client = await dial(wire)
        request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
        for _ in range(3):
            assert (await client.ask(request)).startswith(b"HTTP/1.1 200 ")
        client.writer.write(request[:-4])
        assert await client.rest() == b""
        idle = await dial(wire)
        assert (await idle.ask(request)).startswith(b"HTTP/1.1 200 ")
        assert await idle.rest(KEPT * 4) == b""


async def test_who_is_not_known_cannot_talk_on_after_its_refusal() -> None:
    async with served(QUICK) as wire:
        client = await dial(wire)
        client.writer.write(b"POST /v1/networks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        ending = asyncio.create_task(client.rest())
        while not ending.done():
            with suppress(OSError):
                client.writer.write(b"4\r\nabcd\r\n")
            await asyncio.wait([ending], timeout=0.02)
        assert (await ending).startswith(b"HTTP/1.1 401 ")


async def test_a_body_that_drips_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.3)
    async with served() as wire:
        token = await token_of(wire, "member")
        client = await dial(wire)
        head = (
            f"POST /v1/networks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000\r\n\r\n"
        )
        answer = await client.ask(head.encode() + b"{")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"too-slow"' in answer
        client.writer.transport.abort()


async def test_strangers_give_way_to_each_other_and_never_the_known(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = replace(LIMITS, strangers=12, strangers_per_source=5)
    async with served(limits) as wire:
        token = await token_of(wire)
        known = await dial(wire)
        assert (await known.ask(ASK.format(token))).startswith(b"HTTP/1.1 200 ")
        async with wire.local.stream("GET", "/v1/events") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            flood = [await dial(wire, f"127.0.1.{n % 4 + 1}") for n in range(60)]
            door = wire.servers[0].door
            async with asyncio.timeout(10):
                for client in flood[:40]:
                    assert await client.rest() == b""
            assert len(door._arrivals) <= limits.strangers
            assert (await known.ask(ASK.format(token))).startswith(b"HTTP/1.1 200 ")
            await wire.local.post("/v1/networks", json={"name": "blue", "prefix": "10.0.0.0/24"})
            assert [line async for line in _until(lines, "data: ")]
        for client in (known, *flood):
            client.writer.transport.abort()


async def _until(lines: AsyncIterator[str], begin: str) -> AsyncIterator[str]:
    async for line in lines:
        yield line
        if line.startswith(begin):
            return


async def test_one_token_holds_a_bounded_number_of_connections() -> None:
    async with served(replace(LIMITS, per_peer=4)) as wire:
        one, other = await token_of(wire), await token_of(wire)
        apart = await dial(wire)
        await apart.ask(ASK.format(other))
        clients = []
        for _ in range(7):
            clients.append(await dial(wire))
            assert (await clients[-1].ask(ASK.format(one))).startswith(b"HTTP/1.1 200 ")
        for client in clients[:3]:
            assert await client.rest() == b""
        for client in (*clients[3:], apart):
            assert (await client.ask(ASK.format(one))).startswith(b"HTTP/1.1 200 ") or client is apart
            client.writer.transport.abort()


async def test_connections_that_come_to_nothing_are_closed_before_they_are_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with served(replace(LIMITS, handshakes=Rate(6, 0.001))) as wire, counted(wire, monkeypatch) as paths:
        token = await token_of(wire)
        paths.clear()
        for _ in range(20):
            client = await dial(wire, "127.0.1.1")
            client.writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            await client.rest()
        assert paths == ["/livez"] * 6
        paths.clear()
        # Those on which a token was recognised are not counted.
        for _ in range(20):
            client = await dial(wire)
            assert (await client.ask(ASK.format(token))).startswith(b"HTTP/1.1 200 ")
            client.writer.transport.abort()
        assert len(paths) == 20


async def test_a_handshake_that_is_not_begun_is_cut_and_others_are_served(tmp_path: Path) -> None:
    pem = tmp_path / "pem"
    pem.write_bytes(issue(create(tmp_path / "keys", "nantes"), datetime.now(UTC)).pem)
    async with served(replace(LIMITS, handshake=3.0), str(pem)) as wire:
        silent = await dial(wire)
        wrong = await dial(wire)
        wrong.writer.write(b"GET /livez HTTP/1.1\r\n\r\n")
        url = f"https://127.0.0.1:{wire.port}/livez"
        async with httpx.AsyncClient(verify=join_context(), trust_env=False) as client:
            assert (await client.get(url)).status_code == 200
        assert await silent.rest() == b""
        # The alert of TLS, perhaps, but nothing of HTTP.
        assert b"HTTP" not in await wrong.rest()
        await until(lambda: not wire.servers[0].door._arrivals)


@pytest.mark.usefixtures("few_guesses")
async def test_a_connection_tells_nobody_else_where_it_comes_from(hashed: list[str]) -> None:
    """X-Forwarded-For is anybody's word: with it a guesser would come from a new place each time."""
    async with served() as wire:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{wire.port}", trust_env=False) as guesser:
            statuses = set()
            for n in range(40):
                headers = {
                    "Authorization": "Bearer itk_x",
                    "X-Forwarded-For": f"192.0.2.{n}, nonsense",
                }
                statuses.add((await guesser.get("/v1/site", headers=headers)).status_code)
                if 429 in statuses:
                    break
        assert statuses == {401, 429}
