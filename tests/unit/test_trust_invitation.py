"""Invitation tokens: what is made is read back; what is not whole is refused, and the words say how."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from intertie.federation.invitation import PREFIX, Token, invite, parse
from intertie.federation.keys import Root, create
from intertie.model.codec import NAME
from intertie.model.errors import Forbidden, Refused

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NAMES = st.from_regex(NAME, fullmatch=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return create(tmp_path_factory.mktemp("nantes"), "nantes").root


@pytest.fixture(scope="module")
def text(root: Root) -> str:
    return invite(root, "lyon", "192.0.2.1:7576", NOW)[0].encode()


@given(
    name=NAMES, host=st.sampled_from(["192.0.2.1", "[2001:db8::1]", "gw.nantes.example"]), port=st.integers(1, 65535)
)
def test_a_token_is_read_back(root: Root, name: str, host: str, port: int) -> None:
    if name == "nantes":
        return
    token, kept = invite(root, name, f"{host}:{port}", NOW)
    read = parse(token.encode())
    assert read == token
    assert (read.inviter, read.invited, read.address) == ("nantes", name, f"{host}:{port}")
    assert read.peer.join_key == root.point
    kept.admit(name, read.secret, NOW)


def test_the_secret_is_long_kept_hashed_and_not_shown(root: Root) -> None:
    token, kept = invite(root, "lyon", "192.0.2.1:7576", NOW)
    again, _ = invite(root, "lyon", "192.0.2.1:7576", NOW)
    assert len(token.secret) * 8 >= 128
    assert token.secret != again.secret
    assert token.secret.hex() not in kept.secret_hash
    assert token.secret.hex() not in repr(token)
    assert repr(token.secret) not in repr(token)


def test_an_invitation_admits_one_name_with_its_secret_in_time(root: Root) -> None:
    token, kept = invite(root, "lyon", "192.0.2.1:7576", NOW, timedelta(minutes=10))
    other, _ = invite(root, "lyon", "192.0.2.1:7576", NOW)
    kept.admit("lyon", token.secret, NOW + timedelta(minutes=9))
    for name, secret, at in [
        ("rennes", token.secret, NOW),
        ("lyon", other.secret, NOW),
        ("lyon", b"", NOW),
        ("lyon", token.secret, NOW + timedelta(minutes=10)),
    ]:
        with pytest.raises(Forbidden):
            kept.admit(name, secret, at)


@pytest.mark.parametrize(
    ("name", "address", "lifetime"),
    [
        ("nantes", "192.0.2.1:7576", timedelta(hours=1)),
        ("Lyon", "192.0.2.1:7576", timedelta(hours=1)),
        ("lyon", "192.0.2.1", timedelta(hours=1)),
        ("lyon", "2001:db8::1:7576", timedelta(hours=1)),
        ("lyon", "[2001:db8::zz]:7576", timedelta(hours=1)),
        ("lyon", "192.0.2.1:0", timedelta(hours=1)),
        ("lyon", "192.0.2.1:65536", timedelta(hours=1)),
        ("lyon", "192.0.2.1:²", timedelta(hours=1)),
        ("lyon", "a b:1", timedelta(hours=1)),
        ("lyon", "192.0.2.1:7576", timedelta(hours=25)),
        ("lyon", "192.0.2.1:7576", timedelta()),
    ],
)
def test_invitations_that_cannot_be(root: Root, name: str, address: str, lifetime: timedelta) -> None:
    with pytest.raises(Refused):
        invite(root, name, address, NOW, lifetime)


def test_wrapped_lines_are_joined(text: str) -> None:
    wrapped = "  " + "\r\n ".join(text[i : i + 40] for i in range(0, len(text), 40)) + "\n"
    assert parse(wrapped) == parse(text)


def test_every_cut_off_token_is_called_cut_off(text: str) -> None:
    for end in range(len(text)):
        with pytest.raises(Refused, match="cut off") as refused:
            parse(text[:end])
        assert refused.value.code == "invalid"


def test_no_token_with_one_letter_changed_is_taken(text: str) -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for at in range(len(PREFIX), len(text)):
        for letter in letters.replace(text[at], ""):
            with pytest.raises(Refused):
                parse(text[:at] + letter + text[at + 1 :])


def test_the_words_tell_what_is_wrong(text: str) -> None:
    middle = len(text) // 2
    swapped = text[:middle] + ("A" if text[middle] != "A" else "B") + text[middle + 1 :]
    for wrong, words in [
        (swapped, "altered"),
        (text + "AAAA", "more at its end"),
        (text[:-1] + "*", "characters"),
        ("itj2." + text[5:], "another version"),
        ("ey" + text, "begins with itj1"),
        ("", "cut off"),
    ]:
        with pytest.raises(Refused, match=words):
            parse(wrong)


@given(junk=st.text(max_size=300) | st.text("ABCDEFabcdef0123456789-_", max_size=300).map(PREFIX.__add__))
@example(PREFIX + "AQ")
@example(PREFIX + "é")
def test_junk_is_refused_and_nothing_worse(junk: str) -> None:
    with pytest.raises(Refused):
        parse(junk)


@given(payload=st.binary(max_size=400))
def test_a_forged_payload_with_a_right_checksum_is_still_checked(payload: bytes) -> None:
    from intertie.federation import invitation

    body = b"\x01" + payload
    with pytest.raises(Refused):
        parse(PREFIX + invitation._base64(body + invitation._checksum(body)))


@pytest.mark.parametrize("field", ["inviter", "invited", "address", "public_key"])
def test_every_field_is_checked(root: Root, field: str) -> None:
    whole = {"inviter": "nantes", "invited": "lyon", "address": "192.0.2.1:7576", "public_key": root.point}
    bad = {"inviter": "na\nntes", "invited": "", "address": "192.0.2.1:7576\n", "public_key": b"\x02" + b"\xff" * 32}
    token = Token(secret=b"s" * 20, **{**whole, field: bad[field]})  # type: ignore[arg-type]
    with pytest.raises(Refused):
        parse(token.encode())
