"""What an SQLite store acknowledged survives the death of its process and a disk that runs full (I3)."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import pytest

from intertie.model.storage import Snapshot
from intertie.testing.store_rigs import SqliteRig
from intertie.testing.store_suite import Rig

Acknowledged = dict[str, tuple[int, int, str, str]]


@pytest.fixture
def rig(tmp_path: Path) -> SqliteRig:
    return SqliteRig(tmp_path)


async def killed_after(lines: int, *words: str) -> Acknowledged:
    """Runs a victim, kills it when it has acknowledged so many batches; all that it did acknowledge."""
    arguments = ["-m", "intertie.testing.store_victim", *words]
    victim = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    assert victim.stdout is not None
    said = [await victim.stdout.readline() for _ in range(lines)]
    victim.kill()
    rest, _ = await victim.communicate()
    said += [line for line in rest.splitlines(keepends=True) if line.endswith(b"\n")]
    return dict(parsed(line.decode()) for line in said)


def parsed(line: str) -> tuple[str, tuple[int, int, str, str]]:
    key, first, second, *digests = line.split()
    return key, (int(first), int(second), digests[0], digests[1])


async def looked_at(rig: Rig) -> Snapshot:
    store = rig.store()
    found = await store.open(0)
    await store.close()
    return found


async def test_a_process_killed_while_it_commits_loses_nothing_that_it_acknowledged(rig: SqliteRig) -> None:
    chance = random.Random()
    acknowledged: Acknowledged = {}
    highest = 0
    for life in range(10):
        acknowledged |= await killed_after(chance.randrange(1, 120), str(rig.path), f"life{life}")
        found = await looked_at(rig)
        assert found.behind is None
        assert found.seq >= highest
        highest = found.seq
        check(found, acknowledged)
    assert len(acknowledged) > 10


def check(found: Snapshot, acknowledged: Acknowledged) -> None:
    records = {r.id: r for r in found.records}
    for key, (first, second, *digests) in acknowledged.items():
        pair = [records[f"nantes.{key}-a"], records[f"nantes.{key}-b"]]
        assert [(r.order.seq, r.digest) for r in pair] == list(zip((first, second), digests, strict=True))
        assert found.local["done"][key] == "1"
    seqs = [r.order.seq for r in found.records]
    assert len(set(seqs)) == len(seqs)
    # Batches that nobody was told of are there whole, or not at all.
    keys = {id.removeprefix("nantes.")[:-2] for id in records if not id.endswith(".shared")}
    assert keys == set(found.local["done"])
    assert {f"nantes.{key}-{end}" for key in keys for end in "ab"} == records.keys() - {"nantes.shared"}


# ── A disk that is really full ─────────────────────────────────────────────────────────────────────────────

FULL = """
import asyncio, ctypes, os, sys
from pathlib import Path
from intertie.model.codec import decode
from intertie.model.errors import Unavailable
from intertie.model.storage import Batch
from intertie.store.sqlite import SqliteStore
from intertie.testing.store_samples import SITE, draft, seal

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUSER, MS_REC_PRIVATE = 0x20000, 0x10000000, 0x44000
uid, gid = os.geteuid(), os.getegid()
assert libc.unshare(CLONE_NEWNS | CLONE_NEWUSER) == 0, os.strerror(ctypes.get_errno())
Path("/proc/self/setgroups").write_text("deny")
Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
where = sys.argv[1].encode()
assert libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None) == 0
assert libc.mount(b"none", where, b"tmpfs", 0, b"size=2m") == 0, os.strerror(ctypes.get_errno())

async def main():
    path = Path(sys.argv[1]) / "store.db"
    ballast = path.with_name("ballast")
    store = SqliteStore(path, site=SITE, decode=decode)
    await store.open(0)
    await store.commit(Batch(drafts=(draft("before"),)), seal)
    left = os.statvfs(path.parent)
    ballast.write_bytes(bytes(left.f_bavail * left.f_frsize))
    kept, refused = [], 0
    for n in range(100):
        batch = Batch(drafts=tuple(draft(f"n{n}-{k}", "x" * 4000) for k in range(4)))
        try:
            kept += [r.id for r in (await store.commit(batch, seal)).written]
        except Unavailable as error:
            assert error.code == "storage" and "the disk is full" in error.detail, error.detail
            refused += 1
    assert refused > 50, refused
    await store.close()
    store = SqliteStore(path, site=SITE, decode=decode)
    ballast.unlink()
    found = await store.open(0)
    assert found.behind is None
    assert {r.id for r in found.records} == {f"{SITE}.before", *kept}
    await store.commit(Batch(drafts=(draft("after"),)), seal)
    ballast.write_bytes(bytes(10))
    left = os.statvfs(path.parent)
    ballast.write_bytes(bytes(left.f_bavail * left.f_frsize))
    try:
        await store.commit(Batch(drafts=tuple(draft(f"m{k}", "x" * 4000) for k in range(50))), seal)
        raise SystemExit("nothing was full")
    except Unavailable:
        ballast.unlink()
    again = await store.commit(Batch(drafts=(draft("recovered"),)), seal)
    assert again.written[0].order.seq == len(kept) + 3
    await store.close()
    found = await SqliteStore(path, site=SITE, decode=decode).open(0)
    assert {r.id for r in found.records} == {f"{SITE}.{n}" for n in ("before", "after", "recovered")} | set(kept)
    print("recovered", refused)

asyncio.run(main())
"""


async def test_a_disk_that_is_full_and_then_is_not(tmp_path: Path) -> None:
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", FULL, str(tmp_path), stdout=pipe, stderr=pipe)
    said, errors = await child.communicate()
    assert said.startswith(b"recovered"), errors.decode()[-3000:]
