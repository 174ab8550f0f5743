"""Taking secrets out of what leaves the site for other eyes. Rather a word too many than one too few."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

GONE = "(left out)"

_FIELD = re.compile(
    r"pass(w|p|$)|secret|hash|private|psk|credential|authorization|cookie|^(token|key)$|api_?key", re.I
)
"""Names of fields whose value is a secret, or may be."""
_TEXTS = (
    # Keys, whole or cut off, their line breaks written out or not.
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*-----|\Z)", re.S), GONE),
    # What stands before the host of a URL: user and password, or a token in place of a user.
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:/{1,3})\S*@"), rf"\1{GONE}@"),
    (re.compile(r"\b(bearer|basic)\s+[^\s\"',;]+", re.I), rf"\1 {GONE}"),
    (re.compile(r"\bit[kj][0-9]*[._][A-Za-z0-9._=+/-]+"), GONE),
    (
        re.compile(
            r"\b(\w*(?:password|passwd|passphrase|secret|token))(\\?[\"']?\s*[=:]\s*)"
            r"(\\?\"(?:[^\"\\]|\\.)*\"?|'[^']*'?|[^\s,;&}]+)",
            re.I,
        ),
        rf"\1\2{GONE}",
    ),
)


def text(said: str, known: Collection[str] = ()) -> str:
    """`said` without what looks like a secret, and without the secrets that are `known`."""
    for secret in known:
        said = said.replace(secret, GONE)
    for pattern, instead in _TEXTS:
        said = pattern.sub(instead, said)
    return said


def value(found: Any, known: Collection[str] = ()) -> Any:
    """The same for parsed JSON: the values of fields with telling names, and what stands in texts."""
    match found:
        case Mapping():
            return {
                str(k): GONE if v not in (None, "", 0, False) and _FIELD.search(str(k)) else value(v, known)
                for k, v in found.items()
            }
        case list() | tuple():
            return [value(each, known) for each in found]
        case str():
            return text(found, known)
        case _:
            return found
