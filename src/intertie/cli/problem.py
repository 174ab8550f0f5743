"""What went wrong, in words, and the one table from it to exit codes.

Every failure of a command is an error of the tree (`model.errors`): told by the agent (RFC 9457), by the client or
found here. People get it as `error: …` and
`hint: …` on stderr; with `-o json` programs get the same as one JSON object there. The exit code says what to do
about it: nothing (0), look (1), ask differently (2), wait (3), talk to whoever refused (4), look at what is
missing (5).
"""

from __future__ import annotations

import json
from enum import IntEnum

from intertie.model.errors import IntertieError, Refused


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
    "cloud-silent": Exit.FAILED,
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


STATUSES = {"not-found": 404, "in-use": 409, "refused-by-member": 409}
"""HTTP's, of what is found here and is the same as when an agent finds it."""


def exit_of(error: IntertieError) -> Exit:
    return EXITS.get(error.code, Exit.FAILED)


def as_json(error: IntertieError) -> str:
    """One JSON object: the agent's own, or one with the fields of the interface's ERROR."""
    body = getattr(error.__cause__, "body", None)
    if body:
        return json.dumps(body, ensure_ascii=False)
    told = {
        "type": "about:blank",
        "title": TITLES.get(error.code, error.code),
        "status": getattr(error.__cause__, "status", None) or STATUSES.get(error.code),
        "detail": error.detail,
        "code": error.code,
        "hint": error.hint,
        "sites": list(error.sites),
    }
    return json.dumps(told, ensure_ascii=False)


def as_text(error: IntertieError) -> str:
    """For people: one line, and one more with the hint."""
    hint = f"\nhint: {error.hint}" if error.hint else ""
    return f"error: {error.detail}{hint}"


def usage(detail: str, hint: str = "") -> Refused:
    """What the user typed cannot be meant."""
    return Refused(detail, code="usage", hint=hint)
