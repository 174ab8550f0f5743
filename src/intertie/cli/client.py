"""The REST API over httpx: one call, one reply, and every failure a `Problem`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from intertie import __version__
from intertie.cli.body import Body, Json
from intertie.cli.problem import Problem, told
from intertie.cli.where import START, Place

if TYPE_CHECKING:
    # Only a command that calls an agent pays for loading it.
    import httpx

SECONDS = 30.0
"""For an answer, beyond what the agent was asked to wait."""
PAGE = 500
LONGEST = 3600.0
"""Seconds to ask for in one request; the agent grants less."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is no error. `etag` is "" where the API gives none."""

    status: int
    body: Body
    etag: str


@dataclass(frozen=True, slots=True)
class Event:
    """One message of /v1/events. `id` is what Last-Event-ID resumes after."""

    id: str
    body: Body


def segment(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")


class Client:
    """An agent's API. Every method raises Problem."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._http: httpx.Client | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        if self._http is not None:
            self._http.close()

    def get(self, path: str, **query: str) -> Reply:
        return self.call("GET", path, query=query)

    def items(self, path: str, **query: str) -> Body:
        """A list, all its pages: {"items": […], "next": null}, and whatever else the first page says."""
        first = self.get(path, limit=str(PAGE), **query).body
        found = first.parts("items")
        marker = first.text("next")
        if not marker:
            return first
        while marker:
            page = self.get(path, limit=str(PAGE), marker=marker, **query).body
            found += page.parts("items")
            marker = page.text("next")
        return Body({"items": [each.told for each in found], "next": None})

    def call(
        self,
        method: str,
        path: str,
        body: Json = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        wait: float = 0.0,
        patience: float = SECONDS,
    ) -> Reply:
        """One request. With `wait`, the agent may hold its answer for that many seconds (`Prefer: wait`)."""
        more = {**(headers or {}), **({"Prefer": f"wait={min(round(wait, 3), LONGEST):g}"} if wait else {})}
        http = self._open()
        request = http.build_request(
            method,
            path,
            json=body,
            params=dict(query or {}),
            headers=more,
            timeout=self._timeout(patience + 2 * wait),
        )
        response = self._send(request)
        if response.is_error:
            raise told(response.status_code, response.text)
        return Reply(response.status_code, _parsed(response), response.headers.get("ETag", ""))

    def events(self, after: str = "") -> Iterator[Event]:
        """What happens from now on, or after the event with this id, until the agent ends the stream."""
        import httpx

        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        # A quiet federation sends nothing for long: only connecting has a deadline.
        request = self._open().build_request(
            "GET", "/v1/events", headers=headers, timeout=httpx.Timeout(SECONDS, read=None)
        )
        response = self._send(request, stream=True)
        try:
            if response.is_error:
                response.read()
                raise told(response.status_code, response.text)
            yield from _messages(response.iter_lines())
        except httpx.TransportError as error:
            raise Problem("silent", f"the events of {self.place.words} stopped: {error}") from error
        finally:
            response.close()

    def _open(self) -> httpx.Client:
        if self._http is None:
            import httpx

            place = self.place
            headers = {"User-Agent": f"intertie/{__version__}", "Accept": "application/json"}
            if place.token:
                headers["Authorization"] = f"Bearer {place.token}"
            transport = None
            if place.socket is not None:
                headers["X-Intertie-Project"] = place.project
                transport = httpx.HTTPTransport(uds=str(place.socket))
            # A proxy of the environment is for far agents: this machine's own is never behind it.
            near = place.socket is not None or urlsplit(place.url).hostname in _LOOPBACK
            self._http = httpx.Client(
                base_url=place.url, headers=headers, transport=transport, trust_env=not near, follow_redirects=False
            )
        return self._http

    def _timeout(self, seconds: float) -> httpx.Timeout:
        import httpx

        return httpx.Timeout(seconds, connect=min(seconds, 10.0))

    def _send(self, request: httpx.Request, stream: bool = False) -> httpx.Response:
        import httpx

        try:
            return self._open().send(request, stream=stream)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Problem(
                "unreachable", f"no agent answers at {self.place.words}: {error or 'no connection'}", START
            ) from error
        except httpx.TimeoutException as error:
            raise Problem(
                "silent", f"{self.place.words} took the request and did not answer it in time", "intertie status"
            ) from error
        except httpx.HTTPError as error:
            raise Problem("broken", f"{request.method} {request.url} failed: {error}") from error


def _parsed(response: httpx.Response) -> Body:
    if not response.content:
        return Body(None)
    try:
        return Body(response.json())
    except ValueError as error:
        raise Problem(
            "broken", f"{response.request.url} answered with something that is not JSON", "is this an agent's URL?"
        ) from error


def _messages(lines: Iterator[str]) -> Iterator[Event]:
    """Server-sent events (WHATWG HTML, section 9.2) of JSON objects; comments and other fields pass by."""
    id, data = "", []
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            id = value
        elif field == "data":
            data.append(value)
        elif not line and data:
            try:
                yield Event(id, Body(json.loads("\n".join(data))))
            except ValueError as error:
                raise Problem("broken", f"an event is not JSON: {data[0][:200]}") from error
            data = []
