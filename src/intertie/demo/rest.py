"""What the story says to a site: the public REST API of docs/interface.md, over httpx, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from intertie.cli.problem import EXITS, Exit
from intertie.demo.abort import NOT_CONVERGED, Abort

Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]

_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One host of a pair."""

    site: str
    host: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two hosts, and what a verification found between them."""

    source: End
    target: End
    ok: bool
    rtt_ms: float | None = None
    mtu: int | None = None
    """Octets of the largest IP packet seen to cross unfragmented."""
    broken_at: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    site: str
    network: str
    answer: str
    health: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vpn:
    """A Vpn as its home shows it; only what the story looks at."""

    id: str
    name: str
    kind: str
    transport: str
    mtu: int
    phase: str
    reason: str
    members: tuple[Member, ...]

    @property
    def accepted(self) -> bool:
        return all(member.answer == "accepted" for member in self.members)

    @property
    def ready(self) -> bool:
        return self.phase == "ready" and all(member.health == "ready" for member in self.members)

    @property
    def state(self) -> str:
        """One line: the phase, and each member's word and health."""
        words = ", ".join(f"{member.site} {member.answer}/{member.health}" for member in self.members)
        return f"{self.phase} ({words})" + (f": {self.reason}" if self.reason else "")


def words(told: Any) -> str:
    """A reason as text, whether the API gives a string, {code, text, hint} or nothing."""
    if isinstance(told, Mapping):
        return " ".join(str(told[part]) for part in ("text", "hint") if told.get(part)) or str(told.get("code", ""))
    return str(told or "")


def parse_vpn(told: Any) -> Vpn:
    """KeyError when a field of the contract is missing."""
    return Vpn(
        id=told["id"],
        name=told["name"],
        kind=told["kind"],
        transport=told["transport"],
        mtu=told["mtu"],
        phase=told["phase"],
        reason=words(told["reason"]),
        members=tuple(
            Member(
                site=member["site"],
                network=member["network"] or "",
                answer=member["answer"],
                health=member["health"],
                reason=words(member["reason"]),
            )
            for member in told["members"]
        ),
    )


def _end(told: Any) -> End:
    return End(site=told["site"], host=told["host"], address=told["address"])


def parse_pair(told: Any) -> Pair:
    """KeyError when a field of the contract is missing."""
    return Pair(
        source=_end(told["from"]),
        target=_end(told["to"]),
        ok=told["ok"],
        rtt_ms=told["rtt_ms"],
        mtu=told["mtu"],
        broken_at=words(told.get("broken_at")),
        hint=words(told.get("hint")),
    )


def _problem(site: str, request: httpx.Request, response: httpx.Response) -> Abort:
    """A problem (RFC 9457) in words, with the exit code that every command gives for it."""
    what = f"{site}: {request.method} {request.url.path} → {response.status_code}"
    try:
        told = response.json()
        code, detail, hint = str(told.get("code", "")), str(told.get("detail", "")), words(told.get("hint"))
    except (ValueError, AttributeError):
        code, detail, hint = "", response.text[:300], ""
    exit_code = int(EXITS.get(code, Exit.FAILED))
    return Abort(f"{what} {code}: {detail}", hint=hint, code=exit_code, problem=code, site=site)


class Rest:
    """One site's API with one token; `Rest.local` speaks as admin over the agent's own socket.

    Every method raises Abort with the site's words when the answer is an error, and with code 3 when the
    site does not answer in time.
    """

    def __init__(self, site: str, client: httpx.Client) -> None:
        self.site = site
        self._client = client

    @classmethod
    def at(cls, site: str, url: str, token: str) -> Rest:
        """The API at `url`; an empty token speaks without one."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return cls(site, httpx.Client(base_url=url, headers=headers, timeout=_SECONDS, trust_env=False))

    @classmethod
    def local(cls, site: str, path: Path) -> Rest:
        """The admin's socket: who may open the file is its admin."""
        transport = httpx.HTTPTransport(uds=str(path))
        return cls(site, httpx.Client(base_url="http://agent", transport=transport, timeout=_SECONDS))

    def __enter__(self) -> Rest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def ready(self, seconds: float) -> bool:
        """Whether the agent says within `seconds` that it is ready."""
        try:
            return self._client.get("/readyz", timeout=seconds).is_success
        except httpx.TransportError:
            return False

    def get(self, path: str) -> Any:
        """The body of GET `path`."""
        return self._call("GET", path)

    def items(self, path: str) -> list[Any]:
        """All items of a list, page by page."""
        found: list[Any] = []
        marker = ""
        while True:
            page = self.get(f"{path}?limit=200" + (f"&marker={marker}" if marker else ""))
            found.extend(page["items"])
            marker = page.get("next") or ""
            if not marker:
                return found

    def post(self, path: str, body: Json = None, *, wait: float = 0.0) -> Any:
        """The body of the answer to POST `path`; with `wait`, the site holds it that long until settled."""
        headers = {"Prefer": f"wait={wait:g}"} if wait else {}
        return self._call("POST", path, body, headers, _SECONDS + wait)

    def _call(
        self,
        method: str,
        path: str,
        body: Json = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = _SECONDS,
    ) -> Any:
        request = self._client.build_request(method, path, json=body, headers=dict(headers or {}), timeout=seconds)
        try:
            response = self._client.send(request)
        except httpx.TransportError as failure:
            why = f"{self.site}: {method} {path}: {failure or type(failure).__name__}"
            raise Abort(why, code=NOT_CONVERGED) from failure
        if response.is_error:
            raise _problem(self.site, request, response)
        return response.json() if response.content else None
