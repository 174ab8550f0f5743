"""Values of the API as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intertie.model.bodies import Range


def now() -> datetime:
    return datetime.now(UTC)


def moment(at: datetime) -> str:
    """`2026-11-22 02:14:03 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def age(at: datetime | None) -> str:
    """How long ago it was, in its largest unit; "" for never."""
    if at is None:
        return ""
    seconds = (now() - at).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def milliseconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f} ms" if value < 10 else f"{value:.0f} ms"


def percent(value: float | None) -> str:
    """A share 0..1 as a percentage."""
    return "" if value is None else f"{100 * value:.3g} %"


def number(value: int) -> str:
    """ "" for 0, which here means that nobody knows."""
    return str(value) if value else ""


def yes(value: bool) -> str:
    return "yes" if value else "no"


def ranges(found: Sequence[Range]) -> str:
    """`10.0.0.86–10.0.0.169, …`, IPv4 first."""
    return ", ".join(_range(each) for each in sorted(found, key=lambda each: (each.first.version, int(each.first))))


def _range(found: Range) -> str:
    return str(found.first) if found.first == found.last else f"{found.first}–{found.last}"
