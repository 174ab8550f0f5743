"""What went wrong, as a value, and the one table from it to exit codes.

Every failure of a command is a `Problem`: told by the agent (RFC 9457) or found here. People get it as `error: …` and
`hint: …` on stderr; with `-o json` programs get the same as one JSON object there. The exit code says what to do
about it: nothing (0), look (1), ask differently (2), wait (3), talk to whoever refused (4), look at what is
missing (5).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import IntEnum

from intertie.cli.body import Body


class Exit(IntEnum):
    """docs/interface.md, EXIT."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_CONVERGED = 3
    REFUSED = 4
    PARTIAL = 5


EXITS = {
    # The agent's codes. `invalid` is what the user typed; the other refusals are of what it would mean.
    "invalid": Exit.USAGE,
    "unauthenticated": Exit.USAGE,
    "owner-silent": Exit.NOT_CONVERGED,
    "forbidden": Exit.REFUSED,
    "overlap": Exit.REFUSED,
    "name-taken": Exit.REFUSED,
    "in-use": Exit.REFUSED,
    "refused-by-member": Exit.REFUSED,
    "no-common-transport": Exit.REFUSED,
    "too-large": Exit.REFUSED,
    "prefix-too-small": Exit.REFUSED,
    "unknown-site": Exit.REFUSED,
    "unknown-network": Exit.REFUSED,
    "quota": Exit.REFUSED,
    "not-found": Exit.FAILED,
    "owner-up": Exit.REFUSED,
    "stale": Exit.FAILED,
    "precondition-required": Exit.FAILED,
    "rate": Exit.FAILED,
    "storage": Exit.FAILED,
    "failed": Exit.FAILED,
    "starting": Exit.FAILED,
    "internal": Exit.FAILED,
    "method-not-allowed": Exit.FAILED,
    "unsupported-media-type": Exit.FAILED,
    # This program's own.
    "usage": Exit.USAGE,
    "unreachable": Exit.USAGE,
    "silent": Exit.NOT_CONVERGED,
    "not-converged": Exit.NOT_CONVERGED,
    "partial": Exit.PARTIAL,
    "broken": Exit.FAILED,
}

TITLES = {
    "usage": "The command was not understood",
    "unreachable": "No agent answers",
    "silent": "The agent did not answer in time",
    "not-converged": "Not converged in time",
    "partial": "Only a part of it is so",
    "broken": "The agent's answer makes no sense",
}


@dataclass(eq=False)
class Problem(Exception):
    """A failure in words. `status` is HTTP's, 0 when it was found here and not told by an agent."""

    code: str
    detail: str
    hint: str = ""
    status: int = 0
    sites: tuple[str, ...] = ()
    body: Body = field(default_factory=lambda: Body(None))
    """As the agent told it."""

    def __post_init__(self) -> None:
        super().__init__(self.detail)

    @property
    def exit(self) -> Exit:
        return EXITS.get(self.code, Exit.FAILED)

    def json(self) -> str:
        """One JSON object: the agent's own, or one with the fields of the interface's ERROR."""
        if self.body.text("code"):
            return json.dumps(self.body.told, ensure_ascii=False)
        told = {
            "type": "about:blank",
            "title": TITLES.get(self.code, self.code),
            "status": self.status or None,
            "detail": self.detail,
            "code": self.code,
            "hint": self.hint,
            "sites": list(self.sites),
        }
        return json.dumps(told, ensure_ascii=False)

    def text(self) -> str:
        """For people: one line, and one more with the hint."""
        hint = f"\nhint: {self.hint}" if self.hint else ""
        return f"error: {self.detail}{hint}"


def usage(detail: str, hint: str = "") -> Problem:
    """What the user typed cannot be meant."""
    return Problem("usage", detail, hint)


def told(status: int, text: str) -> Problem:
    """The problem that an agent answered with; also when the answer is not one (a proxy's page, an old agent)."""
    try:
        body = Body(json.loads(text))
    except ValueError:
        body = Body({})
    return Problem(
        body.text("code") or f"http-{status}",
        body.text("detail") or body.text("title") or f"HTTP status {status}: {' '.join(text.split())[:300]}",
        body.text("hint"),
        status,
        tuple(body.texts("sites")),
        body,
    )
