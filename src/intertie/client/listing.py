"""Lists, page by page: iterate over one to get its items, as many pages as are looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from intertie.client.calls import Answer, Calls, Request
from intertie.client.errors import usage
from intertie.client.reading import Json, broken, reader
from intertie.model.errors import NotFound
from intertie.model.views import HostView, NetworkView

T = TypeVar("T")

Named = TypeVar("Named", NetworkView, HostView)

PAGE = 500


class Listing(Generic[T]):
    """One list of the API. Nothing is asked before somebody looks; each iteration asks anew."""

    def __init__(self, calls: Calls, path: str, kind: type[T], **query: str) -> None:
        self._calls = calls
        self._path = path
        self._query = query
        self._read = reader(kind)

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page.value

    def pages(self) -> Iterator[Answer[tuple[T, ...]]]:
        """Page after page; a page's `told` is {"items": […], "next": marker or null}."""
        marker = ""
        while True:
            more = {"marker": marker} if marker else {}
            query = {"limit": str(PAGE), **self._query, **more}
            page = self._calls.ask(self._items, Request(path=self._path, query=query))
            yield page
            marker = _next(page.told)
            if not marker:
                return

    def all(self) -> Answer[tuple[T, ...]]:
        """All pages as one answer, also in `told`."""
        pages = list(self.pages())
        if len(pages) == 1:
            return pages[0]
        items = [each for page in pages for each in _told(page.told)]
        values = tuple(each for page in pages for each in page.value)
        return Answer(values, {"items": items, "next": None}, request_id=pages[-1].request_id)

    def first(self) -> tuple[T, ...]:
        """The first page alone: all of a short list, and a glance at a long one."""
        return next(self.pages()).value

    def _items(self, told: Json) -> tuple[T, ...]:
        return tuple(self._read(each) for each in _told(told))


def pick(items: Iterable[Named], what: str, wanted: str) -> Named:
    """The one whose id or name is `wanted`. NotFound; Refused (usage) if several projects have one so called."""
    all_of_them = list(items)
    found = [each for each in all_of_them if each.id == wanted] or [
        each for each in all_of_them if each.name == wanted
    ]
    if not found:
        raise NotFound(f"no {what} {wanted}", hint=f"intertie {what} list")
    if len(found) > 1:
        ids = ", ".join(f"{each.id} ({each.project})" for each in found)
        raise usage(f"several {what}s are called {wanted}", f"give an id: {ids}")
    return found[0]


def _told(page: Json) -> list[Json]:
    found = page.get("items") if isinstance(page, dict) else None
    if not isinstance(found, list):
        raise broken("a list without items")
    return found


def _next(page: Json) -> str:
    found = page.get("next") if isinstance(page, dict) else None
    return found if isinstance(found, str) else ""
