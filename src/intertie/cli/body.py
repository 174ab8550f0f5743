"""JSON as the API sends it, read with care: what is missing or null is empty, and what is new is no error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]


class Body:
    """One JSON object; anything else counts as an empty one. `told` is what was sent, untouched."""

    def __init__(self, told: Json) -> None:
        self.told = told
        self._fields: Mapping[str, Json] = told if isinstance(told, Mapping) else {}

    def text(self, field: str) -> str:
        """A string or number as text; of a reason given as an object, its words."""
        value = self._fields.get(field)
        if isinstance(value, Mapping):
            return Body(value).text("text")
        return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""

    def number(self, field: str) -> float | None:
        value = self._fields.get(field)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def count(self, field: str) -> int:
        return int(self.number(field) or 0)

    def flag(self, field: str) -> bool:
        return self._fields.get(field) is True

    def part(self, field: str) -> Body:
        return Body(self._fields.get(field))

    def parts(self, field: str) -> list[Body]:
        return [Body(each) for each in self._list(field)]

    def texts(self, field: str) -> list[str]:
        return [str(each) for each in self._list(field)]

    def named(self, field: str) -> list[tuple[str, Body]]:
        """The entries of an object of objects, in their order."""
        value = self._fields.get(field)
        return [(name, Body(each)) for name, each in value.items()] if isinstance(value, Mapping) else []

    def named_texts(self, field: str) -> list[tuple[str, str]]:
        """The entries of an object of texts."""
        value = self._fields.get(field)
        return [(name, str(each)) for name, each in value.items()] if isinstance(value, Mapping) else []

    def _list(self, field: str) -> Sequence[Json]:
        value = self._fields.get(field)
        return value if isinstance(value, Sequence) and not isinstance(value, str) else ()
