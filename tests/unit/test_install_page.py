"""docs/install.md says something of every place at which `verify` can find a pair broken; its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

from intertie.agent import volatile, vpns

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "install.md").read_text()


def test_every_place_where_a_pair_may_be_broken() -> None:
    text = Path(volatile.__file__).read_text() + Path(vpns.__file__).read_text()
    said = set(re.findall(r'(?:broken_at|broken)=?\s?=?\s?"([a-z]+)"', text)) | set(
        re.findall(r'return "([a-z]+)", f?"', text)
    )
    said |= {"host"}
    told = set(re.findall(r"^\| `([a-z]+)` \|", PAGE, re.M))
    assert said == told


def test_the_commands_that_are_not_tried_there_exist() -> None:
    from intertie.cli.app import BRANCHES

    words = set(re.findall(r"intertie ([a-z]+)", PAGE))
    assert words - BRANCHES.keys() <= {"init", "service", "is"}
