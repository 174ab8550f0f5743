"""Records as bytes: JSON in one canonical form, read back strictly.

The bytes that a home signs are UTF-8 JSON with sorted keys and no spaces. Reading is for hostile input: size,
depth, duplicate keys, control characters, out-of-range numbers and malformed names are refused before anything
looks at the record. Unknown fields are ignored and missing ones take their defaults, so that version N reads N−1
and N−1 reads N; since digest and signature cover the bytes, nobody ever writes another's record again.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from intertie.model.bodies import BODIES
from intertie.model.errors import Refused
from intertie.model.json_text import Json, Malformed, loads
from intertie.model.records import MAX_RECORD, Header, Kind, Order, Record, State

FORMAT = 1
MAX_TEXT = 4096
MAX_INT = 2**63 - 1
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""Names of sites, projects, networks, hosts and Vpns: DNS labels (RFC 1123 section 2.1)."""
RECORD_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62})\.[a-zA-Z0-9.-]{1,160}")
MAX_LIST = 16384
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What makes lines, drives a terminal, turns the writing round (Unicode TR 36) or is half a character."""

T = TypeVar("T")


def check_name(text: str, what: str = "name") -> str:
    """`text` if it is a name; otherwise Malformed, saying what a name looks like."""
    if not NAME.fullmatch(text):
        raise Malformed(
            f"{what} {text!r:.80} is not a name",
            hint="1 to 63 of a-z, 0-9 and '-', not beginning or ending with '-'",
        )
    return text


# ── Reading ────────────────────────────────────────────────────────────────────────────────────────────────


Reader = Callable[[Json], Any]


def read(cls: type[T], value: Json) -> T:
    """`value` (parsed JSON) as the dataclass `cls`. Malformed names the field that is wrong."""
    found: T = _reader(cast(Any, cls))(value)
    return found


@cache
def _reader(hint: Any) -> Reader:
    origin = get_origin(hint)
    if origin is Union or origin is types.UnionType:
        return _union_reader(get_args(hint))
    if origin is tuple:
        return _tuple_reader(get_args(hint))
    if isinstance(hint, type) and is_dataclass(hint):
        return _dataclass_reader(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum_reader(hint)
    try:
        return _SCALARS[hint]
    except KeyError:
        raise TypeError(f"the codec has no reader for {hint}") from None


def _dataclass_reader(cls: type) -> Reader:
    hints = get_type_hints(cls)
    known = [(f.name, hints[f.name], f.default is MISSING and f.default_factory is MISSING) for f in fields(cls)]
    # Readers of the fields are looked up late: a body may hold itself.

    def reader(value: Json) -> Any:
        if not isinstance(value, dict):
            raise Malformed(f"{cls.__name__}: an object is expected")
        made: dict[str, Any] = {}
        for name, hint, required in known:
            if name in value:
                try:
                    made[name] = _reader(hint)(value[name])
                except Malformed as error:
                    raise Malformed(f"{name}: {error.detail}", hint=error.hint) from None
            elif required:
                raise Malformed(f"{name}: missing")
        return cls(**made)

    return reader


def _tuple_reader(arguments: tuple[Any, ...]) -> Reader:
    item = _reader(arguments[0])

    def reader(value: Json) -> Any:
        if not isinstance(value, list):
            raise Malformed("a list is expected")
        if len(value) > MAX_LIST:
            raise Malformed(f"a list of more than {MAX_LIST}")
        return tuple(item(v) for v in value)

    return reader


def _enum_reader(cls: type[Enum]) -> Reader:
    def reader(value: Json) -> Any:
        try:
            return cls(value)
        except ValueError:
            choices = ", ".join(str(m.value) for m in cls)
            raise Malformed(f"{value!r:.40} is none of {choices}") from None

    return reader


def _union_reader(arguments: tuple[Any, ...]) -> Reader:
    kinds = frozenset(arguments)
    for family, parse in _FAMILIES:
        if kinds - {type(None)} == family:
            return _optional(_parsed(parse), type(None) in kinds)
    inner = [a for a in arguments if a is not type(None)]
    if len(inner) == 1:
        return _optional(_reader(inner[0]), True)
    raise TypeError(f"the codec has no reader for the union {arguments}")


def _optional(inner: Reader, allowed: bool) -> Reader:
    return (lambda value: None if value is None else inner(value)) if allowed else inner


def _parsed(parse: Callable[[str], Any]) -> Reader:
    def reader(value: Json) -> Any:
        # No zone ids (RFC 4007 section 11): they name an interface of the sender's, and may hold anything.
        if not isinstance(value, str) or len(value) > 64 or "%" in value:
            raise Malformed("an address, prefix or time is expected")
        try:
            return parse(value)
        except (ValueError, OverflowError) as error:
            raise Malformed(str(error)) from None

    return reader


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise Malformed("a text is expected")
    if len(value) > MAX_TEXT:
        raise Malformed(f"longer than {MAX_TEXT} characters")
    # No line breaks or control characters, ever: nothing from a peer may become a line of its own anywhere.
    if _CONTROL.search(value):
        raise Malformed("control characters are not allowed")
    return value


def _whole(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not -MAX_INT <= value <= MAX_INT:
        raise Malformed("a whole number is expected")
    return value


def _number(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed("a number is expected")
    return float(value)


def _flag(value: Json) -> bool:
    if not isinstance(value, bool):
        raise Malformed("true or false is expected")
    return value


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone (RFC 3339)")
    return found.astimezone(UTC)


_SCALARS: dict[Any, Reader] = {
    str: _text,
    int: _whole,
    float: _number,
    bool: _flag,
    datetime: _parsed(_moment),
    IPv4Address: _parsed(IPv4Address),
    IPv6Address: _parsed(IPv6Address),
    IPv4Network: _parsed(IPv4Network),
    IPv6Network: _parsed(IPv6Network),
}
_FAMILIES: tuple[tuple[frozenset[type], Callable[[str], Any]], ...] = (
    (frozenset({IPv4Address, IPv6Address}), ip_address),
    (frozenset({IPv4Network, IPv6Network}), ip_network),
    (frozenset({IPv4Interface, IPv6Interface}), ip_interface),
)


# ── Writing ────────────────────────────────────────────────────────────────────────────────────────────────


def plain(value: Any) -> Json:
    """Dataclasses, enums, addresses and times as what JSON knows."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, tuple | list | frozenset | set):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    return str(value)


def dumps(value: Any) -> bytes:
    """The canonical form: sorted keys, no spaces, UTF-8."""
    return json.dumps(
        plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def one_line(text: str) -> str:
    """`text` as the codec would read it: what may not be written becomes a space, what is too long is cut off."""
    return _CONTROL.sub(" ", text)[:MAX_TEXT]


def _terse(value: Any) -> Json:
    """Like `plain`, without the fields of a body that have their default: smaller, and old readers lose nothing.

    Texts come out readable whatever they were (a driver's error may have several lines): what this site writes and
    signs, it and its peers must be able to read again.
    """
    if isinstance(value, str) and not isinstance(value, Enum):
        return one_line(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: _terse(getattr(value, f.name))
            for f in fields(value)
            if f.default is MISSING or getattr(value, f.name) != f.default
        }
    if isinstance(value, tuple | list):
        return [_terse(v) for v in value]
    return plain(value)


# ── Records ────────────────────────────────────────────────────────────────────────────────────────────────


def encode(header: Header, body: Any) -> bytes:
    """The bytes that the home signs. Refused (too-large) above 64 KiB."""
    order = header.order
    raw = dumps(
        {
            "format": FORMAT,
            "header": {
                "kind": header.kind.value,
                "id": header.id,
                "home": header.home,
                "epoch": order.epoch,
                "adopter": order.adopter,
                "incarnation": order.incarnation,
                "seq": order.seq,
                "state": header.state.value,
                "names": sorted(header.names),
                "owes": sorted(header.owes),
            },
            "body": _terse(body),
        }
    )
    if len(raw) > MAX_RECORD:
        raise Refused(f"the record would be {len(raw)} octets; at most {MAX_RECORD} are allowed", code="too-large")
    return raw


def decode(raw: bytes, signature: bytes) -> Record:
    """The record that the bytes spell. The signature is carried, not checked: that needs the home's root."""
    found = loads(raw)
    if not isinstance(found, dict) or not isinstance(found.get("header"), dict):
        raise Malformed("not a record")
    if found.get("format", FORMAT) != FORMAT:
        raise Malformed(f"format {found['format']!r:.20} is not read by this version")
    header = _read_header(found["header"])
    body: Any = read(BODIES[header.kind], found.get("body"))
    return Record(header, body, raw, signature)


def _read_header(value: dict[str, Json]) -> Header:
    home = check_name(_text(value.get("home")), "home")
    id = _text(value.get("id"))
    order = Order(
        _count(value.get("epoch", 0)),
        _text(value.get("adopter", "")),
        _count(value.get("incarnation")),
        _count(value.get("seq")),
    )
    # The id begins with the site that first wrote it, so that no site can take another's ids; only adoption
    # (rule 14) gives a record a new home, and then a higher epoch.
    adopted = order.epoch > 0 and order.adopter == home
    if not RECORD_ID.fullmatch(id) or not (adopted or (order.epoch == 0 and id.startswith(f"{home}."))):
        raise Malformed(f"id {id!r:.80} is not one of {home}'s")
    return Header(
        kind=_reader(Kind)(value.get("kind")),
        id=id,
        home=home,
        order=order,
        state=_reader(State)(value.get("state")),
        names=_names(value.get("names", [])),
        owes=_names(value.get("owes", [])),
    )


def _count(value: Json) -> int:
    number = _whole(value)
    if number < 0:
        raise Malformed("a number from 0 up is expected")
    return number


def _names(value: Json) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Malformed("a list of names is expected")
    return tuple(sorted(check_name(_text(v), "site") for v in value))
