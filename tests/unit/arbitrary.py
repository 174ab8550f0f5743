"""Any value of the model: strategies derived from the dataclasses themselves, so that a new field is tried too."""

from __future__ import annotations

import types
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from intertie.model.bodies import BODIES
from intertie.model.codec import MAX_TEXT, encode, one_line
from intertie.model.records import Header, Kind, Order, Record, State

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
texts = st.text(max_size=40)
"""Whatever a driver or a user may say, lines and half characters included."""
lines = texts.map(one_line)
"""What the codec reads."""
moments = st.datetimes(timezones=st.just(UTC))


def network4(length: int, number: int) -> IPv4Network:
    return IPv4Network((number >> (32 - length) << (32 - length), length))


def network6(length: int, number: int) -> IPv6Network:
    return IPv6Network((number >> (128 - length) << (128 - length), length))


prefixes4 = st.builds(network4, st.integers(0, 32), st.integers(0, 2**32 - 1))
prefixes6 = st.builds(network6, st.integers(0, 128), st.integers(0, 2**128 - 1))
addresses4 = st.integers(0, 2**32 - 1).map(IPv4Address)
addresses6 = st.integers(0, 2**128 - 1).map(IPv6Address)

SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: lines,
    int: st.integers(-(2**63) + 1, 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    datetime: moments,
    IPv4Address: addresses4,
    IPv6Address: addresses6,
    IPv4Network: prefixes4,
    IPv6Network: prefixes6,
    IPv4Interface: st.builds(lambda a, n: IPv4Interface((a, n)), addresses4, st.integers(0, 32)),
    IPv6Interface: st.builds(lambda a, n: IPv6Interface((a, n)), addresses6, st.integers(0, 128)),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that the codec knows."""
    origin = get_origin(hint)
    if origin is Union or origin is types.UnionType:
        return st.one_of(*(st.none() if a is type(None) else values(a) for a in get_args(hint)))
    if origin is tuple:
        return st.lists(values(get_args(hint)[0]), max_size=3).map(tuple)
    if isinstance(hint, type) and is_dataclass(hint):
        return of(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    return SCALARS[hint]


def of(cls: type) -> st.SearchStrategy[Any]:
    """Any instance of a dataclass; fields that have a default often keep it."""
    hints = get_type_hints(cls)
    given = {}
    for f in fields(cls):
        given[f.name] = values(hints[f.name])
        if f.default is not MISSING:
            given[f.name] = st.one_of(st.just(f.default), given[f.name])
    return st.builds(cls, **given)


def headers(kind: Kind) -> st.SearchStrategy[Header]:
    """Any header of a record that its home wrote, adopted or not."""

    def made(home: str, ulid: str, adopted: int, place: tuple[int, int], rest: tuple[State, Any, Any]) -> Header:
        order = Order(adopted, home if adopted else "", *place)
        owner = "elsewhere" if adopted else home
        state, named, owed = rest
        return Header(kind=kind, id=f"{owner}.{ulid}", home=home, order=order, state=state, names=named, owes=owed)

    sites = st.sets(names, max_size=4).map(sorted).map(tuple)
    place = st.tuples(st.integers(0, 9), st.integers(0, 2**63 - 1))
    ulid = st.from_regex(r"[A-Za-z0-9.-]{1,30}", fullmatch=True)
    rest = st.tuples(st.sampled_from(State), sites, sites)
    return st.builds(made, names, ulid, st.integers(0, 3), place, rest)


def bodies() -> st.SearchStrategy[tuple[Kind, Any]]:
    return st.one_of(*(st.tuples(st.just(kind), of(cls)) for kind, cls in BODIES.items()))


def records() -> st.SearchStrategy[Record]:
    """Any record of any kind, as its home would seal it."""
    pairs = bodies().flatmap(lambda pair: st.tuples(headers(pair[0]), st.just(pair[1])))
    return pairs.map(lambda pair: sealed(*pair))


def sealed(header: Header, body: Any) -> Record:
    return Record(header, body, encode(header, body), b"signed by " + header.home.encode())


__all__ = ["MAX_TEXT", "addresses4", "addresses6", "bodies", "headers", "lines", "names", "of", "records", "values"]
