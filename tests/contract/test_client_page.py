"""docs/client.md, block by block, as a reader would run it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.contract.api_rig import Rig
from tests.contract.api_served import served

PAGE = Path(__file__).parents[2] / "docs" / "client.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_every_block_does_what_the_page_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig()
    try:
        with served(rig) as url:
            monkeypatch.setenv("INTERTIE_URL", url)
            monkeypatch.setenv("INTERTIE_TOKEN", rig.token)
            said = _run()
    finally:
        rig.close()
    assert "nantes carries ['vxlan']\nlyon up\n" in said
    assert "ready [('nantes', 'ready'), ('lyon', 'ready')]\n" in said
    assert "\nstale - " in said
    assert "\nin-use - network green is in Vpn azure" in said
    assert "\nIn use\n" in said
    assert "packets cross: True\n" in said


def _run() -> str:
    said: list[str] = []
    # Not the process's own print: the agents' log goes to the same place.
    names: dict[str, Any] = {"print": lambda *words: said.append(" ".join(map(str, words)) + "\n")}
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"{PAGE.name}, block {number + 1}", "exec"), names)
    return "".join(said)


def test_there_are_blocks() -> None:
    assert len(BLOCKS) >= 5
