"""A federation in one process: what users and operators do, and what breaks meanwhile."""

from __future__ import annotations

from intertie.testing.federation import OPERATOR, World
from intertie.testing.virtual_time import run


def test_l2_over_three_sites_is_ready_everywhere() -> None:
    async def main() -> None:
        world = World()
        for name in ("nantes", "lyon", "rennes"):
            await world.site(name)
        await world.enrol("nantes", "lyon", "rennes")
        await world.net("nantes", "blue", "10.0.0.0/24", "2001:db8:1::/64")
        id = await world.vpn("nantes", "stretch", "l2", "nantes:blue", "lyon", "rennes")
        await world.until(lambda: all(world.phase(s, id) == "ready" for s in world.running))
        seen = world.running["lyon"].vpns.get(OPERATOR, id)
        assert [m.answer for m in seen.members] == ["accepted"] * 3
        assert [len(p.from_) > 0 and p.health.value for p in seen.pairs] == ["ready"] * 3
        ranges = [r for m in seen.members for r in m.ranges]
        assert len(set(ranges)) == len(ranges)
        host = await world.running["lyon"].networks.create_host(OPERATOR, "a", "blue")
        assert any(r.first <= host.address <= r.last for r in seen.members[1].ranges if r.first.version == 4)
        await world.close()

    run(main())
