"""Requests that are delivered twice: an Idempotency-Key and what it made, durable in the commit that made it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta

from intertie.agent.agent import Agent
from intertie.model.errors import Conflict, Refused
from intertie.model.storage import LocalEntry

SPACE = "idempotency"
LIFE = timedelta(hours=24)
"""How long a key is remembered."""


class Repeat:
    """One request under a key of a project's; without a key each delivery is another request. `spec` is what was
    asked for, in any words that are the same for the same request."""

    def __init__(self, agent: Agent, project: str, key: str, spec: str) -> None:
        self._agent = agent
        self._key = f"{project} {key}" if key else ""
        self._spec = spec

    def made(self, stands: Callable[[str], bool]) -> str | None:
        """The id of what the first delivery made. Refused if that was another request, Conflict (stale) if what it
        made does not stand any more: a late duplicate brings nothing back."""
        entry = self._agent.local.get(SPACE, {}).get(self._key)
        if entry is None:
            return None
        found = json.loads(entry)
        if found["spec"] != self._spec:
            raise Refused("this Idempotency-Key was used for another request", hint="take a new key")
        id = str(found["id"])
        if not stands(id):
            raise Conflict("what this Idempotency-Key made has ended since", hint="take a new key to make another")
        return id

    def notes(self, id: str) -> list[LocalEntry]:
        """To be committed with what is made: the key, and the end of those whose time is over."""
        if not self._key:
            return []
        now = self._agent.now()
        kept = self._agent.local.get(SPACE, {})
        over = [k for k, v in kept.items() if datetime.fromisoformat(json.loads(v)["at"]) < now - LIFE]
        value = json.dumps({"id": id, "spec": self._spec, "at": now.isoformat()})
        return [*(LocalEntry(SPACE, k, None) for k in over), LocalEntry(SPACE, self._key, value)]
