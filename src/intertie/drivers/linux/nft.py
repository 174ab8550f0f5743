"""nf_tables without the `nft` program: typed tables that are written whole and read back as they were written.

A `Table` is a value. `replace` puts tables in place of their namesakes in one transaction, so that no packet
sees half of them. `read` parses what the kernel holds into the same values: a table that nobody touched
compares equal to the one that was written, and anything added, changed or deleted by hand does not.

All functions work in the network namespace of the calling thread and take as long as the kernel takes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace as replaced

from intertie.drivers.linux import nfnetlink as nl
from intertie.drivers.linux import nft_codec as codec
from intertie.drivers.linux.nft_model import Chain, Family, Rule, Set, Table, Unknown

TableKey = tuple[Family, str]


def replace(tables: Sequence[Table]) -> None:
    """Put the tables in place of those of the same family and name, all at once. OSError if refused.

    Where it can, it puts new rules into the chains that are there: a packet then meets either the old rules or the
    new ones, while between two chains of two tables it could slip through as one goes and the other comes.
    """
    messages: list[nl.Message] = []
    with nl.Socket() as socket:
        for table in tables:
            have = _read_table(socket, table.family, table.name)
            messages += _recreate(table) if have is None or not _alike(have, table) else _refill(have, table)
        socket.commit(messages)


def _alike(have: Table, want: Table) -> bool:
    """Whether what is there under the same name can be filled anew."""
    hooks = {chain.name: chain.hook for chain in want.chains}
    types = {each.name: (each.type, each.learnt) for each in want.sets}
    chains = all(hooks.get(c.name, c.hook) == c.hook and not _policy(c) for c in have.chains)
    return chains and all(types.get(s.name, (s.type, s.learnt)) == (s.type, s.learnt) for s in have.sets)


def _policy(chain: Chain) -> bool:
    return any(Unknown("policy") in rule.expressions for rule in chain.rules)


def _recreate(table: Table) -> list[nl.Message]:
    # Adding first makes the deletion succeed where there was none.
    again = [codec.add_table(table), codec.delete_table(table), codec.add_table(table)]
    return [*again, *codec.add_sets(table), *codec.add_chains(table)]


def _refill(have: Table, want: Table) -> list[nl.Message]:
    chains, sets = {chain.name for chain in want.chains}, {each.name for each in want.sets}
    gone = [codec.delete_chain(want, chain.name) for chain in have.chains if chain.name not in chains]
    gone += [codec.delete_set(want, each.name) for each in have.sets if each.name not in sets]
    return [codec.flush(want), *gone, *codec.add_sets(want), *codec.add_chains(want)]


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


def read_tables(name: str) -> dict[TableKey, Table]:
    """The tables of that very name, without a look at any other."""
    with nl.Socket() as socket:
        found = {(family, name): _read_table(socket, family, name) for family in Family}
    return {where: table for where, table in found.items() if table is not None}


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
        parsed_set = codec.parse_set(body)
        if parsed_set is not None and parsed_set[0] in names:
            table, bare = parsed_set
            sets[table].append(_filled(socket, family, table, bare))
    return {(family, n): Table(family, n, tuple(chains[n]), tuple(sets[n])) for n in names}


def _read_table(socket: nl.Socket, family: Family, name: str) -> Table | None:
    where = codec.in_table(name)
    if not socket.there(codec.GETTABLE, family, where):
        return None
    rules: dict[str, list[Rule]] = defaultdict(list)
    for _, body in socket.dump(codec.GETRULE, family, where):
        _, chain, rule = codec.parse_rule(body)
        rules[chain].append(rule)
    chains = []
    for _, body in socket.dump(codec.GETCHAIN, family):
        table, parsed = codec.parse_chain(body)
        if table == name:
            chains.append(Chain(parsed.name, parsed.rules + tuple(rules[parsed.name]), parsed.hook))
    found = (codec.parse_set(body) for _, body in socket.dump(codec.GETSET, family, where))
    bare = [each[1] for each in found if each is not None]
    sets = (_filled(socket, family, name, each) for each in bare)
    return Table(family, name, tuple(chains), tuple(sets))


def _filled(socket: nl.Socket, family: Family, table: str, bare: Set) -> Set:
    """The set with its elements, which are no part of a learnt one."""
    if bare.learnt:
        return bare
    answers = socket.dump(codec.GETSETELEM, family, codec.elements_of(table, bare.name))
    return replaced(bare, elements=frozenset(e for _, body in answers for e in codec.parse_elements(body)))
