"""What holds for every request: an id, a line in the log, a size and a shape that are safe to read."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intertie.agent.causes import OPENSTACK_ID, REQUEST_ID, TRACEPARENT, Cause, because
from intertie.api import problems
from intertie.api.services import Services
from intertie.federation.rates import Meter, Rate
from intertie.model.errors import IntertieError, Refused
from intertie.model.json_text import loads

log = structlog.get_logger()

MAX_BODY = 1024 * 1024
BODY_SECONDS = 30.0
"""For all of a body to come."""
UNDER_WAY = 100
REQUESTS = Rate(2000, per_second=200.0)
"""Of one token."""
STREAMS = frozenset({"follow_events"})
"""Operations that take as long as the caller likes."""
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})
"""Asked for by machines every few seconds: not worth a line."""


class Access:
    """ASGI: gives each request an id (the caller's, if it brought a decent one), and tells the log how it ended."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self.app = app
        self._agent = services.agent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id") or headers.get("x-openstack-request-id", "")
        id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        state = scope.setdefault("state", {})
        state["request_id"] = id
        begun = time.monotonic()
        status = 500

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _complete(MutableHeaders(scope=message), id)
            await send(message)

        parent = Headers(scope=scope).get("traceparent", "")
        span = self._agent.ports.tracer.span(
            "request", parent if TRACEPARENT.fullmatch(parent) else "", method=scope["method"], request=id
        )
        try:
            with span as trace, because(Cause(id, trace)):
                await self.app(scope, receive, told)
        finally:
            seconds = time.monotonic() - begun
            self._count(scope, status, seconds)
            _tell(scope, status, round(seconds * 1000, 1))

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        figures, operation = self._agent.figures, getattr(scope.get("route"), "name", "none")
        figures.requests[(operation, str(status))] += 1
        if operation not in STREAMS:
            figures.request_seconds[(operation,)].add(seconds)


def _complete(headers: MutableHeaders, id: str) -> None:
    headers["X-Request-Id"] = id
    if OPENSTACK_ID.fullmatch(id):
        headers["X-Openstack-Request-Id"] = id
    headers.setdefault("X-Content-Type-Options", "nosniff")
    # Answers hold tokens, and what was true a moment ago.
    headers.setdefault("Cache-Control", "no-store")


def _tell(scope: Scope, status: int, ms: float) -> None:
    state = scope["state"]
    caller = state.get("caller")
    # The path as it was sent, percent-encoded: nothing in it can end a line of the log.
    path = scope.get("raw_path", b"").decode("ascii", "replace")
    # Who only looked changed nothing, and is worth a line when it did not work.
    quiet = scope["method"] in ("GET", "HEAD", "OPTIONS") and status < 400
    line = log.debug if quiet or scope["path"] in _QUIET else log.info
    line(
        "request",
        request=state["request_id"],
        method=scope["method"],
        path=path,
        status=status,
        ms=ms,
        project=caller.project if caller else "",
        token=caller.token if caller else "",
    )


class Crowd:
    """ASGI: at most `UNDER_WAY` requests of one token at a time, held ones and streams included, and REQUESTS one
    after the other: nobody can take the agent's time from the others. The operator takes time from nobody else."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._under_way: Counter[str] = Counter()
        self._requests = Meter(REQUESTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = scope.get("state", {}).get("caller")
        if caller is None:
            await self.app(scope, receive, send)
            return
        busy = self._under_way[caller.token] >= UNDER_WAY
        if busy or (caller.token and not self._requests.take(caller.token, asyncio.get_running_loop().time())):
            words = f"{UNDER_WAY} requests are under way already" if busy else "too many requests"
            error = Refused(words, code="rate", hint="wait for one to end" if busy else "more slowly")
            await problems.refusal(error, {"Retry-After": "1"})(scope, receive, send)
            return
        self._under_way[caller.token] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._under_way[caller.token] -= 1
            self._under_way += Counter()  # leaves out those at zero


class Limits:
    """ASGI: reads the whole body, of at most 1 MiB, and looks at its shape before any parser that might mind."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        try:
            body = await _read(Headers(scope=scope), receive)
        except IntertieError as error:
            # Whatever is still to come is not read, so the connection cannot serve again.
            await problems.refusal(error, {"Connection": "close"})(scope, receive, send)
            return
        if body is not None:
            await self.app(scope, _replay(body, receive), send)


async def _read(headers: Headers, receive: Receive) -> bytes | None:
    """The body; None if the caller went away. Refused: too large, not JSON, or nested too deep."""
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length) > MAX_BODY:
        raise _too_large()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _whole(receive)
    except TimeoutError:
        raise Refused(f"the body did not come within {BODY_SECONDS:g} s", code="too-slow") from None
    if body:
        _check_type(headers.get("content-type", ""))
        loads(body, MAX_BODY)
    return body


async def _whole(receive: Receive) -> bytes | None:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise _too_large()
        if not message.get("more_body"):
            return bytes(body)


def _too_large() -> Refused:
    return Refused(f"a request may have {MAX_BODY} octets", code="too-large")


def _check_type(given: str) -> None:
    media = given.partition(";")[0].strip().lower()
    if media and media != "application/json" and not media.endswith("+json"):
        raise Refused(f"{media} is not read here", code="unsupported-media-type", hint="application/json")


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
