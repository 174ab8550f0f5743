"""JSON of an agent → the shapes of `model.views`, by their own type hints.

An agent may be newer or older than this client. So a field that is not known is passed over; one that is missing or
null has its default, or is empty ("" 0 () {} None) if its type can be; a word that an enumeration does not have yet
is kept as it is. What cannot be read so makes the answer `broken`, and the error says where.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from intertie.model.errors import IntertieError

Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]

T = TypeVar("T")
Reader = Callable[[Any], T]


class _Odd(Exception):
    """What is wrong, and where, from the inside out."""

    def __init__(self, words: str, *place: str) -> None:
        super().__init__(words)
        self.words = words
        self.place = list(place)


def reader(cls: type[T]) -> Reader[T]:
    """A function from parsed JSON to `cls`. IntertieError (broken) names the field that makes no sense."""
    read = _reader(cast(Any, cls))

    def whole(told: Json) -> T:
        try:
            found: T = read(told)
        except _Odd as odd:
            where = ".".join(reversed(odd.place)).replace(".[", "[") or "it"
            raise broken(f"{where} {odd.words}") from None
        return found

    return whole


def broken(what: str) -> IntertieError:
    """The answer makes no sense."""
    return IntertieError(
        f"the agent's answer makes no sense: {what}", code="broken", hint="is this an agent's URL, and of this age?"
    )


def nothing(told: Json) -> None:
    """An answer without a body."""


# ── By type ────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def _reader(hint: Any) -> Reader[Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Union or origin is types.UnionType:
        return _union(arguments)
    if origin is tuple:
        return _many(arguments[0]) if Ellipsis in arguments else _row(arguments)
    if origin is list:
        several = _many(arguments[0])
        return lambda told: list(several(told))
    if origin is dict:
        return _named(arguments[1])
    if is_dataclass(hint):
        return _shape(cast(type, hint))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _word(hint)
    return _SCALARS[hint]


def _shape(cls: type) -> Reader[Any]:
    hints = get_type_hints(cls)
    known = [(each, each.name.rstrip("_"), hints[each.name]) for each in fields(cls)]

    def read(told: Any) -> Any:
        if not isinstance(told, Mapping):
            raise _Odd("is no object")
        made = {}
        for each, name, hint in known:
            value = told.get(name)
            if value is None and (default := _default(each)) is not MISSING:
                made[each.name] = default
                continue
            try:
                made[each.name] = _reader(hint)(value)
            except _Odd as odd:
                odd.place.append(name)
                raise
        return cls(**made)

    return read


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _union(arguments: tuple[Any, ...]) -> Reader[Any]:
    kinds = [each for each in arguments if each is not type(None)]
    if IPv4Address in kinds:
        inner: Reader[Any] = _parsed(ip_address)
    elif IPv4Network in kinds:
        inner = _parsed(ip_network)
    else:
        (kind,) = kinds
        inner = _reader(kind)
    if len(kinds) == len(arguments):
        return inner
    return lambda told: None if told is None else inner(told)


def _many(item: Any) -> Reader[Any]:
    inner = _reader(item)

    def read(told: Any) -> Any:
        if told is None:
            return ()
        if not isinstance(told, list):
            raise _Odd("is no list")
        return tuple(_at(inner, each, f"[{i}]") for i, each in enumerate(told))

    return read


def _row(items: tuple[Any, ...]) -> Reader[Any]:
    """A tuple of fixed length; what is missing of it is empty."""
    inner = [_reader(each) for each in items]

    def read(told: Any) -> Any:
        if told is not None and not isinstance(told, list):
            raise _Odd("is no list")
        values = [*(told or ()), *[None] * len(inner)]
        return tuple(_at(one, values[i], f"[{i}]") for i, one in enumerate(inner))

    return read


def _named(item: Any) -> Reader[Any]:
    inner = _reader(item)

    def read(told: Any) -> Any:
        if told is None:
            return {}
        if not isinstance(told, Mapping):
            raise _Odd("is no object")
        return {name: _at(inner, each, name) for name, each in told.items()}

    return read


def _at(read: Reader[Any], told: Any, place: str) -> Any:
    try:
        return read(told)
    except _Odd as odd:
        odd.place.append(place)
        raise


def _word(cls: type[StrEnum]) -> Reader[Any]:
    def read(told: Any) -> Any:
        if not isinstance(told, str):
            raise _Odd("is no word")
        try:
            return cls(told)
        except ValueError:
            # A later agent's word: of the type, and equal to none that this client knows.
            word = str.__new__(cls, told)
            word._name_, word._value_ = told.upper(), told
            return word

    return read


def _parsed(parse: Callable[[str], Any]) -> Reader[Any]:
    def read(told: Any) -> Any:
        if not isinstance(told, str):
            raise _Odd("is no text")
        try:
            return parse(told)
        except ValueError as error:
            raise _Odd(f"is none: {error}") from None

    return read


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def _text(told: Any) -> str:
    if told is None:
        return ""
    if isinstance(told, bool) or not isinstance(told, str | int | float):
        raise _Odd("is no text")
    return str(told)


def _number(told: Any) -> float:
    if told is None:
        return 0.0
    if isinstance(told, bool) or not isinstance(told, int | float):
        raise _Odd("is no number")
    return told


def _whole(told: Any) -> int:
    return int(_number(told))


def _flag(told: Any) -> bool:
    if told is not None and not isinstance(told, bool):
        raise _Odd("is neither true nor false")
    return bool(told)


_SCALARS: dict[Any, Reader[Any]] = {
    str: _text,
    int: _whole,
    float: _number,
    bool: _flag,
    datetime: _parsed(_moment),
}
