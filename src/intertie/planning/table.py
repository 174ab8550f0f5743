"""The standing records, indexed: what a site knows. Filled from the store, read by every decision."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator
from typing import TypeVar

from intertie.model.bodies import AnswerBody, Body, VpnBody
from intertie.model.records import Cursor, Kind, Record

B = TypeVar("B", bound=Body)


class Table:
    """Each record's standing version, by id, by kind, answers by what they answer, and mine in commit order.

    Not a decision itself: `apply` takes only what the store has taken (rule 2 was applied there).
    """

    def __init__(self, site: str, records: Iterable[Record] = ()) -> None:
        self.site = site
        self._by_id: dict[str, Record] = {}
        self._by_kind: dict[Kind, dict[str, Record]] = {kind: {} for kind in Kind}
        self._answers: dict[str, dict[str, Record]] = {}
        self._mine: list[tuple[Cursor, str]] = []
        for record in sorted(records, key=lambda r: r.cursor):
            self.apply(record)

    def apply(self, record: Record) -> None:
        """Put `record` in the place of any earlier version of it."""
        self._by_id[record.id] = record
        self._by_kind[record.header.kind][record.id] = record
        if isinstance(record.body, AnswerBody):
            self._answers.setdefault(record.body.vpn, {})[record.home] = record
        if record.home == self.site:
            # Nearly always at the end; a record that a peer gave back to us (rule 18) goes to its old place.
            insort(self._mine, (record.cursor, record.id))

    def drop(self, id: str) -> None:
        """Forget a record (a compacted tombstone)."""
        record = self._by_id.pop(id, None)
        if record is None:
            return
        del self._by_kind[record.header.kind][id]
        if isinstance(record.body, AnswerBody):
            self._answers.get(record.body.vpn, {}).pop(record.home, None)

    def get(self, id: str) -> Record | None:
        return self._by_id.get(id)

    def of(self, kind: Kind) -> Iterator[Record]:
        """The standing records of a kind that are not withdrawn, in order of id."""
        found = self._by_kind[kind]
        return (found[id] for id in sorted(found) if found[id].live)

    def all_of(self, kind: Kind) -> Iterator[Record]:
        """Like `of`, tombstones included."""
        found = self._by_kind[kind]
        return (found[id] for id in sorted(found))

    def bodies(self, kind: Kind, cls: type[B]) -> Iterator[tuple[Record, B]]:
        """Live records of a kind with their bodies."""
        for record in self.of(kind):
            assert isinstance(record.body, cls)
            yield record, record.body

    def vpns(self) -> Iterator[tuple[Record, VpnBody]]:
        """Vpns that are live or closing."""
        return self.bodies(Kind.VPN, VpnBody)

    def answers(self, id: str) -> dict[str, AnswerBody]:
        """site → its live answer to the Vpn or proposal `id`."""
        return {
            site: record.body
            for site, record in sorted(self._answers.get(id, {}).items())
            if record.live and isinstance(record.body, AnswerBody)
        }

    def answer_record(self, id: str, site: str) -> Record | None:
        """The standing answer of `site`, withdrawn or not."""
        return self._answers.get(id, {}).get(site)

    def mine_since(self, cursor: Cursor) -> list[Record]:
        """My standing records after `cursor`, in commit order; superseded versions are left out."""
        start = bisect_right(self._mine, cursor, key=lambda entry: entry[0])
        found = []
        for place, id in self._mine[start:]:
            record = self._by_id.get(id)
            if record is not None and record.cursor == place:
                found.append(record)
        return found

    def last(self) -> Cursor:
        """The order of my newest record."""
        return self._mine[-1][0] if self._mine else Cursor()

    def __len__(self) -> int:
        return len(self._by_id)
