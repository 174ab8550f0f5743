"""The bytes of nf_tables' messages, both ways, for the values of `nft_model`.

`parse_*` of what the kernel sends back yields what `add_*` was given, which is how tampering is noticed; an
expression that is not ours parses to `Unknown`. Attribute numbers are those of linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from intertie.drivers.linux import nfnetlink as nl
from intertie.drivers.linux.nft_model import (
    LEARNT_MOST,
    LEARNT_SECONDS,
    LONGEST_COMMENT,
    Base,
    Chain,
    Cmp,
    Code,
    Counter,
    Expression,
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

NEWTABLE, GETTABLE, DELTABLE, NEWCHAIN, GETCHAIN = 0, 1, 2, 3, 4
DELCHAIN, NEWRULE, GETRULE, DELRULE = 5, 6, 7, 8
NEWSET, GETSET, DELSET, NEWSETELEM, GETSETELEM, DELSETELEM = 9, 10, 11, 12, 13, 14
LEARNT = 0x10 | 0x20
"""NFT_SET_TIMEOUT, NFT_SET_EVAL: filled by rules."""
UPDATE = 1
LIST_ELEMENT = 1
ELEMENTS_AT_ONCE = 300
"""An attribute's length has 16 bits."""


def add_table(table: Table) -> nl.Message:
    return nl.Message(NEWTABLE, nl.NLM_F_CREATE, table.family, nl.text(1, table.name))


def delete_table(table: Table) -> nl.Message:
    return nl.Message(DELTABLE, 0, table.family, nl.text(1, table.name))


def flush(table: Table) -> nl.Message:
    """Delete all rules of a table."""
    return nl.Message(DELRULE, 0, table.family, nl.text(1, table.name))


def delete_chain(table: Table, name: str) -> nl.Message:
    return nl.Message(DELCHAIN, 0, table.family, nl.text(1, table.name) + nl.text(3, name))


def delete_set(table: Table, name: str) -> nl.Message:
    return nl.Message(DELSET, 0, table.family, nl.text(1, table.name) + nl.text(2, name))


def table_name(body: bytes) -> str:
    return nl.string(nl.fields(body)[1])


def add_chains(table: Table) -> Iterator[nl.Message]:
    """All chains before all rules, so that any rule may jump to any chain."""
    for chain in table.chains:
        yield nl.Message(NEWCHAIN, nl.NLM_F_CREATE, table.family, _chain(table.name, chain))
    for chain in table.chains:
        for rule in chain.rules:
            payload = _rule(table.name, chain.name, rule)
            yield nl.Message(NEWRULE, nl.NLM_F_CREATE | nl.NLM_F_APPEND, table.family, payload)


def _chain(table: str, chain: Chain) -> bytes:
    out = nl.text(1, table) + nl.text(3, chain.name)
    if chain.hook is not None:
        out += nl.nested(4, nl.u32(1, chain.hook.point), nl.u32(2, chain.hook.priority))
        out += nl.u32(5, Code.ACCEPT) + nl.text(7, "filter")
    return out


def parse_chain(body: bytes) -> tuple[str, Chain]:
    """The table's name and the chain without its rules."""
    found = nl.fields(body)
    hook = None
    if 4 in found:
        parts = nl.fields(found[4])
        hook = Hook(HookPoint(nl.number(parts[1])), nl.signed(parts[2]))
    accepts = 5 not in found or nl.number(found[5]) == Code.ACCEPT
    rules = () if accepts else (Rule((Unknown("policy"),)),)
    return nl.string(found[1]), Chain(nl.string(found[3]), rules, hook)


def _rule(table: str, chain: str, rule: Rule) -> bytes:
    out = nl.text(1, table) + nl.text(2, chain)
    out += nl.nested(4, *(nl.nested(LIST_ELEMENT, encode(e)) for e in rule.expressions))
    if rule.comment:
        comment = rule.comment.encode()
        if len(comment) > LONGEST_COMMENT:
            raise ValueError("a rule's comment is too long")
        # The framing that nft(8) shows as `comment`: type 0, length, NUL-terminated text.
        out += nl.attribute(7, bytes((0, len(comment) + 1)) + comment + b"\0")
    return out


def parse_rule(body: bytes) -> tuple[str, str, Rule]:
    """The table's name, the chain's name, the rule."""
    found = nl.fields(body)
    expressions = tuple(decode(element) for _, element in nl.attributes(found.get(4, b"")))
    data = found.get(7, b"")
    comment = nl.string(data[2 : 2 + data[1]]) if len(data) > 2 and data[0] == 0 else ""
    return nl.string(found[1]), nl.string(found[2]), Rule(expressions, comment)


def add_sets(table: Table) -> Iterator[nl.Message]:
    """Sets with exactly these elements, whatever a set of that name held before."""
    for number, each in enumerate(table.sets, 1):
        where = nl.text(1, table.name) + nl.text(2, each.name)
        kind = nl.u32(4, each.type) + nl.u32(5, each.type.size) + nl.u32(10, number)
        if each.learnt:
            kind += nl.u32(3, LEARNT) + nl.u64(11, LEARNT_SECONDS * 1000) + nl.nested(9, nl.u32(1, LEARNT_MOST))
            yield nl.Message(NEWSET, nl.NLM_F_CREATE, table.family, where + kind)
            continue
        yield nl.Message(NEWSET, nl.NLM_F_CREATE, table.family, where + kind)
        yield nl.Message(DELSETELEM, 0, table.family, where)
        elements = sorted(each.elements)
        for start in range(0, len(elements), ELEMENTS_AT_ONCE):
            chunk = (_element(element) for element in elements[start : start + ELEMENTS_AT_ONCE])
            payload = where + nl.u32(4, number) + nl.nested(3, *chunk)
            yield nl.Message(NEWSETELEM, nl.NLM_F_CREATE, table.family, payload)


def parse_set(body: bytes) -> tuple[str, Set] | None:
    """The table's name and the set without its elements; None for a set such as we never make."""
    found = nl.fields(body)
    kind = nl.number(found[4])
    flags = nl.number(found.get(3, b""))
    if flags not in (0, LEARNT) or kind not in set(FieldType):
        return None
    return nl.string(found[1]), Set(nl.string(found[2]), FieldType(kind), learnt=flags == LEARNT)


def in_table(table: str) -> bytes:
    """The question for a table, or for what is in it."""
    return nl.text(1, table)


def elements_of(table: str, name: str) -> bytes:
    """The question for a set's elements."""
    return nl.text(1, table) + nl.text(2, name)


def _element(element: bytes) -> bytes:
    return nl.nested(LIST_ELEMENT, nl.nested(1, nl.attribute(1, element)))


def parse_elements(body: bytes) -> Iterator[bytes]:
    """One message's elements."""
    for _, part in nl.attributes(nl.fields(body).get(3, b"")):
        found = nl.fields(part)
        if 1 in found:
            yield nl.fields(found[1])[1]


def encode(expression: Expression) -> bytes:
    """An expression's name and data."""
    name, data = _encode(expression)
    return nl.text(1, name) + nl.nested(2, *data)


def _encode(e: Expression) -> tuple[str, list[bytes]]:
    match e:
        case Meta():
            return "meta", [nl.u32(2, e.key), nl.u32(1, _register(e.register))]
        case Payload() | SetPayload():
            where = [nl.u32(2, e.base), nl.u32(3, e.offset), nl.u32(4, e.length)]
            if isinstance(e, Payload):
                return "payload", [nl.u32(1, _register(e.register)), *where]
            return "payload", [nl.u32(5, _register(e.register)), *where, nl.u32(6, 0), nl.u32(7, 0)]
        case Value():
            return "immediate", [nl.u32(1, _register(e.register)), nl.nested(2, nl.attribute(1, e.value))]
        case Cmp():
            return "cmp", [nl.u32(1, _register(e.register)), nl.u32(2, e.op), nl.nested(3, nl.attribute(1, e.value))]
        case Mask():
            where = [nl.u32(1, _register(e.register)), nl.u32(2, _register(e.register)), nl.u32(3, len(e.mask))]
            zero = nl.nested(5, nl.attribute(1, bytes(len(e.mask))))
            return "bitwise", [*where, nl.nested(4, nl.attribute(1, e.mask)), zero]
        case _:
            return _encode_test(e)


def _encode_test(e: Lookup | Learn | LimitOver | Verdict | Counter | Unknown) -> tuple[str, list[bytes]]:
    match e:
        case Lookup():
            return "lookup", [nl.text(1, e.set), nl.u32(2, _register(e.register)), nl.u32(5, int(e.invert))]
        case Learn():
            timeout = nl.u64(6, LEARNT_SECONDS * 1000)
            return "dynset", [nl.text(1, e.set), nl.u32(3, UPDATE), nl.u32(4, _register(e.register)), timeout]
        case LimitOver():
            rate = [nl.u64(1, e.rate), nl.u64(2, 1), nl.u32(3, e.burst)]
            return "limit", [*rate, nl.u32(4, 0), nl.u32(5, 1)]
        case Verdict():
            chain = [nl.text(2, e.chain)] if e.chain else []
            return "immediate", [nl.u32(1, 0), nl.nested(2, nl.nested(2, nl.u32(1, e.code), *chain))]
        case Counter():
            return "counter", [nl.u64(1, 0), nl.u64(2, 0)]
        case Unknown():
            raise ValueError(f"{e.name} cannot be written")


@lru_cache(maxsize=1 << 14)
def decode(body: bytes) -> Expression:
    """The expression of a list element; `Unknown` for what this module would not have written.

    Remembered: segments differ in few of their expressions, and looking at them all is what observing costs.
    """
    found = nl.fields(body)
    name = nl.string(found[1])
    try:
        expression = _decode(name, nl.fields(found.get(2, b"")))
    except (KeyError, ValueError):
        return Unknown(name)
    return expression


def _decode(name: str, f: dict[int, bytes]) -> Expression:
    match name:
        case "meta" if 1 in f:
            return Meta(MetaKey(nl.number(f[2])), _slot(f[1]))
        case "payload":
            return _decode_payload(f)
        case "immediate":
            return _decode_immediate(f)
        case "cmp":
            return Cmp(Op(nl.number(f[2])), _data(f[3]), _slot(f[1]))
        case "bitwise" if f[1] == f[2] and not any(_data(f[5])):
            return Mask(_data(f[4]), _slot(f[1]))
        case "lookup" if 3 not in f:
            return Lookup(nl.string(f[1]), bool(nl.number(f.get(5, b""))), _slot(f[2]))
        case "dynset" if nl.number(f[3]) == UPDATE and not {5, 7} & set(f):
            return Learn(nl.string(f[1]), _slot(f[4]))
        case "limit" if nl.number(f[2]) == 1 and nl.number(f[4]) == 0 and nl.number(f[5]) == 1:
            return LimitOver(nl.number(f[1]), nl.number(f[3]))
        case "counter":
            return Counter()
    return Unknown(name)


def _decode_payload(f: dict[int, bytes]) -> Expression:
    where = (Base(nl.number(f[2])), nl.number(f[3]), nl.number(f[4]))
    if 5 in f:
        if nl.number(f.get(6, b"")):
            return Unknown("payload")
        return SetPayload(*where, _slot(f[5]))
    return Payload(*where, _slot(f[1]))


def _decode_immediate(f: dict[int, bytes]) -> Expression:
    data = nl.fields(f[2])
    if 2 in data:
        verdict = nl.fields(data[2])
        return Verdict(Code(nl.signed(verdict[1])), nl.string(verdict.get(2, b"")))
    return Value(data[1], _slot(f[1]))


def _data(body: bytes) -> bytes:
    return nl.fields(body)[1]


def _register(slot: int) -> int:
    """Our 32-bit register as the kernel names it (NFT_REG32_00 + slot)."""
    if not 0 <= slot < 16:
        raise ValueError("no such register")
    return 8 + slot


def _slot(body: bytes) -> int:
    """Ours from the kernel's, which says every fourth one by its older, 128-bit name."""
    register = nl.number(body)
    return (register - 1) * 4 if register < 8 else register - 8
