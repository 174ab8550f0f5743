"""How the client asks: terms as headers, errors of the tree, streams that are taken up again."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

from intertie.client import Client, Place, Terms, connect, document_of
from intertie.client.settling import _sites
from intertie.model.bodies import Attachment
from intertie.model.errors import (
    Conflict,
    Forbidden,
    IntertieError,
    NotFound,
    Refused,
    Unauthenticated,
    Unavailable,
)
from tests.unit.cli_site import PEERS, SITE, Answer, Site, items, member, problem, serving, vpn

BLUE = vpn(member("nantes"), member("lyon"))
AT = "2026-11-22T02:59:00Z"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as found:
        yield found


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    with Client(Place(url=site.url, token="itk_x"), seconds=5) as found:
        yield found


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("unauthenticated", 401, Unauthenticated),
        ("forbidden", 403, Forbidden),
        ("not-found", 404, NotFound),
        ("overlap", 409, Refused),
        ("refused-by-member", 409, Refused),
        ("name-taken", 409, Conflict),
        ("in-use", 409, Conflict),
        ("stale", 412, Conflict),
        ("invalid", 422, Refused),
        ("rate", 429, Refused),
        ("internal", 500, IntertieError),
        ("owner-silent", 503, Unavailable),
        ("storage", 503, Unavailable),
        ("invented-tomorrow", 418, Refused),
    ],
)
def test_a_problem_is_an_error_of_the_tree(
    site: Site, client: Client, code: str, status: int, kind: type[IntertieError]
) -> None:
    answer = problem(code, status, "lyon: no room", "ask lyon", ["lyon"])
    site.on("GET", "/v1/site", answer)
    with pytest.raises(IntertieError) as raised:
        client.site()
    error = raised.value
    assert type(error) is kind
    assert (error.code, error.detail, error.hint, error.sites) == (code, "lyon: no room", "ask lyon", ("lyon",))
    told = document_of(error)
    assert told is not None
    assert (told.status, told.body) == (status, answer.body)


@pytest.mark.parametrize("body", ["<html>Bad Gateway</html>", "[1]", '{"code": 5, "sites": 7}'])
def test_an_error_that_is_no_problem_is_still_one(site: Site, client: Client, body: str) -> None:
    site.on("GET", "/v1/site", Answer(body, 502))
    with pytest.raises(Unavailable, match="HTTP status 502") as raised:
        client.site()
    assert raised.value.code == "http-502"


def test_terms_are_headers(site: Site, client: Client) -> None:
    site.holds_vpn(BLUE)
    site.on("PUT", "/v1/vpns/nantes.01k0blue", Answer(BLUE))
    seen = client.vpns.find("blue")
    members = (Attachment(site="nantes", network="blue"), Attachment(site="lyon"))
    client.vpns.update(seen, members)
    assert site.last("PUT").headers["if-match"] == '"0.1.5"', "what was looked at"
    assert not {"prefer", "idempotency-key"} & site.last("PUT").headers.keys()
    client.vpns.update(seen, members, terms=Terms(wait=2.5, match="0.1.5+0a1b", key="k-1"))
    headers = site.last("PUT").headers
    assert headers["if-match"] == '"0.1.5+0a1b"'
    assert (headers["prefer"], headers["idempotency-key"]) == ("wait=2.5", "k-1")
    client.vpns.update(seen, members, terms=Terms(match="*"))
    assert site.last("PUT").headers["if-match"] == "*"


def test_cells_are_known_by_their_sites(site: Site, client: Client) -> None:
    site.on("GET", "/v1/site", Answer(SITE))
    site.on("GET", "/v1/peers", items(*PEERS))
    assert _sites(client, [Attachment(site="nantes"), Attachment(site="alpes", cell="lyon-1")]) == {"nantes", "lyon"}
    assert _sites(client, [Attachment(site="lyon", cell="lyon-1")]) == {"lyon"}


def test_who_does_not_answer_in_time_is_silent_and_who_is_not_there_unreachable() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        with Client(Place(url=url)) as nobody:
            with pytest.raises(Unavailable) as raised:
                nobody.site()
            assert raised.value.code == "unreachable"
            assert not nobody.ready()
        bound.listen()
        with Client(Place(url=url), seconds=0.2) as mute, pytest.raises(Unavailable) as raised:
            mute.site()
        assert raised.value.code == "silent"


def test_connecting_as_the_command_line_does(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.on("GET", "/v1/site", Answer(SITE))
    monkeypatch.setenv("INTERTIE_URL", site.url)
    monkeypatch.setenv("INTERTIE_TOKEN", "itk_env")
    with connect() as found:
        assert found.site().value.name == "nantes"
    assert site.last("GET").headers["authorization"] == "Bearer itk_env"


# ── Events ─────────────────────────────────────────────────────────────────────────────────────────────────


def stream(*seqs: int, retry: int = 0) -> Answer:
    def event(seq: int) -> dict[str, Any]:
        return {"seq": seq, "at": AT, "kind": "vpn", "id": "nantes.a", "site": "nantes", "what": "live"}

    lines = [f"id: boot-{seq}\ndata: {json.dumps(event(seq))}\n\n" for seq in seqs]
    return Answer(f"retry: {retry}\n\n: quiet\n\n" + "".join(lines), 200, {"Content-Type": "text/event-stream"})


def test_a_stream_that_ends_is_taken_up_after_the_last_that_came(site: Site, client: Client) -> None:
    site.on("GET", "/v1/events", stream(1, 2), stream(), problem("starting", 503), stream(3), stream(4, 5))
    found = [message.event.seq for message in islice(client.follow(after="boot-0"), 4)]
    assert found == [1, 2, 3, 4]
    after = [asked.headers.get("last-event-id") for asked in site.asked]
    assert after == ["boot-0", "boot-2", "boot-2", "boot-2", "boot-3"]


def test_following_ends_with_what_will_not_pass_by_itself(site: Site, client: Client) -> None:
    site.on("GET", "/v1/events", stream(1), problem("unauthenticated", 401))
    following = client.follow()
    assert next(following).id == "boot-1"
    with pytest.raises(Unauthenticated):
        next(following)


def test_following_ends_when_nobody_answers_for_too_long(
    site: Site, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("intertie.client.events.time.monotonic", lambda: now[0])
    monkeypatch.setattr("intertie.client.events.time.sleep", lambda _: now.__setitem__(0, now[0] + 20))
    site.on("GET", "/v1/events", stream(1), problem("starting", 503))
    following = client.follow(patience=60)
    next(following)
    with pytest.raises(Unavailable):
        next(following)
    assert len(site.asked) == 1 + 4, "at 0, 20, 40 and 60 seconds"
