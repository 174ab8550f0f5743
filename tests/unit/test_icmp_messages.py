"""ICMP messages as they are on the wire."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from intertie.drivers.linux.icmp import Message, Outcome, checksum, echo_request, parse

ME, PEER, ROUTER = (IPv4Address(f"10.0.0.{n}") for n in (1, 2, 254))
ME6, PEER6, ROUTER6 = (IPv6Address(f"fd00::{n}") for n in (1, 2, 254))
ID, SEQ = 0xBEEF, 7


def ip4(source: IPv4Address, target: IPv4Address, payload: bytes) -> bytes:
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, 1, 0)
    return header + source.packed + target.packed + payload


def ip6(source: IPv6Address, target: IPv6Address, payload: bytes) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(payload), 58, 64) + source.packed + target.packed + payload


def test_a_request_makes_a_packet_of_exactly_the_size_with_a_good_checksum() -> None:
    for size in (28, 29, 84, 1450):
        request = echo_request(4, ID, SEQ, size)
        assert len(request) == size - 20
        assert checksum(request) == 0
    assert len(echo_request(6, ID, SEQ, 1280)) == 1280 - 40


def test_replies_are_told_apart_by_ident() -> None:
    reply = bytes([0]) + echo_request(4, ID, SEQ, 84)[1:]
    heard = parse(4, ip4(PEER, ME, reply), PEER, ID)
    assert heard == Message(outcome=Outcome.REPLY, target=PEER, seq=SEQ, source=PEER)
    assert parse(4, ip4(PEER, ME, reply), PEER, ID + 1) is None
    reply6 = bytes([129]) + echo_request(6, ID, SEQ, 84)[1:]
    assert parse(6, reply6, PEER6, ID) == Message(outcome=Outcome.REPLY, target=PEER6, seq=SEQ, source=PEER6)


def test_errors_name_the_echo_they_quote_and_the_mtu() -> None:
    quoted = ip4(ME, PEER, echo_request(4, ID, SEQ, 1500))[:28]
    too_big = ip4(ROUTER, ME, struct.pack("!BBHHH", 3, 4, 0, 0, 1450) + quoted)
    heard = parse(4, too_big, ROUTER, ID)
    assert heard == Message(outcome=Outcome.TOO_BIG, target=PEER, seq=SEQ, source=ROUTER, mtu=1450)
    unreachable = ip4(ROUTER, ME, struct.pack("!BBHI", 3, 1, 0, 0) + quoted)
    heard = parse(4, unreachable, ROUTER, ID)
    assert heard == Message(outcome=Outcome.UNREACHABLE, target=PEER, seq=SEQ, source=ROUTER)
    too_big6 = struct.pack("!BBHI", 2, 0, 0, 1400) + ip6(ME6, PEER6, echo_request(6, ID, SEQ, 1500))[:1200]
    heard = parse(6, too_big6, ROUTER6, ID)
    assert heard == Message(outcome=Outcome.TOO_BIG, target=PEER6, seq=SEQ, source=ROUTER6, mtu=1400)


def test_what_is_short_or_about_others_is_ignored() -> None:
    quoted = ip4(ME, PEER, echo_request(4, ID + 1, SEQ, 84))
    error = struct.pack("!BBHI", 3, 1, 0, 0) + quoted
    assert parse(4, ip4(ROUTER, ME, error), ROUTER, ID) is None
    for cut in range(len(error)):
        assert parse(4, ip4(ROUTER, ME, error[:cut]), ROUTER, ID) is None
        assert parse(6, error[:cut], ROUTER6, ID) is None
