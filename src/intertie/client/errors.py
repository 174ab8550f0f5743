"""What goes wrong between a client and an agent, in the one tree of errors (`model.errors`).

What an agent refuses comes as a problem document (RFC 9457) and is raised as the error of the tree that it means,
with the agent's own code, words, hint and sites; the document is its `__cause__`, a `Told`. No agent sends:

    usage          what was asked for cannot be meant
    unreachable    nobody answers there
    silent         the agent took the request and did not answer in time
    broken         the answer makes no sense
    not-converged  it is not so yet, after all the time that was given
    partial        it is so but for a part that was refused or is down
"""

from __future__ import annotations

import json

from intertie.client.reading import Json, reader
from intertie.model.errors import (
    Conflict,
    Forbidden,
    IntertieError,
    NotFound,
    Refused,
    Unauthenticated,
    Unavailable,
)
from intertie.model.views import Problem

KINDS: dict[int, type[IntertieError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    412: Conflict,
    500: IntertieError,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
"""Other statuses mean that it was refused."""
CONFLICTS = frozenset({"name-taken", "in-use", "owner-up"})
"""Of the refusals with status 409: those of the moment, which another user or site stands behind."""


class Told(Exception):
    """An answer that is an error, as it came. `body` is {} when it is no JSON object (a proxy's page)."""

    def __init__(self, status: int, text: str, request_id: str = "") -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status
        self.request_id = request_id
        self.body = _object(text)

    @property
    def problem(self) -> Problem:
        """The document with all its fields; `fields` says what of a request cannot be understood."""
        return reader(Problem)(self.body)


def _object(text: str) -> dict[str, Json]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def told(status: int, text: str, request_id: str = "") -> IntertieError:
    """The error that an agent answered with; also when the answer is no problem document."""
    document = Told(status, text, request_id)
    try:
        problem = document.problem
    except IntertieError:
        # Not even its fields are of their types: as good as a page of somebody else's.
        document.body = {}
        problem = document.problem
    code = problem.code or f"http-{status}"
    kind = Conflict if code in CONFLICTS else KINDS.get(status, Refused)
    error = kind(
        problem.detail or problem.title or f"HTTP status {status}: {' '.join(text.split())[:300]}",
        code=code,
        hint=problem.hint,
        sites=problem.sites,
    )
    error.__cause__ = document
    return error


def document_of(error: BaseException) -> Told | None:
    """The agent's own words behind an error, if it was the agent's."""
    return error.__cause__ if isinstance(error.__cause__, Told) else None


def usage(detail: str, hint: str = "") -> Refused:
    """What was asked for cannot be meant."""
    return Refused(detail, code="usage", hint=hint)
