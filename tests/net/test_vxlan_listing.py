"""What the rules of a segment mean, in the words of nft(8), which had no part in writing them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from intertie.drivers.linux import nft
from intertie.drivers.linux.netns import Namespaces
from intertie.drivers.transport.vxlan_probe import example
from intertie.drivers.transport.vxlan_router import wanted_table
from intertie.drivers.transport.vxlan_rules import tables
from intertie.model.bodies import VpnKind

pytestmark = [pytest.mark.net, pytest.mark.requires("nft")]
GOLDEN = Path(__file__).parent / "golden"
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


async def listed(spaces: Namespaces) -> str:
    command = ["nft", "list", "ruleset"]
    done = await spaces.run(
        None,
        lambda: subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": PATH}),
    )
    return "\n".join(" ".join(line.split()) for line in done.stdout.splitlines() if line.strip()) + "\n"


def reload() -> None:
    """An operator saves the rules, flushes them and loads them again."""
    saved = subprocess.run(["nft", "list", "ruleset"], capture_output=True, check=True, env={"PATH": PATH}).stdout
    subprocess.run(["nft", "flush", "ruleset"], check=True, env={"PATH": PATH})
    subprocess.run(["nft", "-f", "-"], input=saved, check=True, env={"PATH": PATH})


@pytest.mark.parametrize("name", ["l2", "l3", "router"])
async def test_rules_as_nft_lists_them(tmp_path: Path, name: str) -> None:
    spaces = Namespaces(tmp_path / "netns")
    wished = (wanted_table(),) if name == "router" else tables("nantes", example(VpnKind(name)))
    await spaces.run(None, lambda: nft.replace(wished))
    try:
        if os.environ.get("INTERTIE_GOLDEN_WRITE"):
            (GOLDEN / f"vxlan_{name}.nft").write_text(await listed(spaces))
        assert await listed(spaces) == (GOLDEN / f"vxlan_{name}.nft").read_text()
        held = await spaces.run(None, lambda: nft.read("intertie"))
        assert tuple(held.values()) == wished
        await spaces.run(None, reload)
        assert await listed(spaces) == (GOLDEN / f"vxlan_{name}.nft").read_text()
    finally:
        await spaces.run(None, lambda: nft.delete([(table.family, table.name) for table in wished]))
        await spaces.close()
