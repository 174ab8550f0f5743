"""What can be seen of a federation from outside: disks, clouds, data planes, the wire, and what users were told.

The oracle stands here. It never reads an agent's memory: what an agent believes is exactly what is on trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from intertie.model.items import Item, Segment
from intertie.model.records import Record
from intertie.testing.simulator.story import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the user heard of one step. `code` is "ok", an error's code (docs/interface.md), "no-reply" if the agent
    died or stood still before it answered, or "nothing" if the step made no sense and nobody was asked."""

    step: Step
    begun: float
    at: float
    code: str
    detail: str = ""
    id: str = ""
    """Of the Vpn, network or host, where the answer named it."""
    answer: Any = None
    """What the use case returned (`VpnView`, `HostView` …)."""


class Watcher(Protocol):
    """Called synchronously, at the virtual second `at`, after the thing has happened."""

    def wrote(self, at: float, site: str, puts: Mapping[str, Record]) -> None:
        """A site's disk holds these records for sure now."""
        ...

    def changed(self, at: float, site: str, before: Item | None, after: Item | None) -> None:
        """A network or host of a site's cloud came (before None), went (after None) or changed."""
        ...

    def forwarded(self, at: float, site: str, before: Segment | None, after: Segment | None) -> None:
        """A segment of a site's data plane came, went or changed."""
        ...

    def sent(self, at: float, site: str, to: str, what: str, fate: str) -> None:
        """A message left: `what` request or reply; `fate` goes, lost, late, twice, clogged, cut, reset."""
        ...

    def asked(self, at: float, step: Step) -> None:
        """A user asks; what follows may have this cause, whether or not an answer ever comes."""
        ...

    def told(self, told: Told) -> None: ...

    def struck(self, at: float, step: Step) -> None:
        """A fault struck, or ended (HEAL, START)."""
        ...

    def rested(self, at: float) -> None:
        """Everything is healed, everybody runs, and time for all exchanges and rounds has passed."""
        ...
