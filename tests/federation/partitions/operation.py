"""One operation: how a user asks for it, what its answer says, and how one sees from outside that it is done."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from tests.federation.partitions.lab import PEER, Lab, Prepare, nothing
from tests.federation.partitions.situations import Place

Ask = Callable[[Lab], Awaitable[httpx.Response]]
Goal = Callable[[Lab, list[str]], bool]
"""Whether it is so at these sites, judged by what they show, forward and hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer, as far as it does not change from run to run."""

    status: int
    code: str = ""
    says: str = ""
    """A problem's detail; otherwise what `shows` makes of the body."""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    id: str
    group: str
    words: str
    """As the command line has it."""
    ask: Ask
    at: Place = Place.ANY
    goal: Goal | None = None
    """None: it only looks."""
    shows: Callable[[Any], str] = lambda body: ""
    prepare: Prepare = nothing
    peer: str = PEER
    """The site that it is about, where that is one that may fall silent."""
    meanwhile: Goal | None = None
    """What holds already while it waits for somebody."""
    ends: bool = False
    """Whether it is meant to change what `stretch` forwards."""


def told(response: httpx.Response, operation: Operation) -> Told:
    """What the user is told."""
    if response.headers.get("content-type") == "application/problem+json":
        body = response.json()
        assert body["status"] == response.status_code
        return Told(
            status=response.status_code, code=body["code"], says=_plain(body["detail"]), hint=_plain(body["hint"])
        )
    if response.status_code == 204:
        return Told(status=204)
    is_json = response.headers["content-type"] == "application/json"
    says = operation.shows(response.json() if is_json else response.text)
    return Told(status=response.status_code, says=_plain(says))


def reads(operation: Operation) -> bool:
    """Whether it changes nothing, wherever it is asked."""
    return operation.goal is None


_VARYING = (
    (re.compile(r"\b\d+\.\d+\.\d+ at version"), "VERSION at version"),
    (re.compile(r"\b[a-z0-9-]+\.[0-9a-f]{32}\b"), "ID"),
    (re.compile(r"\bib[0-9a-f]{10}\b"), "BRIDGE"),
    (re.compile(r"\btoken [0-9a-f]{12}\b"), "token ID"),
    (re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}"), "TIME"),
    # What the simulated network says of a call that came to nothing; a real one gives the address and the reason.
    (re.compile(r"([a-z]+) refuses the connection of [a-z]+|no way from [a-z]+ to ([a-z]+)"), r"\1\2 did not answer"),
)


def _plain(text: str) -> str:
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    return text


# ── What answers show ──────────────────────────────────────────────────────────────────────────────────────


def shows_vpn(body: Any) -> str:
    """Phase and reason; whom it waits for, if it is a proposal."""
    pending = body.get("pending")
    asked = f", pending: waiting for {pending['waiting_for']}" if pending else ""
    return f"phase {body['phase']}" + (f": {body['reason']}" if body["reason"] else "") + asked


def shows_members(body: Any) -> str:
    """The phase, the members' answers, and the pairs that are not ready."""
    pairs = ", ".join(f"{p['from']}–{p['to']} {p['health']}" for p in body["pairs"] if p["health"] != "ready")
    answers = {m["answer"] for m in body["members"]}
    return f"phase {body['phase']}, all {answers.pop() if len(answers) == 1 else sorted(answers)}; " + (
        pairs or "all pairs ready"
    )


def shows_peers(body: Any) -> str:
    return ", ".join(f"{p['name']} {p['state']}" for p in body["items"]) or "no peers"


def shows_names(body: Any) -> str:
    return ", ".join(sorted(each["name"] for each in body["items"])) or "none"


def shows_text(body: str) -> str:
    return body.strip()
