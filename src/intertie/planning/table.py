"""The standing records, indexed: what a site knows. Filled from the store, read by every decision."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from typing import Any, TypeVar

from intertie.model.bodies import AnswerBody, Body, HostBody, VpnBody
from intertie.model.records import Cursor, Kind, Record

B = TypeVar("B", bound=Body)
T = TypeVar("T")
SLACK = 1024
"""Superseded places of own records that are kept before they are swept out."""


class Table:
    """Each record's standing version, by id, by kind, answers by what they answer, and mine in commit order.

    Not a decision itself: `apply` takes only what the store has taken (rule 2 was applied there).
    """

    def __init__(self, site: str, records: Iterable[Record] = ()) -> None:
        self.site = site
        self._by_id: dict[str, Record] = {}
        self._by_kind: dict[Kind, dict[str, Record]] = {kind: {} for kind in Kind}
        self._answers: dict[str, dict[str, Record]] = {}
        self._on: dict[str, set[str]] = {}
        self._numbered: dict[int | str, set[str]] = {}
        self._sorted: dict[Kind, list[str]] = {}
        self._mine: list[tuple[Cursor, str]] = []
        self._count: Counter[tuple[str, Kind]] = Counter()
        self._changes: dict[Kind, int] = dict.fromkeys(Kind, 0)
        self._derived: dict[Hashable, tuple[tuple[Hashable, ...], Any]] = {}
        self.faults: dict[str, str] = {}
        """Records (ids) that decisions on what stands stumbled over, and how (`planning.faults`)."""
        for record in sorted(records, key=lambda r: r.cursor):
            self.apply(record)

    def apply(self, record: Record) -> None:
        """Put `record` in the place of any earlier version of it."""
        self.faults.clear()  # all is decided on anew
        kind = record.header.kind
        # A new version of a record that is there leaves the order of ids as it is.
        order = self._sorted.pop(kind, None)
        if order is not None and record.id in self._by_kind[kind]:
            self.drop(record.id)
            self._sorted[kind] = order
        else:
            self.drop(record.id)
        self._changes[kind] += 1
        self._by_id[record.id] = record
        self._by_kind[kind][record.id] = record
        self._count[record.home, record.header.kind] += 1
        if isinstance(record.body, AnswerBody):
            self._answers.setdefault(record.body.vpn, {})[record.home] = record
            self._note(record)
        if isinstance(record.body, VpnBody):
            for number in (record.body.vni, record.body.route_target):
                self._numbered.setdefault(number, set()).add(record.id)
        if record.home == self.site:
            # Nearly always at the end; a record that a peer gave back to us (rule 18) goes to its old place.
            insort(self._mine, (record.cursor, record.id))
            if len(self._mine) > 2 * self._count_of(self.site) + SLACK:
                self._mine = [entry for entry in self._mine if self._stands(entry)]

    def drop(self, id: str) -> None:
        """Forget a record (a compacted tombstone)."""
        record = self._by_id.pop(id, None)
        if record is None:
            return
        self._changes[record.header.kind] += 1
        del self._by_kind[record.header.kind][id]
        self._sorted.pop(record.header.kind, None)
        self._count[record.home, record.header.kind] -= 1
        if isinstance(record.body, VpnBody):
            for number in (record.body.vni, record.body.route_target):
                self._numbered[number].discard(id)
                if not self._numbered[number]:
                    del self._numbered[number]
        if isinstance(record.body, AnswerBody):
            self._unnote(record)
            answers = self._answers.get(record.body.vpn, {})
            if answers.get(record.home) is record:
                del answers[record.home]
            if not answers:
                self._answers.pop(record.body.vpn, None)

    def suppose(self, vpn: str, answer: Record | None) -> Record | None:
        """Put this site's `answer` to `vpn` in the place of the one that stands, which is returned: what one decision
        is about to say, so that the next one knows. Only a look ahead; whoever does it puts the old one back."""
        self._changes[Kind.ANSWER] += 1
        answers = self._answers.setdefault(vpn, {})
        before = answers.pop(self.site, None)
        self._unnote(before)
        if answer is not None:
            answers[self.site] = answer
            self._note(answer)
        return before

    def _note(self, answer: Record) -> None:
        """Index this site's answers by its network."""
        if answer.home == self.site and answer.live and isinstance(answer.body, AnswerBody):
            self._on.setdefault(answer.body.network, set()).add(answer.body.vpn)

    def _unnote(self, answer: Record | None) -> None:
        if answer is not None and answer.home == self.site and isinstance(answer.body, AnswerBody):
            self._on.get(answer.body.network, set()).discard(answer.body.vpn)

    def on(self, network: str) -> Iterator[tuple[Record, VpnBody]]:
        """The Vpns (live or closing) that this site's answers attach to a network here, in order of id."""
        for id in sorted(self._on.get(network, ())):
            record = self._by_id.get(id)
            if record is not None and record.live and isinstance(record.body, VpnBody):
                yield record, record.body

    def numbered(self, *numbers: int | str) -> Iterator[tuple[Record, VpnBody]]:
        """The Vpns (live or closing) that have one of these VNIs or route targets, in order of id."""
        for id in sorted(set().union(*(self._numbered.get(number, ()) for number in numbers))):
            record = self._by_id[id]
            if record.live and isinstance(record.body, VpnBody):
                yield record, record.body

    def count(self, home: str, kind: Kind) -> int:
        """How many records of a kind of one home are held, ended ones too."""
        return self._count[home, kind]

    def _count_of(self, home: str) -> int:
        return sum(self._count[home, kind] for kind in Kind)

    def _stands(self, entry: tuple[Cursor, str]) -> bool:
        record = self._by_id.get(entry[1])
        # Also by whom: a record that was adopted may have, by chance, the place of the version that was ours.
        return record is not None and record.home == self.site and record.cursor == entry[0]

    def get(self, id: str) -> Record | None:
        return self._by_id.get(id)

    def of(self, kind: Kind) -> Iterator[Record]:
        """The standing records of a kind that are not withdrawn, in order of id."""
        return (record for record in self.all_of(kind) if record.live)

    def all_of(self, kind: Kind) -> Iterator[Record]:
        """Like `of`, tombstones included."""
        found = self._by_kind[kind]
        if kind not in self._sorted:
            self._sorted[kind] = sorted(found)
        return (found[id] for id in self._sorted[kind])

    def bodies(self, kind: Kind, cls: type[B]) -> Iterator[tuple[Record, B]]:
        """Live records of a kind with their bodies."""
        for record in self.of(kind):
            assert isinstance(record.body, cls)
            yield record, record.body

    def derived(self, key: Hashable, kinds: Iterable[Kind], make: Callable[[], T], given: Hashable = None) -> T:
        """What `make` makes of records of these kinds, of what is `given`, and of nothing else: made anew only when
        one of them changed. It is shared: nobody may change it."""
        now = (given, *(self._changes[kind] for kind in kinds))
        made = self._derived.get(key)
        if made is None or made[0] != now:
            made = self._derived[key] = (now, make())
        value: T = made[1]
        return value

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

    def answering(self, id: str) -> list[str]:
        """The sites whose answer to the Vpn is known, withdrawn ones too."""
        return sorted(self._answers.get(id, {}))

    def own_answer(self, id: str) -> AnswerBody | None:
        """This site's live answer."""
        record = self._answers.get(id, {}).get(self.site)
        return record.body if record is not None and record.live and isinstance(record.body, AnswerBody) else None

    def answer_record(self, id: str, site: str) -> Record | None:
        """The standing answer of `site`, withdrawn or not."""
        return self._answers.get(id, {}).get(site)

    def touched(self, records: Iterable[Record]) -> Collection[str] | None:
        """The Vpns that records bear on; None (all) when trust changed."""
        ids: set[str] = set()
        for record in records:
            if record.header.kind is Kind.VPN:
                ids.add(record.id)
            elif isinstance(record.body, AnswerBody) or record.header.kind is Kind.PROPOSAL:
                ids.add(record.body.vpn)
            elif isinstance(record.body, HostBody):
                # What is free of a range is told to the others.
                ids |= {vpn.id for vpn, _ in self.on(record.body.network)}
            elif record.header.kind in (Kind.INTRODUCTION, Kind.FORGOTTEN, Kind.MAPPING, Kind.SITE):
                return None
        return ids

    def mine_since(self, cursor: Cursor) -> list[Record]:
        """My standing records after `cursor`, in commit order; superseded versions are left out."""
        start = bisect_right(self._mine, cursor, key=lambda entry: entry[0])
        return [self._by_id[entry[1]] for entry in self._mine[start:] if self._stands(entry)]

    def last(self) -> Cursor:
        """The order of my newest record."""
        return self._mine[-1][0] if self._mine else Cursor()

    def __len__(self) -> int:
        return len(self._by_id)
