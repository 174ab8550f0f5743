"""Whose token it is, as Keystone says (Identity API v3, `GET /v3/auth/tokens`).

An answer counts for a while, so that a Keystone which does not answer takes nobody's right away at once, and is not
asked for every request; a token that is revoked is refused when that while is over. Tokens are known by their hash.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from intertie.model.errors import Unauthenticated, Unavailable

GOOD_FOR = 300.0
"""Seconds for which a token that was good counts as good."""
BAD_FOR = 30.0
MOST = 10_000
"""Tokens that are remembered."""
LONGEST = 8192
"""Characters of a token; a Fernet token has about 250."""
THREADS = 2


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a token. `project` is the project's id, "" for a token of no project."""

    project: str
    user: str
    roles: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Known:
    holder: Holder | None
    """None: the token is none."""
    until: float


class Keystone:
    """One cloud's. `adapter` is a keystoneauth1 Adapter for its identity service, with the site's own credentials."""

    def __init__(self, name: str, adapter: Any, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.name = name
        self._adapter = adapter
        self._now = now
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Holder | None]] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="keystone")

    async def holder(self, token: str) -> Holder:
        """Unauthenticated if it is no good; Unavailable if that cannot be known now."""
        if len(token) > LONGEST or not token.isascii() or not token.isprintable():
            raise Unauthenticated("that is no token")
        id = identity(token)
        known = self._known.get(id)
        if known is None or known.until < asyncio.get_running_loop().time():
            # Those who come with the same token meanwhile wait for the one answer.
            asking = self._asking.get(id) or self._begin(id, token)
            found = await asyncio.shield(asking)
        else:
            found = known.holder
        if found is None:
            raise Unauthenticated(
                f"Keystone of {self.name} does not know the token, or it has expired", hint="openstack token issue"
            )
        return found

    def stands(self, id: str) -> bool:
        """Whether the token of that id is good as far as it is known without asking."""
        known = self._known.get(id)
        return known is not None and known.holder is not None and known.until >= asyncio.get_running_loop().time()

    def _begin(self, id: str, token: str) -> asyncio.Task[Holder | None]:
        asking = self._asking[id] = asyncio.create_task(self._ask(id, token))
        asking.add_done_callback(lambda done: self._asking.pop(id, None))
        return asking

    async def _ask(self, id: str, token: str) -> Holder | None:
        loop = asyncio.get_running_loop()
        told = await loop.run_in_executor(self._threads, self._validate, token)
        holder, seconds = (None, BAD_FOR) if told is None else (_holder(told), self._left(told))
        self._known[id] = _Known(holder if seconds > 0 else None, loop.time() + max(seconds, BAD_FOR))
        self._known.move_to_end(id)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return self._known[id].holder

    def _left(self, told: dict[str, Any]) -> float:
        """Seconds for which the answer counts: not beyond the token's own end."""
        ends = datetime.fromisoformat(str(told["expires_at"]))
        return min(GOOD_FOR, (ends - self._now()).total_seconds())

    def _validate(self, token: str) -> dict[str, Any] | None:
        """What Keystone says of it; None if it knows none. In a thread."""
        from keystoneauth1.exceptions import ClientException

        headers = {"X-Subject-Token": token, "Accept": "application/json"}
        try:
            reply = self._adapter.get("/auth/tokens?nocatalog", headers=headers, raise_exc=False)
        except ClientException as error:
            raise Unavailable(f"Keystone of {self.name} does not answer", code="cloud-silent") from error
        if reply.status_code == 404:
            return None
        if reply.status_code != 200:
            raise Unavailable(
                f"Keystone of {self.name} answers {reply.status_code} when asked whose token that is",
                code="cloud-silent",
                hint="the site's user may have lost its right to validate tokens: give it the role admin or service",
            )
        found: dict[str, Any] = reply.json()["token"]
        return found


def identity(token: str) -> str:
    """By which a token is known, in logs too: it tells nothing of the token."""
    return f"ks-{sha256(token.encode()).hexdigest()[:24]}"


def _holder(told: dict[str, Any]) -> Holder:
    return Holder(
        project=str((told.get("project") or {}).get("id") or ""),
        user=str(told["user"]["id"]),
        roles=frozenset(str(role["name"]) for role in told.get("roles") or ()),
    )
