"""Why the demo stops early: what failed, what would make it work, and the exit code that says so."""

from __future__ import annotations

USAGE = 2
NOT_CONVERGED = 3


class Abort(Exception):
    """Stop the demo. `code` is the exit code of docs/interface.md; `hint` is one or more whole lines."""

    def __init__(self, detail: str, *, hint: str = "", code: int = 1) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.code = code
