"""Why the demo stops early: what failed, what would make it work, and the exit code that says so."""

from __future__ import annotations

USAGE = 2
NOT_CONVERGED = 3


_PROBLEMS = {USAGE: "usage", NOT_CONVERGED: "not-converged"}


class Abort(Exception):
    """Stop the demo. `code` is the exit code of docs/interface.md; `hint` is one or more whole lines.

    `problem` is the code of docs/interface.md, ERROR: an agent's where one said no, and then `site` is its.
    """

    def __init__(self, detail: str, *, hint: str = "", code: int = 1, problem: str = "", site: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.code = code
        self.problem = problem or _PROBLEMS.get(code, "failed")
        self.site = site
