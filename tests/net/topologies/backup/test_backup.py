"""A site is saved while its agent writes, goes on, and is put back: what was acknowledged since and concerns others
comes back from its peers, nothing is given twice, and nothing that forwards notices (rules 15, 18; I3, I22)."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.net.topologies.hosts import addresses
from tests.net.topologies.rig import Rig, Site, until
from tests.net.topologies.topology import HostThere, VpnThere


def intertie(*words: str, code: int = 0) -> str:
    done = subprocess.run([sys.executable, "-m", "intertie", *words], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@contextmanager
def no_loss(rig: Rig) -> Iterator[None]:
    with (
        rig.see.stream(rig.ns("nantes", "a"), rig.address("lyon", "b")) as there,
        rig.see.stream(rig.ns("lyon", "b"), rig.address("nantes", "a", 6)) as back,
    ):
        yield
        there.go_on()
    there.check()
    back.check()


def used(rig: Rig) -> dict[str, tuple[str, Any]]:
    """Every address that some host answers to, seen in the hosts, and who that is."""
    found: dict[str, tuple[str, Any]] = {}
    for site in rig:
        for name in rig.names(site.name):
            if name.startswith(f"{site.name}-"):
                for each in rig.ns(site.name, name.removeprefix(f"{site.name}-")).run(lambda: addresses("eth0")):
                    address = each.partition("/")[0]
                    assert address not in found, f"{address} is given twice: {found[address]}, {name}"
                    found[address] = (site.name, name)
    return found


def numbers(rig: Rig) -> list[tuple[int, str]]:
    """(VNI, Vpn) of all Vpns that any site knows."""
    return sorted({(int(v["vni"]), str(v["id"])) for site in rig for v in site.items("/v1/vpns")})


def knows_its_past(site: Site) -> bool:
    return site.get("/v1/site")["recovering"] is False


def later(rig: Rig, word: str, network: str) -> str:
    """What lyon acknowledges after it was saved: a Vpn of its own, with a number and a range, and a host."""
    vpn = VpnThere(name=word, kind="l2", attachments=(f"lyon:{network}", "rennes"))
    rig.vpn(vpn)
    rig.wait_settled(vpn)
    rig.host(HostThere(site="lyon", name=f"{word}-host", network="blue"))
    return str(rig["lyon"].vpn(word)["id"])


def is_back(rig: Rig, saved: dict[str, Any], ids: set[str]) -> None:
    """lyon is what it was when it was killed, as far as anybody else is concerned, and gives nothing twice."""
    lyon = rig["lyon"]
    until("lyon knows its past", lambda: knows_its_past(lyon))
    assert lyon.get("/v1/site")["incarnation"] > saved["incarnation"]
    assert {v["id"] for v in lyon.items("/v1/vpns")} == ids
    for vpn in rig.topology.vpns:
        rig.wait_settled(vpn)
    before = used(rig)
    made = lyon.post("/v1/hosts", {"name": "new", "network": "blue"})
    assert not set(made["addresses"]) & before.keys()
    until("the new host", lambda: rig.see.up(rig.ns("lyon", "new")))
    used(rig)
    lyon.delete("/v1/hosts/new")
    vnis = [vni for vni, _ in numbers(rig)]
    assert len(vnis) == len(set(vnis)), numbers(rig)


def test_saved_while_it_runs_and_put_back(rig: Rig, tmp_path: Path) -> None:
    lyon, file = rig["lyon"], tmp_path / "lyon.backup"
    directory = str(lyon.directory)
    saved = json.loads(intertie("backup", str(file), "--dir", directory, "-o", "json"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with tarfile.open(file) as tar:
        assert tar.getnames() == ["about.json", "site.toml", "keys/root.pem", "keys/pins.json", "intertie.db"]
    assert "not overwritten" in intertie("backup", str(file), "--dir", directory, code=4)
    with no_loss(rig):
        made = later(rig, "since", "red")
        ids = {v["id"] for v in lyon.items("/v1/vpns")}
        assert "an agent runs" in intertie("restore", str(file), "--dir", directory, "--replace", code=1)
        lyon.kill()
        assert "there is a site already" in intertie("restore", str(file), "--dir", directory, code=4)
        said = intertie("restore", str(file), "--dir", directory, "--replace")
        assert "its incarnation rises" in said
        assert "nantes, rennes" in said
        lyon.start()
        lyon.wait_ready()
        is_back(rig, saved, ids)
        orphans = json.dumps(lyon.get("/v1/plan")["orphans"])
        assert "since-host" in orphans, orphans
        assert made in ids
        another = VpnThere(name="another", kind="l2", attachments=("lyon:gold", "rennes"))
        rig.vpn(another)
        rig.wait_settled(another)
        used(rig)
        assert len({vni for vni, _ in numbers(rig)}) == len(numbers(rig))


def test_put_back_where_nothing_is_left(rig: Rig, tmp_path: Path) -> None:
    """A new disk: no marker says that the store had come further; the restored site knows it all the same."""
    lyon, file = rig["lyon"], tmp_path / "lyon.backup"
    saved = json.loads(intertie("backup", str(file), "--dir", str(lyon.directory), "-o", "json"))
    with no_loss(rig):
        made = later(rig, "afterwards", "grey")
        ids = {v["id"] for v in lyon.items("/v1/vpns")}
        lyon.kill()
        log = (lyon.directory / "log").read_bytes()
        shutil.rmtree(lyon.directory)
        intertie("restore", str(file), "--dir", str(lyon.directory))
        assert stat.S_IMODE(lyon.directory.stat().st_mode) == 0o700
        (lyon.directory / "log").write_bytes(log)
        lyon.start()
        lyon.wait_ready()
        is_back(rig, saved, ids)
        assert made in ids


def test_a_backup_taken_under_many_commits_is_one_moment(rig: Rig, tmp_path: Path) -> None:
    """Tokens are made as fast as the API lets while backups are taken: each of these opens whole (I21)."""
    lyon = rig["lyon"]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "intertie", "backup", str(tmp_path / f"{n}"), "--dir", str(lyon.directory)],
            stderr=subprocess.DEVNULL,
        )
        for n in range(2)
    ]
    made = 0
    while any(one.poll() is None for one in running):
        lyon.post("/v1/tokens", {"project": "demo", "role": "reader"})
        made += 1
    assert [one.returncode for one in running] == [0, 0]
    assert made > 10
    for n in range(2):
        target = tmp_path / f"copy-{n}"
        intertie("restore", str(tmp_path / f"{n}"), "--dir", str(target))


@pytest.mark.parametrize("damage", ["cut", "bit", "other"])
def test_a_backup_that_is_not_whole_is_refused_and_changes_nothing(rig: Rig, tmp_path: Path, damage: str) -> None:
    file, target = tmp_path / "file", tmp_path / "target"
    intertie("backup", str(file), "--dir", str(rig["lyon"].directory))
    whole = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(whole[: len(whole) // 2])
    elif damage == "bit":
        whole[len(whole) // 2] ^= 4
        file.write_bytes(whole)
    else:
        file.write_bytes(b"something else")
    assert "error:" in intertie("restore", str(file), "--dir", str(target), code=2)
    left = {path.name for path in target.iterdir()} if target.exists() else set()
    assert left <= {"intertie.db.lock"}
