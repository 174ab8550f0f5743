"""The one tree of errors.

    IntertieError
    ├── Refused       the request cannot be granted as it stands; says why, and what would make it work
    ├── Conflict      somebody wrote first (a stale version, a taken name)
    ├── NotFound      no such thing, or not this project's: the two are never told apart
    ├── Forbidden     the caller's role does not reach this far
    ├── Unauthenticated  no token, or one that is not known
    └── Unavailable   who did not answer, or what cannot be written now

Each carries a `code` from docs/interface.md; one table in `api.problems` maps codes to HTTP statuses
(RFC 9457). A refusal *between sites* is a value, `Reason` in an Answer, never an exception.
"""

from __future__ import annotations

from dataclasses import dataclass


class IntertieError(Exception):
    """Base: `code` is stable and for programs; `detail` and `hint` are for people."""

    default_code = "invalid"

    def __init__(self, detail: str, *, code: str = "", hint: str = "", sites: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.code = code or self.default_code
        self.detail = detail
        self.hint = hint
        self.sites = sites


class Refused(IntertieError):
    default_code = "invalid"


class Conflict(IntertieError):
    default_code = "stale"


class NotFound(IntertieError):
    default_code = "not-found"


class Forbidden(IntertieError):
    default_code = "forbidden"


class Unauthenticated(IntertieError):
    default_code = "unauthenticated"


class Unavailable(IntertieError):
    default_code = "storage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why something is not so, and what would change it. Travels between sites as a value."""

    code: str
    text: str
    hint: str = ""
