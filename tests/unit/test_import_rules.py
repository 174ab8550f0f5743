"""The import rules of pyproject.toml, shown to bite: a tree of empty floors with one forbidden import on each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"

FLOORS = (
    *(
        "demo",
        "main",
        "wiring",
        "serving",
        "backup",
        "logs",
        "surroundings",
        "tracing",
        "openstack_site",
        "site_file",
        "unit_file",
        "openstack_site",
        "testing",
        "api",
        "cli",
        "osc",
        "agent",
        "store",
        "federation",
        "planning",
        "client",
        "model",
    ),
    *("drivers", "drivers.cloud", "drivers.transport", "drivers.linux", "drivers.openstack"),
)

FORBIDDEN = {
    "model.clock": "time",
    "planning.chance": "random",
    "planning.upward": "intertie.agent",
    "store.sibling": "intertie.federation",
    "federation.sibling": "intertie.drivers",
    "drivers.sibling": "intertie.store",
    "drivers.cloud.sibling": "intertie.drivers.transport",
    "drivers.transport.sibling": "intertie.drivers.cloud",
    "drivers.linux.upward": "intertie.drivers.cloud",
    "drivers.openstack.upward": "intertie.drivers.transport",
    "drivers.openstack.sibling": "intertie.drivers.linux",
    "agent.driver": "intertie.drivers.linux",
    "agent.web": "fastapi",
    "api.sibling": "intertie.cli",
    "cli.downward": "intertie.planning",
    "cli.upward": "intertie.main",
    "osc.sibling": "intertie.cli",
    "osc.downward": "intertie.agent",
    "testing.upward": "intertie.demo",
    "client.downward": "intertie.planning",
    "client.web": "typer",
    "agent.client": "intertie.client",
}

ALLOWED = {
    "cli.noun": "intertie.model",
    "cli.client": "intertie.client",
    "client.noun": "intertie.model",
    "client.wire": "httpx",
    "agent.database": "intertie.store",
    "drivers.cloud.kernel": "intertie.drivers.linux",
    "drivers.transport.kernel": "intertie.drivers.linux",
    "drivers.transport.switch": "intertie.drivers.openstack",
    "demo.everything": "intertie.main",
}


def build(folder: Path, imports: dict[str, str]) -> None:
    for module in ("", *FLOORS):
        package = folder / "src" / "intertie" / Path(*module.split("."))
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").write_text("")
    for module, wanted in imports.items():
        (folder / "src" / "intertie" / Path(*module.split("."))).with_suffix(".py").write_text(f"import {wanted}\n")
    (folder / "pyproject.toml").write_text(PYPROJECT.read_text())


def lint(folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src"), "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str]:
    folder = tmp_path_factory.mktemp("forbidden")
    build(folder, {**FORBIDDEN, **ALLOWED})
    return lint(folder)


@pytest.mark.parametrize("module", FORBIDDEN)
def test_a_forbidden_import_is_reported(verdict: tuple[int, str], module: str) -> None:
    code, output = verdict
    assert code == 1, output
    assert f"intertie.{module} -> {FORBIDDEN[module]}" in output


def test_what_the_floors_allow_is_not_reported(tmp_path: Path) -> None:
    build(tmp_path, ALLOWED)
    code, output = lint(tmp_path)
    assert code == 0, output
    assert " 0 broken" in output
