"""Values of the API as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address

from intertie.cli.body import Body


def now() -> datetime:
    return datetime.now(UTC)


def moment(text: str) -> str:
    """An RFC 3339 time as `2026-11-22 02:14:03 UTC`; what is none stays as it is."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def age(text: str) -> str:
    """How long ago an RFC 3339 time is, in its largest unit; "" for none."""
    try:
        seconds = (now() - datetime.fromisoformat(text)).total_seconds()
    except (ValueError, TypeError):
        return text
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


def ranges(found: Sequence[Body]) -> str:
    """`10.0.0.86–10.0.0.169, …`, IPv4 first."""
    return ", ".join(_range(each) for each in sorted(found, key=_first))


def _range(found: Body) -> str:
    first, last = found.text("first"), found.text("last")
    return first if first == last else f"{first}–{last}"


def _first(found: Body) -> tuple[int, int]:
    try:
        address = ip_address(found.text("first"))
    except ValueError:
        return (0, 0)
    return (address.version, int(address))


def reason(found: Body) -> tuple[str, str]:
    """(why, what would help) of a member or a Vpn, whether its reason is text or {code, text, hint}."""
    hint = found.text("hint") or found.part("reason").text("hint")
    return found.text("reason"), hint
