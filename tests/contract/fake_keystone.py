"""As much of a Keystone as a client logs in to: version document, passwords, a catalogue. Real HTTP on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from intertie.client import SERVICE_TYPE

PASSWORD = "correct horse"


@dataclass
class FakeKeystone:
    """`tokens` are given out one login after another, the last for ever; `agents` is region → endpoint."""

    tokens: list[str]
    agents: dict[str, str] = field(default_factory=dict)
    url: str = ""
    logins: int = 0

    def login(self, wish: dict[str, Any]) -> tuple[int, str, Any]:
        """(status, token, body)."""
        user = wish["auth"]["identity"]["password"]["user"]
        if user["password"] != PASSWORD:
            return 401, "", {"error": {"code": 401, "message": "The request you have made requires authentication."}}
        token = self.tokens[min(self.logins, len(self.tokens) - 1)]
        self.logins += 1
        domain = {"id": "default", "name": "Default"}
        return (
            201,
            token,
            {
                "token": {
                    "methods": ["password"],
                    "user": {"id": "u1", "name": user["name"], "domain": domain},
                    "project": {"id": "p1", "name": "demo", "domain": domain},
                    "roles": [{"id": "r1", "name": "member"}],
                    "issued_at": "2026-01-01T00:00:00.000000Z",
                    "expires_at": "2099-01-01T00:00:00.000000Z",
                    "catalog": [
                        self._service("identity", {"one": self.url}),
                        self._service(SERVICE_TYPE, self.agents),
                    ],
                }
            },
        )

    def _service(self, kind: str, urls: dict[str, str]) -> dict[str, Any]:
        endpoints = [
            {"id": region, "region": region, "region_id": region, "interface": "public", "url": url}
            for region, url in urls.items()
        ]
        return {"id": kind, "type": kind, "name": kind, "endpoints": endpoints}

    def versions(self) -> dict[str, Any]:
        version = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": self.url}]}
        return {"version": version}

    def clouds_yaml(self, **more: Any) -> str:
        """One cloud called `fake`, in region `one`."""
        auth = {
            "auth_url": self.url,
            "username": "ann",
            "password": PASSWORD,
            "project_name": "demo",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        }
        return json.dumps({"clouds": {"fake": {"auth": auth, **{"region_name": "one", **more}}}})


@contextmanager
def keystone(fake: FakeKeystone) -> Iterator[FakeKeystone]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._say(200, fake.versions())

        def do_POST(self) -> None:
            wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, token, body = fake.login(wish)
            self._say(status, body, token)

        def _say(self, status: int, body: Any, token: str = "") -> None:
            said = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            if token:
                self.send_header("X-Subject-Token", token)
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/v3"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
