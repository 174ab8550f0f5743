"""The index of VNIs and route targets says what a look at every Vpn would say, whatever happened to the records."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from intertie.model.bodies import Attachment, VpnBody, VpnKind
from intertie.model.records import Header, Kind, Order, Record, State
from intertie.planning.table import Table

BODY = VpnBody(
    name="v",
    kind=VpnKind.L2,
    project="demo",
    transport="vxlan",
    vni=0,
    route_target="",
    mtu=1450,
    attachments=(Attachment(site="a"),),
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a.1", "a.2", "b.1", "b.2"]),
        st.integers(1, 3),
        st.integers(1, 3),
        st.sampled_from([*State, None]),
    ),
    max_size=12,
)


def vpn(id: str, vni: int, target: int, state: State, seq: int) -> Record:
    header = Header(kind=Kind.VPN, id=id, home=id[0], order=Order(0, "", 1, seq), state=state, names=("a",))
    return Record(header, replace(BODY, vni=vni, route_target=f"64512:{target}"), b"", b"")


@given(STEPS)
def test_the_index_is_what_a_look_at_all_says(steps: list[tuple[str, int, int, State | None]]) -> None:
    table = Table("a")
    for seq, (id, vni, target, state) in enumerate(steps, start=1):
        if state is None:
            table.drop(id)
        else:
            table.apply(vpn(id, vni, target, state, seq))
    for number in range(1, 4):
        for target in range(1, 4):
            wanted = (number, f"64512:{target}")
            slow = [r.id for r, b in table.vpns() if b.vni == wanted[0] or b.route_target == wanted[1]]
            assert [r.id for r, _ in table.numbered(*wanted)] == slow
