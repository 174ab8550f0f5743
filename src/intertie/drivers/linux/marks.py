"""What a driver must find again about a device, written on the device itself.

A mark is one line of words: `intertie/1 network <id> <project> <mtu> …`. It lives in the device's alias, where
`ip link` shows it. A bridge that belongs to somebody else keeps its alias: there, and for a mark longer than the
kernel allows for an alias, it is cut into alternative names `it.<device>.<n>.<base64url>`, which change nothing
else about a device and go away with it. A mark has no checksum: whoever may write it may also change the device.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote

VERSION = "intertie/1"
ALIAS = 255
"""Octets that an alias may have (IFALIASZ without its end)."""
CHUNK = 75
"""Octets of a mark in one alternative name, whose limit (ALTIFNAMSIZ) is 127 characters."""
ALTNAME = re.compile(r"it\..+\.(\d+)\.([A-Za-z0-9_=-]+)")


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a mark's text is put on a device: one of the two."""

    alias: str = ""
    altnames: tuple[str, ...] = ()


def write(device: str, words: Iterable[str], *, alias: bool = True) -> Mark:
    """The mark with these words for a device; `alias` False keeps out of its alias."""
    text = " ".join((VERSION, *(quote(word, safe=":/,.@") for word in words)))
    if alias and len(text.encode()) <= ALIAS:
        return Mark(alias=text)
    data = text.encode()
    chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    names = (f"it.{device}.{n}.{urlsafe_b64encode(chunk).decode()}" for n, chunk in enumerate(chunks))
    return Mark(altnames=tuple(names))


def read(alias: str, altnames: Iterable[str]) -> tuple[str, ...] | None:
    """The words of a device's mark; None where there is none that makes sense."""
    chunks: dict[int, str] = {}
    for name in altnames:
        if found := ALTNAME.fullmatch(name):
            chunks[int(found[1])] = found[2]
    if sorted(chunks) == list(range(len(chunks))) and chunks:
        try:
            alias = b"".join(urlsafe_b64decode(chunks[n]) for n in range(len(chunks))).decode()
        except (NotBase64, UnicodeDecodeError):
            return None
    version, *words = alias.split(" ")
    return tuple(unquote(word) for word in words) if version == VERSION else None


def ours(altnames: Iterable[str]) -> tuple[str, ...]:
    """Those of a device's alternative names that hold a mark."""
    return tuple(name for name in altnames if ALTNAME.fullmatch(name))
