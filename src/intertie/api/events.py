"""/v1/events: what happens at this site, as server-sent events (WHATWG HTML, section 9.2).

An event's id is boot-seq: after a restart of the agent the numbers begin anew, and a reader that comes back with an
id of before learns by a `gap` that it missed something. Events are read from the agent's own bounded list, each
reader at its own pace: a slow one misses the oldest, is told so, and costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, Any, cast
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Header, Request
from starlette.responses import StreamingResponse

from intertie.agent.access import Caller, Role
from intertie.api.auth import Reader
from intertie.api.openapi import events_shown, problems
from intertie.api.services import Services
from intertie.api.sight import event_project
from intertie.model.codec import dumps
from intertie.model.errors import Refused
from intertie.model.views import Event

router = APIRouter(prefix="/events", tags=["events"])

STREAMS = 64
STREAMS_OF_A_PROJECT = 16
HEARTBEAT = 15.0
"""Seconds without an event after which a comment shows that the stream is alive."""
GLANCE = 1.0
"""Seconds between looks at what rings no bell: a token that was revoked, an event nobody waited for."""

Stream = AsyncGenerator[bytes, None]
After = Annotated[
    str,
    Header(
        alias="Last-Event-ID",
        description="Resume after this event.",
        max_length=120,
        json_schema_extra={"pattern": "^(([A-Za-z0-9.-]{1,100}-)?[0-9]{1,15})?$"},
    ),
]


class Feed:
    """All event streams of one agent."""

    def __init__(self, services: Services) -> None:
        self._agent = services.agent
        self._services = services
        self._closed = False
        # Weak: a stream whose reader vanished before it began counts no longer than it lives.
        self._streams: WeakKeyDictionary[Any, str] = WeakKeyDictionary()

    def close(self) -> None:
        """End all streams, now and for good."""
        self._closed = True
        self._agent.news.ring()

    def open(self, caller: Caller, after: str) -> Stream:
        """A new stream. Refused (rate) when there are too many, (invalid) when `after` is no event's id."""
        place = self._place(after)
        reader = "" if caller.role is Role.ADMIN else caller.project
        alike = sum(1 for each in self._streams.values() if each == reader)
        if len(self._streams) >= STREAMS or (reader and alike >= STREAMS_OF_A_PROJECT):
            raise Refused("too many readers follow the events", code="rate", hint="end one, or try later")
        stream = self._run(caller, place)
        self._streams[stream] = reader
        return stream

    def _place(self, after: str) -> int:
        """The seq after which to go on; −1: everything that is left, and that something may be missing."""
        last = self._last()
        if not after:
            return last
        boot, _, seq = after.rpartition("-")
        if not (seq.isascii() and seq.isdigit()) or len(seq) > 15:
            raise Refused(f"Last-Event-ID {after!r:.60} is none of ours", hint="the id of an event, or its seq")
        known = boot in ("", self._agent.boot) and int(seq) <= last
        return int(seq) if known else -1

    def _last(self) -> int:
        return self._agent.events[-1].seq if self._agent.events else 0

    async def _run(self, caller: Caller, place: int) -> Stream:
        yield b"retry: 2000\n\n"
        clock = asyncio.get_running_loop().time
        quiet_since = clock()
        while not self._closed and self._services.stands(caller):
            missed, events = self._since(place)
            if missed:
                yield self._message(missed)
            for event in events:
                if caller.role is Role.ADMIN or event_project(self._agent, event) == caller.project:
                    yield self._message(event)
                    quiet_since = clock()
            place = self._last() if place < 0 and not events else events[-1].seq if events else place
            if clock() - quiet_since >= HEARTBEAT:
                yield b": all is quiet\n\n"
                quiet_since = clock()
            if self._last() == place and not self._closed:
                # No await since the last look, so whatever rings from here on is heard.
                await self._agent.news.wait(GLANCE)

    def _since(self, place: int) -> tuple[Event | None, list[Event]]:
        """What came after `place`, and before it a word on what is there no more."""
        kept = self._agent.events
        first = kept[0].seq if kept else self._last() + 1
        events = kept[max(place + 1 - first, 0) :]
        lost = place < 0 or place + 1 < first
        return self._gap(first) if lost else None, events

    def _gap(self, first: int) -> Event:
        what = "events before this one are no longer there: look again at what you follow"
        return Event(seq=max(first - 1, 0), at=self._agent.now(), kind="gap", id="", site=self._agent.site, what=what)

    def _message(self, event: Event) -> bytes:
        return b"id: %s-%d\ndata: %s\n\n" % (self._agent.boot.encode(), event.seq, dumps(event))


@router.get(
    "", summary="Follow events", response_class=StreamingResponse, responses=events_shown() | problems("rate")
)
async def follow_events(request: Request, who: Reader, last_event_id: After = "") -> StreamingResponse:
    """One message for each change, from now on or after Last-Event-ID: {seq, at, kind, id, site, what}.

    You see what happens to your project's Vpns, networks and hosts; an admin sees all.
    """
    feed = cast(Feed, request.app.state.feed)
    return StreamingResponse(
        feed.open(who, last_event_id), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )
