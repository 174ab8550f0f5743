"""nf_tables without the `nft` program: typed tables that are written whole and read back as they were written.

A `Table` is a value. `replace` puts tables in place of their namesakes in one transaction, so that no packet
sees half of them. `read` parses what the kernel holds into the same values: a table that nobody touched
compares equal to the one that was written, and anything added, changed or deleted by hand does not.

All functions work in the network namespace of the calling thread and take as long as the kernel takes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from intertie.drivers.linux import nfnetlink as nl
from intertie.drivers.linux import nft_codec as codec
from intertie.drivers.linux.nft_model import Chain, Element, Family, Rule, Set, Table

TableKey = tuple[Family, str]


def replace(tables: Sequence[Table]) -> None:
    """Put the tables in place of those of the same family and name, all at once. OSError if refused."""
    messages: list[nl.Message] = []
    for table in tables:
        # Adding first makes the deletion succeed where there was none.
        messages += [codec.add_table(table), codec.delete_table(table), codec.add_table(table)]
        messages += codec.add_sets(table)
        messages += codec.add_chains(table)
    with nl.Socket() as socket:
        socket.commit(messages)


def delete(names: Sequence[TableKey]) -> None:
    """Remove the tables, all at once; one that is not there is no error."""
    messages: list[nl.Message] = []
    for family, name in names:
        table = Table(family, name)
        messages += [codec.add_table(table), codec.delete_table(table)]
    with nl.Socket() as socket:
        socket.commit(messages)


def read(prefix: str = "") -> dict[TableKey, Table]:
    """The inet and bridge tables whose names begin with `prefix`, as the kernel holds them."""
    found: dict[TableKey, Table] = {}
    with nl.Socket() as socket:
        for family in Family:
            found.update(_read_family(socket, family, prefix))
    return found


def _read_family(socket: nl.Socket, family: Family, prefix: str) -> dict[TableKey, Table]:
    names = [codec.table_name(body) for _, body in socket.dump(codec.GETTABLE, family)]
    names = [name for name in names if name.startswith(prefix)]
    if not names:
        return {}
    rules: dict[tuple[str, str], list[Rule]] = defaultdict(list)
    for _, body in socket.dump(codec.GETRULE, family):
        table, chain, rule = codec.parse_rule(body)
        rules[table, chain].append(rule)
    chains: dict[str, list[Chain]] = defaultdict(list)
    for _, body in socket.dump(codec.GETCHAIN, family):
        table, parsed = codec.parse_chain(body)
        chains[table].append(Chain(parsed.name, parsed.rules + tuple(rules[table, parsed.name]), parsed.hook))
    sets: dict[str, list[Set]] = defaultdict(list)
    for _, body in socket.dump(codec.GETSET, family):
        table, bare = codec.parse_set(body)
        if table in names:
            sets[table].append(Set(bare.name, bare.fields, _elements(socket, family, table, bare)))
    return {(family, n): Table(family, n, tuple(chains[n]), tuple(sets[n])) for n in names}


def _elements(socket: nl.Socket, family: Family, table: str, bare: Set) -> frozenset[Element]:
    found: set[Element] = set()
    for _, body in socket.dump(codec.GETSETELEM, family, codec.elements_of(table, bare.name)):
        found.update(codec.parse_elements(body, bare))
    return frozenset(found)
