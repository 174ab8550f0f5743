"""One cell of the table: what the user is told, what happens then, and a few words for the page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from tests.federation.partitions.operation import Told


class Ends(Enum):
    """What becomes of what was asked for, as seen on clouds, data planes and what every site shows."""

    LOOK = "nothing was to change, and nothing does"
    NOW = "it is so at once, at every site that can be reached; the others follow when they can be"
    LATER = "it is not so while this lasts, and it is so afterwards without being asked for again"
    NEVER = "it never is: nothing is made or changed anywhere, then or later"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    told: Told
    ends: Ends
    words: str = ""
    """What happens; "" for the words that go with `ends`."""
    again: bool = False
    """With NEVER: asked for again afterwards, it is done."""


def look(says: str = "", words: str = "", status: int = 200) -> Cell:
    return Cell(told=Told(status=status, says=says), ends=Ends.LOOK, words=words)


def unseen(status: int, code: str, says: str, hint: str = "", words: str = "") -> Cell:
    """A look that is refused."""
    return Cell(told=Told(status=status, code=code, says=says, hint=hint), ends=Ends.LOOK, words=words)


def now(status: int, says: str = "", words: str = "") -> Cell:
    return Cell(told=Told(status=status, says=says), ends=Ends.NOW, words=words)


def already(code: str, says: str, hint: str = "", words: str = "It is so already.") -> Cell:
    """There is nothing of it: 404."""
    return Cell(told=Told(status=404, code=code, says=says, hint=hint), ends=Ends.NOW, words=words)


def later(status: int, says: str, words: str) -> Cell:
    return Cell(told=Told(status=status, says=says), ends=Ends.LATER, words=words)


def never(status: int, code: str, says: str, hint: str = "", words: str = "") -> Cell:
    """Refused for good, as things are."""
    return Cell(told=Told(status=status, code=code, says=says, hint=hint), ends=Ends.NEVER, words=words)


def retry(status: int, code: str, says: str, hint: str = "", words: str = "") -> Cell:
    """Refused for now."""
    return replace(never(status, code, says, hint, words), again=True)
