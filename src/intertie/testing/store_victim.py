"""A process that commits as fast as it can until it is killed.

    python -m intertie.testing.store_victim WHERE NAME [MARKER]

WHERE is the path of an SQLite file, or a postgresql:// url; there several victims may be at it at once.

Each batch writes two new records and a local value; some rewrite a record that all writers share. What `commit`
acknowledged is printed, one line a batch: `NAME-N seq seq digest digest`. The parent holds that against what is found
in the store afterwards.
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count
from pathlib import Path

from intertie.model.codec import decode
from intertie.model.errors import Conflict, Unavailable
from intertie.model.records import Order
from intertie.model.storage import Batch, Change, LocalEntry, Overtaken
from intertie.store.postgres import PostgresStore
from intertie.store.sqlite import SqliteStore
from intertie.testing.store_samples import SITE, draft, seal

WRITERS = 8
SHARED = "shared"


def opened(where: str, marker: str) -> SqliteStore | PostgresStore:
    if where.startswith("postgresql:"):
        return PostgresStore(where, site=SITE, decode=decode, marker=Path(marker))
    return SqliteStore(Path(where), site=SITE, decode=decode)


async def main(where: str, name: str, marker: str = "") -> None:
    store = opened(where, marker)
    snapshot = await store.open(0)
    shared: list[Order | None] = [r.order for r in snapshot.records if r.id == f"{SITE}.{SHARED}"] or [None]
    numbers = count()

    async def write() -> None:
        for n in numbers:
            key = f"{name}-{n}"
            drafts = [draft(f"{key}-a", "x" * (n % 700)), draft(f"{key}-b")]
            if n % 8 == 0:
                drafts.append(draft(SHARED, key, base=shared[0]))
            try:
                done = await store.commit(Batch(drafts=tuple(drafts), local=(LocalEntry("done", key, "1"),)), seal)
            except Conflict:
                continue  # another writer of this process was faster with the shared record
            except Overtaken as error:
                # Its number is not taken again, and what another process made of the shared record is known now.
                shared[0] = max([o for o in (shared[0], *orders(error.change)) if o is not None], default=None)
                continue
            except Unavailable as error:
                say(f"unavailable {error.detail}")
                return
            first, second, *others = done.written
            if others:
                shared[0] = max(filter(None, [shared[0], others[0].order]))
            say(f"{key} {first.order.seq} {second.order.seq} {first.digest} {second.digest}")

    await asyncio.gather(*(write() for _ in range(WRITERS)))


def orders(change: Change) -> list[Order]:
    return [r.order for r in change.records if r.id == f"{SITE}.{SHARED}"]


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
