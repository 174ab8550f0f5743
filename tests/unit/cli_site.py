"""A site for tests of the command line: a small HTTP server that says what it is told to, and notes what it is asked.

It speaks the contract of docs/interface.md: bearer tokens or the operator's socket, lists, problems, ETags, events.
What it says is given by each test, so that every answer that an agent may give can be given at will.
"""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Answer:
    """What to say: a body (JSON, or text as it stands) and its status."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def problem(code: str, status: int, detail: str = "it cannot be", hint: str = "do this", sites: Any = ()) -> Answer:
    """An RFC 9457 problem as the API's table makes it."""
    body = {
        "type": f"https://intertie.example/problems/{code}",
        "title": code,
        "status": status,
        "detail": detail,
        "code": code,
        "hint": hint,
        "sites": list(sites),
        "fields": [],
    }
    return Answer(body, status, {"Content-Type": "application/problem+json"})


def items(*found: Any) -> Answer:
    return Answer({"items": list(found), "next": None})


class Site:
    """The answers, and the requests in order. Of several answers to a question each is given once, the last ever."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], list[Answer]] = {}
        self.asked: list[Asked] = []
        self.url = ""

    def on(self, method: str, path: str, *answers: Answer) -> None:
        self.answers[(method, path)] = list(answers)

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        found = self.answers.get((asked.method, asked.path))
        if not found:
            return problem("not-found", 404, f"no {asked.path}")
        return found.pop(0) if len(found) > 1 else found[0]

    def calls(self, method: str = "") -> list[str]:
        return [f"{a.method} {a.path}" for a in self.asked if method in ("", a.method)]

    def last(self, method: str) -> Asked:
        return [a for a in self.asked if a.method == method][-1]

    def holds_vpn(self, *states: dict[str, Any], etag: str = '"0.1.5"') -> None:
        """A Vpn that can be found by name and by id, in these states one after the other."""
        one = states[0]
        self.on("GET", "/v1/vpns", items(one))
        self.on("GET", f"/v1/vpns/{one['id']}", *(Answer(state, headers={"ETag": etag}) for state in states))


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(size) if size else b""
            parts = urlsplit(self.path)
            asked = Asked(
                self.command,
                parts.path,
                dict(parse_qsl(parts.query)),
                {name.lower(): value for name, value in self.headers.items()},
                json.loads(raw) if raw else None,
            )
            self.say(site.answer(asked))

        def say(self, answer: Answer) -> None:
            text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            body = b"" if answer.body is None else text.encode()
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "test"

        def log_message(self, *_: object) -> None:
            pass

        do_GET = do_POST = do_PUT = do_DELETE = do

    return Handler


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def _running(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving(site: Site | None = None) -> Iterator[Site]:
    """A site on a loopback port."""
    site = site or Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}"
    with _running(server):
        yield site


@contextmanager
def serving_socket(path: Path) -> Iterator[Site]:
    """A site on a Unix socket."""
    site = Site()
    with _running(_UnixServer(str(path), _handler(site))):
        yield site


# ── Bodies ─────────────────────────────────────────────────────────────────────────────────────────────────


def member(site: str, **other: Any) -> dict[str, Any]:
    found = {
        "site": site,
        "network": "blue",
        "answer": "accepted",
        "reason": "",
        "hint": "",
        "ranges": [],
        "free": [],
        "asks": "",
        "ports_in_use": 0,
        "health": "ready",
        "rtt_ms": 0.42,
        "loss": 0.0,
        "probed_at": "2026-11-22T02:59:58Z",
        "realised": True,
        "leaving": False,
    }
    return {**found, **other}


def waiting(site: str) -> dict[str, Any]:
    return member(site, answer="waiting", health="unknown", rtt_ms=None, loss=None, probed_at=None, realised=False)


def vpn(*members: dict[str, Any], **other: Any) -> dict[str, Any]:
    """A Vpn `blue` of nantes. Pairs follow from the members."""
    ready = {m["site"]: m["health"] == "ready" for m in members}
    names = [m["site"] for m in members]
    pairs = [
        {
            "from": a,
            "to": b,
            "health": "ready" if ready[a] and ready[b] else "unknown",
            "rtt_ms": 0.42 if ready[a] and ready[b] else None,
            "loss": 0.0 if ready[a] and ready[b] else None,
            "probed_at": "2026-11-22T02:59:58Z" if ready[a] and ready[b] else None,
        }
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]
    found: dict[str, Any] = {
        "id": "nantes.01k0blue",
        "name": "blue",
        "kind": "l2",
        "project": "demo",
        "owner": "nantes",
        "epoch": 0,
        "version": [1, 5],
        "transport": "vxlan",
        "vni": 65537,
        "route_target": "64512:65537",
        "mtu": 1450,
        "require": "all",
        "phase": "ready",
        "reason": "",
        "hint": "",
        "created_at": "2026-11-22T02:14:03.250000+00:00",
        "prefixes": ["10.20.0.0/24"],
        "members": list(members),
        "pairs": pairs,
        "proposals": [],
        "superseded": [],
    }
    return {**found, **other}


SITE = {
    "name": "nantes",
    "location": {"lat": 47.218, "lon": -1.554},
    "cloud": "",
    "cell": "",
    "version": "0.1.0",
    "incarnation": 1,
    "root_fingerprint": "6f:1d:42",
    "transports": {
        "vxlan": {"ok": True, "l2": True, "l3": True, "encrypted": False, "overhead": 50, "reason": ""},
        "wireguard": {
            "ok": False,
            "l2": False,
            "l3": False,
            "encrypted": True,
            "overhead": 80,
            "reason": "the kernel has no wireguard",
        },
    },
}

PEERS: tuple[dict[str, Any], ...] = (
    {
        "name": "lyon",
        "state": "up",
        "address": "198.51.100.3:7576",
        "last_seen": "2026-11-22T02:59:57Z",
        "rtt_ms": 0.81,
        "introduced_by": "",
        "problem": "",
        "fingerprint": "aa:bb",
        "location": {"lat": 45.764, "lon": 4.836},
        "cloud": "alpes",
        "cell": "lyon-1",
        "transports": [],
    },
    {
        "name": "rennes",
        "state": "pending",
        "address": "198.51.100.5:7576",
        "last_seen": None,
        "rtt_ms": None,
        "introduced_by": "lyon",
        "problem": "",
        "fingerprint": "cc:dd",
        "location": None,
        "cloud": "",
        "cell": "",
        "transports": [],
    },
)
