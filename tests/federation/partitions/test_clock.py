"""A clock that is wrong by more than a day, over real TLS: peers refuse each other's certificates, and say why."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from intertie.model.errors import Unavailable
from tests.federation.peer_lab import pair


@pytest.mark.parametrize("hours", [30, -30], ids=["fast", "slow"])
async def test_a_clock_wrong_by_more_than_a_day_makes_the_site_silent_to_all_and_says_why(
    tmp_path: Path, hours: int
) -> None:
    async with pair(tmp_path) as (nantes, lyon):
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
