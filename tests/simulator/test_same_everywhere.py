"""The same seed is the same run: under every Python, in every process, with any order of sets; and with nothing but
Python's own library, so that no other library can make a difference."""

from __future__ import annotations

import pytest

from tests.simulator.interpreters import bare, interpreters

SEEDS = "1..2"
PROFILES = "mixed,churn,crashes"
OUTSIDE = """
import importlib, pkgutil, sys
import intertie.agent, intertie.model, intertie.planning, intertie.testing.simulator
for package in (intertie.model, intertie.planning, intertie.agent, intertie.testing.simulator):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
tops = {name.partition(".")[0] for name in sys.modules}
print(*sorted(tops - set(sys.stdlib_module_names) - {"intertie", "__main__", "__mp_main__"}))
print(sum(name.startswith("intertie.") for name in sys.modules))
"""


@pytest.mark.parametrize("version", interpreters())
def test_model_planning_agent_and_simulator_need_no_library(version: str) -> None:
    done = bare(interpreters()[version], "-c", OUTSIDE)
    assert done.returncode == 0, done.stderr
    foreign, modules = done.stdout.split("\n")[:2]
    assert foreign == ""
    assert int(modules) > 60


@pytest.mark.timeout(900)
def test_the_same_seed_gives_the_same_trace() -> None:
    """`check` plays each twice, under two PYTHONHASHSEEDs, and says so if they are unlike."""
    arguments = ("-m", "intertie.testing.simulator.main", "check", SEEDS, "--profile", PROFILES)
    done = {version: bare(python, *arguments) for version, python in interpreters().items()}
    here = next(iter(done.values()))
    lines = here.stdout.splitlines()
    assert len(lines) == 6, here.stderr
    assert len({line.split()[-1] for line in lines}) == 6
    for version, said in done.items():
        assert (version, said.returncode, said.stdout) == (version, 0, here.stdout), said.stderr
    if len(done) == 1:
        pytest.skip(f"the same under two hash seeds; no other Python than {next(iter(done))} is here")
