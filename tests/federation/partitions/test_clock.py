"""A clock that is wrong by hours, over real TLS: peers refuse each other's certificates and say what they see."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from intertie.model.errors import Unavailable
from tests.federation.peer_lab import pair


@pytest.mark.parametrize("hours", [3, -30], ids=["three hours fast", "thirty hours slow"])
async def test_a_clock_wrong_by_hours_makes_the_site_silent_to_all_and_says_why(tmp_path: Path, hours: int) -> None:
    async with pair(tmp_path) as (nantes, lyon):
        assert await nantes.call(lyon) == b"nantes:hello"
        nantes.clock.offset = timedelta(hours=hours)
        nantes.pin()
        nantes.pin(lyon)  # a new certificate, dated by the wrong clock
        with pytest.raises(Unavailable) as outward:
            await nantes.call(lyon)
        assert outward.value.code == "owner-silent"
        assert "certificate" in outward.value.detail, outward.value.detail
        nantes.clock.offset = timedelta()
        nantes.pin()
        nantes.pin(lyon)
        assert await nantes.call(lyon) == b"nantes:hello"
