"""JSON text of strangers, read within limits, before anything looks at what it says.

Size and depth, keys given twice, numbers that no field holds: all refused here, in a time that the size bounds.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any

from intertie.model.errors import Refused
from intertie.model.records import MAX_RECORD

MAX_DEPTH = 12
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
"""A string, closed or not. Possessive: hostile input must not make it try again and again."""
_ROUND = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))

Json = Any


class Malformed(Refused):
    """The bytes are not a record, or a value is not of its type. Code `invalid`."""


def loads(raw: bytes, limit: int = MAX_RECORD) -> Json:
    """JSON within limits: at most `limit` octets, MAX_DEPTH deep, no duplicate keys, no NaN. Malformed otherwise."""
    if len(raw) > limit:
        raise Malformed(f"{len(raw)} octets; at most {limit} are read", code="too-large")
    _check_depth(raw)
    try:
        return json.loads(
            raw, object_pairs_hook=_object, parse_constant=_no_constant, parse_int=_integer, parse_float=_fraction
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise Malformed(f"not JSON: {error}") from None


def _check_depth(raw: bytes) -> None:
    # Before json sees it: its C scanner recurses. Strings go first, since they may hold any number of brackets.
    rest = _STRING.sub(b"", raw).translate(_ROUND, _NO_BRACKET)
    # Each pass takes the innermost pairs away. Octet by octet would take half a second for the largest message.
    for _ in range(MAX_DEPTH):
        if not rest:
            return
        rest = rest.replace(b"[]", b"")
    # What is left without a pair is no JSON, and json's to refuse: it does not descend far.
    if b"[]" in rest or rest.count(b"[") > MAX_DEPTH:
        raise Malformed(f"nested deeper than {MAX_DEPTH}")


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("a key is given twice")
    return found


def _no_constant(text: str) -> Json:
    raise Malformed(f"{text} is not a number")


def _integer(text: str) -> int:
    if len(text) > 20:
        raise Malformed("number out of range")
    return int(text)


def _fraction(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise Malformed("number out of range")
    return number
