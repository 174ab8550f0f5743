"""Segment probes as bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intertie.drivers.linux.frame_format import Frame, FrameType, decode, encode

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=63)
FRAME = Frame(
    destination="fe:00:00:00:00:02",
    source="fe:00:00:00:00:01",
    type=FrameType.REQUEST,
    vni=65537,
    nonce=0x0123456789ABCDEF,
    sender="nantes",
    receiver="lyon",
    size=64,
)


def test_golden() -> None:
    head = "fe0000000002fe000000000188b5"
    fixed = "0100000100010123456789abcdef0040"
    assert encode(FRAME).hex().startswith(head + fixed + "06" + b"nantes".hex() + "04" + b"lyon".hex() + "00")
    assert len(encode(FRAME)) == 14 + 64


@given(names, names | st.just(""), st.integers(0, 2**24 - 1), st.integers(0, 2**64 - 1), st.integers(160, 9000))
def test_what_is_encoded_reads_back(sender: str, receiver: str, vni: int, nonce: int, size: int) -> None:
    frame = replace(FRAME, sender=sender, receiver=receiver, vni=vni, nonce=nonce, size=size)
    assert decode(encode(frame)) == frame
    assert len(encode(frame)) == 14 + size


def test_padding_of_the_wire_is_ignored() -> None:
    assert decode(encode(FRAME) + bytes(20)) == FRAME


@given(st.binary(max_size=120))
def test_anything_else_is_none(data: bytes) -> None:
    assert decode(data) is None


@pytest.mark.parametrize("cut", range(14, 77))
def test_a_frame_cut_short_is_none(cut: int) -> None:
    assert decode(encode(FRAME)[:cut]) is None


def test_a_probe_smaller_than_its_names_is_refused() -> None:
    with pytest.raises(ValueError, match="20 octets"):
        encode(replace(FRAME, size=20))
