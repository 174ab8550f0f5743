"""The marker: a small file outside the database that says how far the store has come (rule 18).

A database alone cannot tell that it is an older copy of itself, put back from a backup, or that the tail of its log
was damaged and left out. The marker is rewritten after every commit, without waiting for the disk: it may be a
little behind after a loss of power, which does no harm, but it is never ahead of what was durable. If the database
is behind the marker, something that was acknowledged is missing.

One line: `incarnation seq checksum`, of fixed width and rewritten in place, so that it needs no space on a full disk.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from intertie.model.records import Cursor
from intertie.model.storage import Damaged


class Marker:
    """Of one open store. `open` first; `write` from one thread at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def open(self) -> Cursor | None:
        """What the marker says; None: there is none yet. Damaged if it cannot be read as one. May raise OSError."""
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        line = os.pread(self._file, 4096, 0)
        # Empty: power was lost between making the file and the first line, when nothing was acknowledged yet.
        return _parsed(self.path, line) if line else None

    def write(self, place: Cursor, *, durable: bool = False) -> None:
        """Notes `place`. A failure is let pass unless `durable`: an older marker is still true."""
        if self._file is None:
            return
        try:
            os.pwrite(self._file, _line(place), 0)
            if durable:
                os.fsync(self._file)
        except OSError:
            if durable:
                raise

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _line(place: Cursor) -> bytes:
    text = b"%020d %020d" % (place.incarnation, place.seq)
    return text + b" %08x\n" % crc32(text)


def _parsed(path: Path, line: bytes) -> Cursor:
    with suppress(ValueError):
        incarnation, seq, _ = line.split()
        place = Cursor(int(incarnation), int(seq))
        if line == _line(place):
            return place
    raise Damaged(
        f"{path} is not a marker as it was written",
        hint=f"if the store beside it is not an old copy, remove {path} and start again",
    )
