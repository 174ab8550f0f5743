"""The oracle: was an invariant of the federation broken, judged from outside alone?

It stands where a user, an auditor and a packet stand. It keeps its own picture of what disks hold for sure, what
clouds and data planes have, what users asked and heard, and what the story broke; it compares them with the rules.

    oracle_scene     the picture, kept incrementally
    oracle_records   what is wrong with a record at the moment when it is forced to a disk
    oracle_world     what is wrong with a host, network or segment at the moment when it comes, changes or goes
    oracle_users     what users heard against what there is; messages; operations that never end
    oracle_rest      what is wrong when everything is healed and quiet

Where the outcome of an operation was never told (a crash), both outcomes are right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from intertie.agent.access import Caller
from intertie.agent.networks import HostView, NetworkView
from intertie.model.records import Record
from intertie.planning.status import VpnView
from intertie.testing.fake_cloud import FakeSystem
from intertie.testing.fake_transport import FakeUnderlay


class Outside(Protocol):
    """What the oracle may look at. Nothing of an agent's memory but what a user is answered."""

    def sites(self) -> Sequence[str]:
        """All sites of the story."""
        ...

    def runs(self, site: str) -> bool:
        """Whether its agent runs."""
        ...

    def system(self, site: str) -> FakeSystem:
        """Its cloud."""
        ...

    def underlay(self) -> FakeUnderlay:
        """All data planes."""
        ...

    def records(self, site: str) -> Mapping[str, Record]:
        """What its disk holds for sure."""
        ...

    def genuine(self, record: Record) -> bool:
        """Whether the signature is that of the record's home."""
        ...

    def vpns(self, site: str, caller: Caller) -> Sequence[VpnView]:
        """What GET /v1/vpns answers there."""
        ...

    def networks(self, site: str, caller: Caller) -> Sequence[NetworkView]: ...

    def hosts(self, site: str, caller: Caller) -> Sequence[HostView]: ...
