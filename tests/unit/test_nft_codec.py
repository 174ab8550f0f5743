"""nf_tables' bytes: what is written reads back, and what is not ours is known to be foreign."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intertie.drivers.linux import nfnetlink as nl
from intertie.drivers.linux import nft_codec as codec
from intertie.drivers.linux.nft_model import (
    Base,
    Chain,
    Cmp,
    Code,
    Counter,
    Expression,
    Family,
    FieldType,
    Hook,
    HookPoint,
    Learn,
    LimitOver,
    Lookup,
    Mask,
    Meta,
    MetaKey,
    Op,
    Payload,
    Rule,
    Set,
    SetPayload,
    Table,
    Unknown,
    Value,
    Verdict,
)

registers = st.integers(0, 15)
values = st.binary(min_size=1, max_size=16)
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20)
spots = st.tuples(st.sampled_from(Base), st.integers(0, 255), st.integers(1, 16), registers)
masks = st.binary(min_size=1, max_size=16)
expressions: st.SearchStrategy[Expression] = st.one_of(
    st.builds(Meta, st.sampled_from(MetaKey), registers),
    spots.map(lambda spot: Payload(*spot)),
    spots.map(lambda spot: SetPayload(*spot)),
    st.builds(Value, values, registers),
    st.builds(Cmp, st.sampled_from(Op), values, registers),
    st.builds(Mask, masks, registers),
    st.builds(Lookup, names, st.booleans(), registers),
    st.builds(Learn, names, registers),
    st.builds(LimitOver, st.integers(1, 10**6), st.integers(1, 10**6)),
    st.builds(Verdict, st.sampled_from([Code.DROP, Code.ACCEPT, Code.RETURN])),
    st.builds(Verdict, st.just(Code.JUMP), names),
    st.just(Counter()),
)


@given(expressions)
def test_an_expression_reads_back(expression: Expression) -> None:
    assert codec.decode(codec.encode(expression)) == expression


@given(st.lists(expressions, max_size=6).map(tuple), st.text('abc :{}"', max_size=120))
def test_a_rule_reads_back(parts: tuple[Expression, ...], comment: str) -> None:
    table = Table(Family.BRIDGE, "t", (Chain("c", (Rule(parts, comment),), Hook(HookPoint.FORWARD, -300)),))
    chain, rule = codec.add_chains(table)
    assert codec.parse_chain(chain.payload) == ("t", Chain("c", (), Hook(HookPoint.FORWARD, -300)))
    assert codec.parse_rule(rule.payload) == ("t", "c", Rule(parts, comment))


def test_a_set_reads_back_and_keeps_messages_small() -> None:
    wished = Set("many", FieldType.IPV4, frozenset(struct.pack("!I", n) for n in range(1000)))
    head, cleared, *chunks = codec.add_sets(Table(Family.INET, "t", (), (wished,)))
    assert codec.parse_set(head.payload) == ("t", Set("many", FieldType.IPV4, frozenset()))
    assert cleared.type == codec.DELSETELEM
    found = [element for chunk in chunks for element in codec.parse_elements(chunk.payload)]
    assert frozenset(found) == wished.elements
    assert len(found) == len(wished.elements)
    assert max(len(chunk.payload) for chunk in chunks) < 2**16


def test_a_learnt_set_is_never_cleared() -> None:
    wished = Set("known", FieldType.MAC, learnt=True)
    (only,) = codec.add_sets(Table(Family.BRIDGE, "t", (), (wished,)))
    assert codec.parse_set(only.payload) == ("t", wished)


def test_a_set_of_another_sort_is_not_ours() -> None:
    name = nl.text(1, "t") + nl.text(2, "s")
    assert codec.parse_set(name + nl.u32(4, 12) + nl.u32(5, 2)) is None
    assert codec.parse_set(name + nl.u32(3, 4) + nl.u32(4, 7) + nl.u32(5, 4)) is None


def test_registers_have_two_names() -> None:
    """The kernel answers NFT_REG_2 (2) for the fifth 32-bit register, which was written as 12."""
    asked = codec.encode(Meta(MetaKey.L4PROTO, 4))
    assert struct.pack("!I", 12) in asked
    assert codec.decode(asked.replace(struct.pack("!I", 12), struct.pack("!I", 2))) == Meta(MetaKey.L4PROTO, 4)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("masq", b""),
        ("meta", nl.u32(2, 3) + nl.u32(3, 8)),
        ("meta", nl.u32(1, 8) + nl.u32(2, 250)),
        ("limit", nl.u64(1, 5) + nl.u64(2, 60) + nl.u32(3, 5) + nl.u32(4, 0) + nl.u32(5, 1)),
        ("lookup", nl.text(1, "s") + nl.u32(2, 8) + nl.u32(3, 8) + nl.u32(5, 0)),
        ("cmp", nl.u32(1, 8)),
    ],
)
def test_what_we_would_not_write_is_unknown(name: str, data: bytes) -> None:
    assert codec.decode(nl.text(1, name) + nl.attribute(2 | nl.NESTED, data)) == Unknown(name)


def test_a_chain_that_drops_by_policy_is_not_ours() -> None:
    body = nl.text(1, "t") + nl.text(3, "c") + nl.nested(4, nl.u32(1, 1), nl.u32(2, 0)) + nl.u32(5, 0)
    assert codec.parse_chain(body) == ("t", Chain("c", (Rule((Unknown("policy"),)),), Hook(HookPoint.INPUT, 0)))


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(ValueError, match="masq"):
        codec.encode(Unknown("masq"))
    with pytest.raises(ValueError, match="register"):
        codec.encode(Meta(MetaKey.PROTOCOL, 16))
    with pytest.raises(ValueError, match="comment"):
        list(codec.add_chains(Table(Family.INET, "t", (Chain("c", (Rule((), "x" * 121),)),))))


@given(st.binary(max_size=64))
def test_attributes_of_anything_end(data: bytes) -> None:
    with suppress(ValueError):
        assert len(list(nl.attributes(data))) <= len(data) // 4
