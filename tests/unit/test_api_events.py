"""/v1/events: who sees what, resuming, and that streams end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.types import Message

from intertie.agent.access import Caller, Role
from intertie.agent.telling import EVENTS
from intertie.api import end_streams
from intertie.api.events import STREAMS, STREAMS_OF_A_PROJECT
from tests.unit.api_lab import Api, api_of, federation, is_problem, one_site, virtually, wish


@dataclass
class Stream:
    """An event stream as a client sees it."""

    start: Message = field(default_factory=dict)
    text: str = ""
    ended: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def events(self) -> list[dict[str, Any]]:
        blocks = [b.split("\n") for b in self.text.split("\n\n")]
        return [json.loads(line[6:]) for b in blocks for line in b if line.startswith("data: ")]

    @property
    def last_id(self) -> str:
        return [line[4:] for line in self.text.split("\n") if line.startswith("id: ")][-1]

    async def until(self, count: int) -> list[dict[str, Any]]:
        for _ in range(600):
            if len(self.events) >= count:
                return self.events
            await asyncio.sleep(0.1)
        raise AssertionError(self.text)


@asynccontextmanager
async def following(api: Api, token: str, after: str = "") -> AsyncIterator[Stream]:
    """Follow as a browser does; going away at the end."""
    stream = Stream()
    headers = [(b"authorization", f"Bearer {token}".encode())]
    headers += [(b"last-event-id", after.encode())] if after else []
    path = "/v1/events"
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
    }

    async def receive() -> Message:
        await stream.gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            stream.start = message
        else:
            stream.text += message["body"].decode()
            stream.ended = not message.get("more_body")

    task = asyncio.create_task(api.app(scope, receive, send))
    await asyncio.sleep(0.01)
    try:
        yield stream
    finally:
        stream.gone.set()
        await asyncio.wait_for(task, 5)


@virtually
async def test_what_happens_is_told() -> None:
    world, api = await one_site()
    async with following(api, await api.token("admin")) as stream:
        assert stream.start["status"] == 200
        headers = dict(stream.start["headers"])
        assert headers[b"content-type"].startswith(b"text/event-stream")
        assert stream.events == []
        await world.net("nantes", "blue", "10.0.0.0/24")
        event = (await stream.until(2))[0]
        assert event.keys() == {"seq", "at", "kind", "id", "site", "what", "request"}
        assert (event["kind"], event["site"], event["what"]) == ("network", "nantes", "live")
        assert event["at"].endswith("Z")
        assert [e["seq"] for e in stream.events] == list(range(event["seq"], event["seq"] + len(stream.events)))
    await world.close()


@virtually
async def test_last_event_id_resumes_without_gap_or_repeat() -> None:
    world, api = await one_site()
    token = await api.token("admin")
    async with following(api, token) as stream:
        await world.net("nantes", "a", "10.0.0.0/24")
        await stream.until(2)
        before = stream.events
        last = stream.last_id
    await world.net("nantes", "b", "10.1.0.0/24")
    for after in (last, last.rpartition("-")[2]):
        async with following(api, token, after) as stream:
            assert (await stream.until(1))[0]["seq"] == before[-1]["seq"] + 1
            assert {e["kind"] for e in stream.events} == {"network", "change"}
    async with following(api, token, "0") as stream:
        assert [e["seq"] for e in stream.events] == list(range(1, api.site.agent.events[-1].seq + 1))
    await world.close()


@virtually
async def test_who_missed_something_is_told_so() -> None:
    world, api = await one_site()
    token = await api.token("admin")
    for i in range(EVENTS + 10):
        api.site.agent.tell("peer", "x", "x", f"{i}")
    async with following(api, token, "3") as stream:
        first, second, *_ = await stream.until(EVENTS + 1)
        assert first["kind"] == "gap"
        assert first["seq"] + 1 == second["seq"]
        assert len(stream.events) == EVENTS + 1
    # The agent began anew: its numbers mean other events now.
    old = f"{api.site.agent.boot}-1"
    await world.crash("nantes")
    api = api_of(await world.start("nantes"))
    api.site.agent.tell("peer", "x", "x", "the first of the new ones")
    async with following(api, await api.token("admin"), old) as stream:
        first, second, *_ = await stream.until(2)
        assert (first["kind"], second["seq"]) == ("gap", 1)
    async with following(api, await api.token("admin"), "999999") as stream:
        assert (await stream.until(1))[0]["kind"] == "gap"
    await world.close()


@pytest.mark.parametrize("after", ["x", "-", "01-", "01-x", "٣", "9" * 16])
@virtually
async def test_an_id_that_is_none_of_ours(after: str) -> None:
    world, api = await one_site()
    response = await api.call("GET", "/v1/events", None, await api.token("admin"), Last_Event_ID=after.encode())  # type: ignore[arg-type]
    is_problem(response, 422, "invalid")
    await world.close()


@virtually
async def test_a_tenant_sees_what_is_its_projects_and_an_admin_all() -> None:
    world, apis = await federation("nantes", "lyon")
    api = apis["nantes"]
    async with (
        following(api, await api.token("admin")) as admin,
        following(api, await api.token("reader")) as mine,
        following(api, await api.token("reader", "other")) as theirs,
    ):
        await world.net("nantes", "blue", "10.0.0.0/24")
        await api.post("/v1/vpns", wish("blue", "l2", "nantes:blue", "lyon"), Prefer="wait=10")
        await world.until(lambda: world.phase("nantes", "blue") == "ready")
        await api.post("/v1/hosts", {"name": "h", "network": "blue"})
        await api.post("/v1/networks", {"name": "green", "prefix": "10.9.0.0/24"}, X_Intertie_Project="other")
        api.site.agent.tell("peer", "lyon", "lyon", "the operator's business")
        await api.call("DELETE", "/v1/vpns/blue?force=true", None, If_Match="*")
        await asyncio.sleep(5)
        kinds = {e["kind"] for e in mine.events}
        assert kinds == {"network", "vpn", "answer", "change", "health", "host"}
        assert [e["what"] for e in mine.events if e["kind"] == "vpn"][-1] == "withdrawn"
        assert {e["kind"] for e in theirs.events} == {"network", "change"}
        assert all("green" in e["what"] for e in theirs.events if e["kind"] == "change")
        assert "green" not in mine.text
        assert "blue" not in theirs.text
        seen = {e["seq"] for e in admin.events}
        assert seen > {e["seq"] for e in mine.events} | {e["seq"] for e in theirs.events}
        assert seen == set(range(min(seen), max(seen) + 1))
    await world.close()


@virtually
async def test_a_quiet_stream_shows_that_it_lives() -> None:
    world, api = await one_site()
    async with following(api, await api.token("admin")) as stream:
        await asyncio.sleep(40)
        assert stream.text.count("\n: ") == 2
        assert stream.events == []
    await world.close()


@virtually
async def test_a_revoked_token_ends_its_stream() -> None:
    world, api = await one_site()
    token = await api.token("admin")
    async with following(api, token) as stream:
        [view] = api.site.tokens.all()
        await api.site.tokens.revoke(view.id)
        await asyncio.sleep(2)
        assert stream.ended
    await world.close()


@virtually
async def test_streams_end_at_shutdown() -> None:
    world, api = await one_site()
    token = await api.token("admin")
    async with following(api, token) as one, following(api, token) as two:
        end_streams(api.app)
        await asyncio.sleep(0.01)
        assert (one.ended, two.ended) == (True, True)
    await world.close()


@virtually
async def test_readers_are_bounded_and_come_and_go() -> None:
    world, api = await one_site()
    feed = api.app.state.feed
    member = Caller(project="demo", role=Role.MEMBER)
    admin = Caller(project="demo", role=Role.ADMIN)
    streams = [feed.open(member, "") for _ in range(STREAMS_OF_A_PROJECT)]
    token = await api.token("member")
    is_problem(await api.get("/v1/events", token), 429, "rate")
    streams += [feed.open(admin, "") for _ in range(STREAMS - len(streams))]
    is_problem(await api.get("/v1/events", await api.token("admin")), 429, "rate")
    # A stream that was never begun, and one that its reader left: both make room.
    del streams[-1]
    await streams[0].aclose()
    del streams[0]
    async with following(api, token) as stream:
        assert stream.start["status"] == 200
    await world.close()
