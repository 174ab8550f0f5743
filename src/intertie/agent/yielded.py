"""What this site wrote of Vpns that others adopted meanwhile (rule 14), kept to be shown.

The versions that yielded are kept as the bytes that were signed, in the store's local values: durable in the same
commit as the records that took their place, and a bounded number of them.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from intertie.model.codec import decode
from intertie.model.errors import IntertieError
from intertie.model.records import Record
from intertie.model.storage import LocalEntry
from intertie.model.views import SupersededView
from intertie.planning.superseded import differences, superseded, yields
from intertie.planning.table import Table

SPACE = "superseded"
MOST = 64
"""Versions that are kept; the oldest goes first."""
LIFE = timedelta(days=30)
"""For how long one is shown."""


def yielding(table: Table, kept: Mapping[str, str], news: Sequence[Record], now: datetime) -> list[LocalEntry]:
    """What is to be kept of this site's versions that `news` is about to take the place of."""
    lost = [
        (s, r) for r in news if (s := table.get(r.id)) is not None and yields(table.site, s, r) and differences(s, r)
    ]
    if not lost:
        return []
    entries = [LocalEntry(SPACE, f"{s.id} {s.digest[:16]}", _written(s, r.home, now)) for s, r in lost]
    before = sorted(kept, key=lambda k: str(json.loads(kept[k])["at"]))
    over = [k for k in before if _at(kept[k]) + LIFE < now]
    rest = [k for k in before if k not in over]
    over += rest[: max(len(rest) + len(entries) - MOST, 0)]
    return [*(LocalEntry(SPACE, k, None) for k in over), *entries]


def _written(record: Record, by: str, now: datetime) -> str:
    raw, signature = (b64encode(b).decode() for b in (record.raw, record.signature))
    return json.dumps({"at": now.isoformat(), "by": by, "raw": raw, "signature": signature})


def _at(value: str) -> datetime:
    return datetime.fromisoformat(str(json.loads(value)["at"]))


def shown(kept: Mapping[str, str], standing: Record, now: datetime) -> tuple[SupersededView, ...]:
    """The versions of a Vpn that yielded and are not what stands, oldest first."""
    found: list[SupersededView] = []
    for key, value in kept.items():
        if key.partition(" ")[0] != standing.id or _at(value) + LIFE < now:
            continue
        told = json.loads(value)
        try:
            lost = decode(b64decode(told["raw"]), b64decode(told["signature"]))
        except IntertieError:
            continue  # of another version of Intertie: kept, and not understood here
        view = superseded(lost, standing, _at(value), str(told["by"]))
        found += [view] if view is not None else []
    return tuple(sorted(found, key=lambda v: v.at))
