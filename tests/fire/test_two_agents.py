"""Two agents of one site on one PostgreSQL database, killed one after the other: users, peers and packets notice
nothing."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, LiteralString

import httpx
import pytest

from intertie.testing.postgres_server import PostgresServer, programs
from tests.conftest import lacks
from tests.fire.pair import HOME, PEER, PairRig
from tests.fire.rig import unbroken
from tests.net.topologies.rig import until

KILLS = 4


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PairRig]:
    if programs() is None:
        lacks("no PostgreSQL server is installed (Debian: postgresql)")
    server = PostgresServer()
    rig = None
    try:
        rig = PairRig(tmp_path_factory.mktemp("pair"), server)
        rig.build()
        yield rig
    finally:
        if rig is not None:
            for site in rig:
                lines = site.log(4000).splitlines()
                print(f"--- {site.name}\n" + "\n".join([one for one in lines if "method=GET" not in one][-60:]))
            rig.close()
        server.stop()


class Worker(threading.Thread):
    """Does `act` again and again until stopped; what goes wrong is raised by `stop`."""

    def __init__(self, act: Callable[[int], None]) -> None:
        super().__init__(daemon=True)
        self._act = act
        self._stop_asked = threading.Event()
        self.done = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._stop_asked.is_set():
                self._act(self.done)
                self.done += 1
        except BaseException as error:  # noqa: BLE001 - told by `stop`
            self.error = error

    def stop(self) -> int:
        self._stop_asked.set()
        self.join(60)
        if self.error is not None:
            raise self.error
        return self.done


@contextmanager
def working(*acts: Callable[[int], None]) -> Iterator[list[Worker]]:
    workers = [Worker(act) for act in acts]
    for worker in workers:
        worker.start()
    try:
        yield workers
    finally:
        for worker in workers:
            worker.stop()


def peer_sees(rig: PairRig) -> Any:
    return next(p for p in rig[PEER].items("/v1/peers") if p["name"] == HOME)


class Users:
    """What users were told: all of it must hold."""

    def __init__(self, rig: PairRig) -> None:
        self.rig = rig
        self.networks: set[str] = set()
        self.vpns: dict[str, str] = {}
        self.theirs: dict[str, str] = {}
        """What lyon's users were told."""

    def make(self, n: int) -> None:
        name = f"n{n}"
        answer = self.rig.ask("POST", "/v1/networks", {"name": name, "prefix": f"10.{60 + n // 250}.{n % 250}.0/24"})
        # A first try that broke off may have made it; whoever did that has not waited for the round.
        assert answer.status_code == 201 or answer.json()["code"] == "name-taken", answer.text
        self.networks.add(name)
        if answer.status_code != 201:
            until(f"{name} is there", lambda: self.network(name)["attachable"], 10)
        found = self.rig.ask("GET", "/v1/networks?limit=500").json()["items"]
        assert name in {one["name"] for one in found}, "what was made is not there a moment later"
        if n % 3 == 0:
            self._stretch(n, name)

    def stretch_from_the_peer(self, n: int) -> None:
        """lyon's users make a Vpn that nantes is a member of."""
        lyon = self.rig[PEER]
        lyon.post("/v1/networks", {"name": f"p{n}", "prefix": f"10.{90 + n // 250}.{n % 250}.0/24"})
        attachments = [{"site": PEER, "network": f"p{n}"}, {"site": HOME}]
        made = lyon.post("/v1/vpns", {"name": f"p{n}", "kind": "l2", "attachments": attachments})
        self.theirs[made["id"]] = f"p{n}"

    def network(self, name: str) -> Any:
        found = self.rig.ask("GET", "/v1/networks?limit=500").json()["items"]
        return next(one for one in found if one["name"] == name)

    def _stretch(self, n: int, name: str) -> None:
        attachments = [{"site": HOME, "network": name}, {"site": PEER}]
        body = {"name": name, "kind": "l2", "attachments": attachments}
        answer = self.rig.ask("POST", "/v1/vpns", body, key=f"key-{n}")
        assert answer.status_code in (200, 201), answer.text
        again = self.rig.ask("POST", "/v1/vpns", body, key=f"key-{n}")
        assert again.json()["id"] == answer.json()["id"], "the same Idempotency-Key made a second one"
        assert self.rig.ask("GET", f"/v1/vpns/{answer.json()['id']}").status_code == 200
        self.vpns[answer.json()["id"]] = name


def settled(rig: PairRig, users: Users) -> bool:
    """Every Vpn is accepted by both members, as either site tells it."""
    for site in rig:
        told = {v["id"]: v for v in site.items("/v1/vpns?limit=500")}
        for id in (*users.vpns, *users.theirs):
            if id not in told or any(m["answer"] != "accepted" for m in told[id]["members"]):
                return False
    return True


def published(rig: PairRig) -> dict[object, tuple[object, ...]]:
    """nantes' own records as its database has them: id → (incarnation, seq, digest)."""
    query: LiteralString = "SELECT id, incarnation, seq, digest FROM records WHERE home = 'nantes'"
    return {id: tuple(rest) for id, *rest in rig.server.do(query, database=rig.database)}


def read_by_the_peer(rig: PairRig) -> dict[object, tuple[object, ...]]:
    """The same, as lyon's has them."""
    place = rig[PEER].directory / "intertie.db"
    with closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT id, incarnation, seq, digest FROM records WHERE home = 'nantes'")
        return {id: tuple(rest) for id, *rest in rows}


def alike(rig: PairRig, users: Users) -> bool:
    """lyon has read every record of nantes' that concerns it, in the version that stands."""
    mine, theirs = published(rig), read_by_the_peer(rig)
    return users.vpns.keys() <= theirs.keys() and all(mine.get(id) == version for id, version in theirs.items())


def test_either_agent_is_killed_again_and_again(rig: PairRig) -> None:
    """Meanwhile a user makes networks and Vpns, the peer makes some too, and looks whether nantes is up."""
    users = Users(rig)
    chance = random.Random("two agents")
    late: list[str] = []

    def watch(n: int) -> None:
        seen = peer_sees(rig)
        if seen["state"] != "up":
            late.append(f"{seen}")
        if n % 40 == 20:
            users.stretch_from_the_peer(n)
        time.sleep(0.05)

    with unbroken(rig.pings_between()), working(users.make, watch) as (making, watching):
        for number in range(KILLS):
            which = 1 + number % 2
            before = making.done
            time.sleep(chance.uniform(0.3, 1.5))
            rig.kill(which)
            until("users go on", lambda b=before: making.done > b + 2 or making.error is not None, 20)  # type: ignore[misc]
            rig.start(which)
        made = making.stop()
        assert watching.stop() > 20
    assert made > 2 * KILLS
    assert not late, late[:3]
    until("all that was promised holds at both sites", lambda: settled(rig, users), 60)
    names = {one["name"] for one in rig.home.items("/v1/networks?limit=500")}
    assert users.networks <= names
    until("lyon has all of it, as it stands", lambda: alike(rig, users), 30)
    places = [place[:2] for place in published(rig).values()]
    assert len(places) == len(set(places)), "a place was given twice"
    gaps: LiteralString = "SELECT max(position) - min(position) + 1 - count(*) FROM journal"
    assert rig.server.do(gaps, database=rig.database) == [(0,)]


def test_a_token_revoked_at_one_agent_is_refused_by_the_other_at_once(rig: PairRig) -> None:
    for _ in range(4):
        made = rig.ask("POST", "/v1/tokens", {"project": "demo", "role": "reader"}).json()
        mine, rig.token = rig.token, made["token"]
        try:
            assert rig.ask("GET", "/v1/vpns").status_code == 200
        finally:
            rig.token = mine
        assert rig.ask("DELETE", f"/v1/tokens/{made['id']}").status_code == 204
        rig.token = made["token"]
        try:
            assert rig.ask("GET", "/v1/vpns").status_code == 401
        finally:
            rig.token = mine


def test_the_operators_socket_and_the_rounds_go_over_to_who_is_left(rig: PairRig) -> None:
    for which in (1, 2):
        rig.kill(which)
        rig.home.hang_up()
        began = time.monotonic()
        until("the operator's socket answers", lambda: _answers(rig), 5)
        rig.home.post("/v1/networks", {"name": f"left{which}", "prefix": f"10.99.{which}.0/24"})
        until(
            "the round has made it",
            lambda w=which: any(  # type: ignore[misc]
                n["name"] == f"left{w}" and n["attachable"] for n in rig.home.items("/v1/networks?limit=500")
            ),
            15,
        )
        assert time.monotonic() - began < 10
        assert peer_sees(rig)["state"] == "up"
        rig.start(which)


def _answers(rig: PairRig) -> bool:
    try:
        return rig.home.call("GET", "/readyz").is_success
    except httpx.TransportError:
        rig.home.hang_up()
        return False


def test_both_are_killed_and_start_again(rig: PairRig) -> None:
    before = {v["id"]: v["version"] for v in rig.home.items("/v1/vpns?limit=500")}
    rig.kill(1)
    rig.kill(2)
    rig.home.hang_up()
    rig.start(1)
    rig.start(2)
    until("the operator's socket answers", lambda: _answers(rig), 10)
    assert before.keys() == {v["id"] for v in rig.home.items("/v1/vpns?limit=500")}
    until("lyon sees it up", lambda: peer_sees(rig)["state"] == "up", 20)
