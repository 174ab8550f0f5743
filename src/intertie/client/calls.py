"""One request, one answer: the REST API over httpx. Every failure is an error of the tree (`client.errors`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import quote, urlsplit

from intertie import __version__
from intertie.client.errors import told as error_told
from intertie.client.place import START, Place
from intertie.client.reading import Json, nothing
from intertie.client.trust import trusted
from intertie.model.errors import IntertieError, Unavailable

if TYPE_CHECKING:
    # Only who calls an agent pays for loading it.
    import httpx

SECONDS = 30.0
"""For an answer, beyond what the agent was asked to wait."""
LONGEST = 3600.0
"""Seconds to ask for in one request; the agent grants less."""
MICROVERSION = "intertie 1.0"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What an agent answered: `value` typed, and `told` as it was sent.

    `etag` is "" where the API gives none; `request_id` is found again in the logs of all sites that were reached.
    """

    value: T
    told: Json
    status: int = 200
    etag: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On which terms a change is asked for.

    `wait`: seconds for which the agent may hold its answer until all is settled. `match`: the version that is meant,
    an ETag or the `base_version` of a plan ("" for the one that was seen, "*" for any). `key`: a text of the
    caller's choice; the same request with the same key is carried out once.
    """

    wait: float = 0.0
    match: str = ""
    key: str = ""

    def headers(self, seen: str = "") -> dict[str, str]:
        """As HTTP says it; `seen` is the ETag of what the caller looked at."""
        found = {}
        if tag := self.match or seen:
            found["If-Match"] = tag if tag == "*" or tag.startswith('"') else f'"{tag}"'
        if self.key:
            found["Idempotency-Key"] = self.key
        if self.wait:
            found["Prefer"] = f"wait={min(round(self.wait, 3), LONGEST):g}"
        return found


AT_ONCE = Terms()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`seconds`: for the answer; 0 for the client's own patience. `wait`: what the agent is asked to hold it for."""

    method: str = "GET"
    path: str
    body: Json = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0
    seconds: float = 0.0


def segment(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")


class Calls:
    """An agent's API as requests. `seconds`: how long to wait for an answer, unless a request says otherwise."""

    def __init__(self, place: Place, seconds: float = SECONDS, request_id: str = "") -> None:
        self.place = place
        self.seconds = seconds
        self._request_id = request_id
        self._http: httpx.Client | None = None

    def close(self) -> None:
        if self._http is not None:
            self._http.close()

    def ask(self, read: Callable[[Json], T], request: Request) -> Answer[T]:
        """The answer, if it is no error."""
        patience = request.seconds or self.seconds
        response = self._send(self._built(request, self._timeout(patience + 2 * request.wait)))
        id = response.headers.get("X-Request-Id", "")
        if response.is_error:
            raise error_told(response.status_code, response.text, id)
        parsed = None if read is nothing else _parsed(response)
        return Answer(read(parsed), parsed, response.status_code, response.headers.get("ETag", ""), id)

    @contextmanager
    def lines(self, request: Request, silence: float) -> Iterator[Iterator[str]]:
        """The lines of an answer that goes on; `silence` is how many seconds may pass without one, 0 for ever."""
        import httpx

        response = self._send(self._built(request, httpx.Timeout(self.seconds, read=silence or None)), stream=True)
        try:
            if response.is_error:
                response.read()
                raise error_told(response.status_code, response.text, response.headers.get("X-Request-Id", ""))
            yield response.iter_lines()
        except httpx.TransportError as error:
            raise Unavailable(f"the events of {self.place.words} stopped: {error}", code="silent") from error
        finally:
            response.close()

    def _built(self, request: Request, timeout: httpx.Timeout) -> httpx.Request:
        more = {"X-Request-Id": self._request_id} if self._request_id else {}
        if self.place.tokens is not None:
            more |= _keystone(self.place.tokens(False))
        return self._open().build_request(
            request.method,
            request.path,
            json=request.body,
            params=dict(request.query),
            headers={**more, **request.headers},
            timeout=timeout,
        )

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
                base_url=place.url,
                headers=headers,
                transport=transport,
                trust_env=not near,
                follow_redirects=False,
                verify=trusted(place.verify, place.cert),
            )
        return self._http

    def _timeout(self, seconds: float) -> httpx.Timeout:
        import httpx

        return httpx.Timeout(seconds, connect=min(seconds, 10.0))

    def _send(self, request: httpx.Request, stream: bool = False) -> httpx.Response:
        response = self._sent(request, stream)
        if response.status_code == 401 and self.place.tokens is not None and "X-Auth-Token" in request.headers:
            # A token may end, or be taken back, while somebody waits for a Vpn.
            response.close()
            request.headers.update(_keystone(self.place.tokens(True)))
            response = self._sent(request, stream)
        return response

    def _sent(self, request: httpx.Request, stream: bool) -> httpx.Response:
        import httpx

        words = self.place.words
        try:
            return self._open().send(request, stream=stream)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unavailable(
                f"no agent answers at {words}: {error or 'no connection'}", code="unreachable", hint=START
            ) from error
        except httpx.TimeoutException as error:
            raise Unavailable(
                f"{words} took the request and did not answer it in time", code="silent", hint="intertie status"
            ) from error
        except httpx.HTTPError as error:
            raise IntertieError(f"{request.method} {request.url} failed: {error}", code="broken") from error


def _keystone(token: str) -> dict[str, str]:
    """A Keystone token as its users send it; nothing where nobody logged in."""
    if not token:
        return {}
    return {"X-Auth-Token": token, "OpenStack-API-Version": MICROVERSION}


def _parsed(response: httpx.Response) -> Json:
    if not response.content:
        return None
    try:
        found: Json = response.json()
    except ValueError as error:
        raise IntertieError(
            f"{response.request.url} answered with something that is not JSON",
            code="broken",
            hint="is this an agent's URL?",
        ) from error
    return found
