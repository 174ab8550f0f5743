"""/v1/events: what happens at a site, as it happens (server-sent events, WHATWG HTML, section 9.2)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

from intertie.client.calls import Calls, Request
from intertie.client.reading import Json, reader
from intertie.model.errors import IntertieError, Unavailable
from intertie.model.views import Event

SILENCE = 50.0
"""Seconds without a word after which a stream is given up: the agent sends a comment every 15 s."""
PAUSE = 2.0
"""Seconds before a lost stream is taken up again, unless the agent tells another time (`retry`)."""


@dataclass(frozen=True, slots=True)
class Message:
    """An event: typed, and `told` as it was sent. `id` is what to resume after."""

    id: str
    event: Event
    told: Json


class Stream:
    """One connection's messages, and what it leaves for the next: the last id, and how long to pause."""

    def __init__(self, calls: Calls, after: str = "", silence: float = 0.0) -> None:
        self.last = after
        self.pause = PAUSE
        self.heard = False
        """Whether the agent said anything, if only that all is quiet."""
        self._calls = calls
        self._silence = silence

    def __iter__(self) -> Iterator[Message]:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": self.last} if self.last else {})}
        with self._calls.lines(Request(path="/v1/events", headers=headers), self._silence) as lines:
            yield from self._messages(lines)

    def _messages(self, lines: Iterator[str]) -> Iterator[Message]:
        data: list[str] = []
        for line in lines:
            self.heard = True
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "id":
                self.last = value
            elif field == "data":
                data.append(value)
            elif field == "retry" and value.isascii() and value.isdigit():
                self.pause = int(value) / 1000
            elif not line and data:
                told = _parsed("\n".join(data))
                yield Message(self.last, reader(Event)(told), told)
                data = []


def _parsed(text: str) -> Json:
    try:
        found: Json = json.loads(text)
    except ValueError as error:
        raise IntertieError(f"an event is not JSON: {text[:200]}", code="broken") from error
    return found


def follow(calls: Calls, after: str, patience: float) -> Iterator[Message]:
    """Messages without end: a stream that breaks is taken up after the last one that came.

    Who missed something meanwhile gets an event of kind `gap` from the agent. Unavailable when no agent answers for
    `patience` seconds.
    """
    stream = Stream(calls, after, SILENCE)
    lost = 0.0
    while True:
        stream.heard = False
        try:
            yield from stream
        except Unavailable:
            now = time.monotonic()
            lost = now if stream.heard or not lost else lost
            if now - lost >= patience:
                raise
        else:
            lost = 0.0
        time.sleep(stream.pause)
