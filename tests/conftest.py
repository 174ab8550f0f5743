"""What every test folder shares: private namespaces for tests/net, fire, hosts and openstack, what to do about a
missing program, profiles.

Namespaces. A run that reaches into one of these starts itself again inside private network, mount and
process namespaces, with an empty /run: as root plainly, as an ordinary user inside a user namespace where it is root.
So nothing of the machine can be touched, and nothing outlives the run, whatever it started.

Skips. `@pytest.mark.requires("ping", "tcpdump")` names programs that a test uses as independent checkers. An
ordinary user without them gets a skip with its reason. For root (and in the runs that root starts for an ordinary
user) that is a failure: root can install them, and a skip would hide what was not tested. Note that in a user
namespace tcpdump is refused a privilege it wants; compare there with sockets of your own.

Chance. Hypothesis runs its `ci` profile when CI is set: the same examples every time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).resolve().parent
OPENSTACK = TESTS / "openstack"
NET = (TESTS / "net", TESTS / "fire", TESTS / "hosts", OPENSTACK)
INSIDE = "INTERTIE_TESTS_INSIDE"
STRICT = "INTERTIE_TESTS_STRICT"
EMPTY_RUN = 'mount -t tmpfs none /run && mkdir -p /run/netns && exec "$@"'

refusal = pytest.StashKey[str]()
"""Why this machine gives us no namespaces; absent when it does, or when none were asked for."""

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("dev", deadline=None)
settings.register_profile("soak", deadline=None, max_examples=5000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


def wrapper() -> list[str]:
    """The command that runs another one in namespaces of its own."""
    flags = "-nmpf" if os.geteuid() == 0 else "-Urnmpf"
    return ["unshare", flags, "--kill-child", "--mount-proc", "sh", "-c", EMPTY_RUN, "sh"]


def why_not(command: list[str]) -> str:
    """ "" when `command` can run `true`, else its own words."""
    try:
        done = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return f"no program {command[0]}"
    return "" if done.returncode == 0 else done.stderr.strip() or f"{command[0]} ends with {done.returncode}"


def reaches(config: pytest.Config, *folders: Path) -> bool:
    for argument in config.args:
        path = (config.invocation_params.dir / argument.split("::")[0]).resolve()
        if any(path.is_relative_to(folder) or folder.is_relative_to(path) for folder in folders):
            return True
    return False


def enter_namespaces(config: pytest.Config) -> None:
    """Replaces this process by the same run inside; comes back only when the machine refuses."""
    if reason := why_not(wrapper()):
        config.stash[refusal] = f"no private namespaces here: {reason}"
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture(in_=True)
    sys.stdout.flush()
    sys.stderr.flush()
    command = [*wrapper(), sys.executable, "-m", "pytest", *config.invocation_params.args]
    environment = {**os.environ, INSIDE: "1"}
    if uid := os.geteuid():
        environment["LOGNAME"] = (
            f"uid-{uid}"  # else pytest would keep its files under root's name, which root may own
        )
    os.execvpe(command[0], command, environment)


def raise_loopback() -> None:
    from pyroute2 import IPRoute

    with IPRoute() as kernel:
        kernel.link("set", index=1, state="up")


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get(INSIDE):
        raise_loopback()
        return
    if os.geteuid() == 0:
        os.environ.setdefault(STRICT, "1")
    if reaches(config, OPENSTACK):
        # Inside there is no network to install it from. If that fails, the tests that need it say so.
        for plane in ("ovn", "ovs") if os.geteuid() == 0 else ("none",):
            install = [sys.executable, "-m", "lab", "install", "--data-plane", plane]
            subprocess.run(install, cwd=TESTS.parent, stdout=sys.stderr, check=False)
    if reaches(config, *NET):
        enter_namespaces(config)


def pytest_itemcollected(item: pytest.Item) -> None:
    """A test in tests/net, fire or hosts is marked `net`, one in tests/demo `demo`."""
    folder = item.path.relative_to(TESTS).parts[0]
    if folder in ("net", "fire", "hosts", "demo"):
        item.add_marker("demo" if folder == "demo" else "net")


def lacks(reason: str) -> None:
    if os.environ.get(STRICT) == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("net") and (reason := item.config.stash.get(refusal, "")):
        lacks(reason)
    wanted = [str(program) for mark in item.iter_markers("requires") for program in mark.args]
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    if missing := [program for program in wanted if shutil.which(program, path=path) is None]:
        lacks(f"this test checks with {', '.join(missing)}, which is not installed")
