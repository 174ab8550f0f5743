"""How often somebody may do what costs something: so many at once, then so many a second.

A meter keeps one number for each whom it has seen lately: the time at which all that he did would be paid for at
the steady rate (the generic cell rate algorithm, ITU-T I.371 annex A). Whom it does not know has done nothing yet.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rate:
    burst: int
    per_second: float


@dataclass(slots=True)
class Meter:
    """Counts by key; of `most` keys at once, so that inventing more of them costs no memory."""

    rate: Rate
    most: int = 4096
    _paid: OrderedDict[Hashable, float] = field(default_factory=OrderedDict)

    def take(self, key: Hashable, now: float) -> bool:
        """Whether `key` may do it once more; if so, it counts. `now` in seconds, of a clock that never goes back."""
        if self.wait(key, now) > 0:
            return False
        self.charge(key, now, 1)
        return True

    def charge(self, key: Hashable, now: float, times: float) -> None:
        """Count what was done, whether or not it may have been: it is owed before the next time."""
        self._paid[key] = max(self._paid.pop(key, now), now) + times / self.rate.per_second
        if len(self._paid) > self.most:
            self._paid.popitem(last=False)

    def give(self, key: Hashable) -> None:
        """Take back one `take`: it turned out to be welcome."""
        if key in self._paid:
            self._paid[key] -= 1 / self.rate.per_second

    def wait(self, key: Hashable, now: float) -> float:
        """Seconds until `key` may do it again; 0 if it may now."""
        owed = (self._paid.get(key, now) - now) * self.rate.per_second
        return max(owed + 1 - self.rate.burst, 0.0) / self.rate.per_second

    def __len__(self) -> int:
        return len(self._paid)
