"""Lists, page by page: {"items": […], "next": marker or null}.

A marker is the place in the order after the last item shown, not a count, so that items that come or go between
two pages neither hide others nor show them twice. It is opaque: base64url of the sort key.
"""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Query

from intertie.model.errors import Refused

T = TypeVar("T")
S = TypeVar("S")

MARKER = "^[A-Za-z0-9_-]*$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """One page of a list; `next` is the marker of the one that follows, null at the end."""

    items: tuple[T, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Window:
    """Which page is wanted."""

    limit: int
    after: str

    def of(self, all: Iterable[S], key: Callable[[S], str]) -> Page[S]:
        """The page of `all`, in the order of `key`, which is unique to each."""
        ordered = sorted(((key(item), item) for item in all), key=itemgetter(0))
        return self.of_ordered(ordered, lambda item: item)

    def of_ordered(self, all: Sequence[tuple[str, S]], shown: Callable[[S], T | None]) -> Page[T]:
        """The page of `all`, (place, item) in order, as `shown` (None: left out); later ones are not looked at."""
        rest = all[bisect_right(all, self.after, key=itemgetter(0)) :]
        looked = ((place, shown(item)) for place, item in rest)
        found = list(islice(((place, item) for place, item in looked if item is not None), self.limit + 1))
        page = found[: self.limit]
        more = len(found) > len(page)
        return Page(items=tuple(item for _, item in page), next=_marker(page[-1][0]) if more else None)


def _marker(key: str) -> str:
    return urlsafe_b64encode(key.encode()).decode().rstrip("=")


def key_of(marker: str) -> str:
    """The place that a marker stands for. Refused if it is none of ours."""
    try:
        # The decoder itself passes over what is not of its alphabet.
        return b64decode(marker.encode("ascii") + b"=" * (-len(marker) % 4), b"-_", validate=True).decode()
    except (Base64Error, UnicodeError):
        raise Refused(f"marker {marker!r:.60} is none of ours", hint="take `next` of the page before") from None


async def _window(
    limit: Annotated[int, Query(ge=1, le=1000, description="Items on a page.")] = 100,
    marker: Annotated[
        str, Query(max_length=600, description="`next` of the page before.", json_schema_extra={"pattern": MARKER})
    ] = "",
) -> Window:
    return Window(limit, key_of(marker))


Paged = Annotated[Window, Depends(_window)]
"""A handler's parameter: the page that is wanted."""
