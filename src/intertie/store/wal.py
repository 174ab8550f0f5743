"""Looking at SQLite's write-ahead log before SQLite does.

After a crash SQLite replays the log up to the first frame that is not whole, and drops the rest without a word.
That is right for the tail: the last transaction, which was being written when the power went. It is wrong for a bit
that flipped further up, because the transactions after it had been acknowledged. The two can be told apart: a
transaction is written only after the one before it was forced to disk, so behind a torn tail there is no second
transaction. (A flip within the very last transaction looks like a torn tail; the marker notices that one.)

The format is https://www.sqlite.org/fileformat2.html#walformat: a header of 32 octets, then frames of 24 octets
plus a page; a frame with a size in its second word ends a transaction; frames whose salts are not the header's
are left over from an earlier use of the file.
"""

from __future__ import annotations

import struct
from pathlib import Path

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGIC = (0x377F0682, 0x377F0683)
_MASK = 0xFFFFFFFF


def lost_behind(path: Path) -> str:
    """Why the log at `path` has lost acknowledged transactions, in words; "" if it has not, or is not there.

    May raise OSError.
    """
    try:
        log = path.read_bytes()
    except FileNotFoundError:
        return ""
    if not any(log[: _HEADER.size]):
        return ""  # empty, or made and never written
    if len(log) < _HEADER.size or not _header_whole(log):
        return "the head of its log is broken" if len(log) > _HEADER.size else ""
    broken = _replayed(log)
    if _transaction_after_another(log, broken):
        return f"frame {broken + 1} of its log is broken, and later transactions follow it"
    return ""


def _header_whole(log: bytes) -> bool:
    magic, *_, first, second = _HEADER.unpack_from(log)
    return magic in _MAGIC and _sum(_order(magic), log[:24], (0, 0)) == (first, second)


def _replayed(log: bytes) -> int:
    """How many frames SQLite would take: the whole ones from the first on."""
    *_, first, second = _HEADER.unpack_from(log)
    running = (first, second)
    for number in range(_frames(log)):
        sum = _chained(log, number, running)
        if sum is None:
            return number
        running = sum
    return _frames(log)


def _transaction_after_another(log: bytes, start: int) -> bool:
    """Whether from frame `start` on (counted from 0) one transaction ends and the next one's first frame follows.

    The follower must continue the checksum of the frame before it: frames of a transaction that was given up can
    lie behind those of a later, shorter one, and they prove nothing.
    """
    for number in range(start, _frames(log) - 1):
        _, ends, *_, first, second = _FRAME.unpack_from(log, _at(log, number))
        if ends and _chained(log, number + 1, (first, second)) is not None:
            return True
    return False


def _chained(log: bytes, number: int, before: tuple[int, int]) -> tuple[int, int] | None:
    """The checksum of a frame if it is whole and follows one with the checksum `before`."""
    magic, _, _, _, salt1, salt2, *_ = _HEADER.unpack_from(log)
    start = _at(log, number)
    _, _, its_salt1, its_salt2, *kept = _FRAME.unpack_from(log, start)
    if (its_salt1, its_salt2) != (salt1, salt2):
        return None
    running = _sum(_order(magic), log[start : start + 8], before)
    running = _sum(_order(magic), log[start + _FRAME.size : start + _frame_size(log)], running)
    return running if running == tuple(kept) else None


def _frame_size(log: bytes) -> int:
    _, _, page, *_ = _HEADER.unpack_from(log)
    return _FRAME.size + int(page)


def _at(log: bytes, number: int) -> int:
    return _HEADER.size + number * _frame_size(log)


def _frames(log: bytes) -> int:
    return (len(log) - _HEADER.size) // _frame_size(log)


def _order(magic: int) -> str:
    return ">" if magic & 1 else "<"


def _sum(order: str, octets: bytes, seed: tuple[int, int]) -> tuple[int, int]:
    """SQLite's own checksum: two running sums over pairs of 32-bit words, modulo 2^32."""
    first, second = seed
    words = iter(struct.unpack(f"{order}{len(octets) // 4}I", octets))
    for one, other in zip(words, words, strict=True):
        first = (first + one + second) & _MASK
        second = (second + other + first) & _MASK
    return first, second
