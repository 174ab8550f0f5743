"""`python -m lab install | up`: a real OpenStack with Intertie beside each region, to try things on, until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from types import FrameType

from intertie.model.errors import IntertieError
from lab import environment, template
from lab.beside import USERS, Beside, agents
from lab.environment import LabError, say
from lab.regions import BASE, Lab, Wish, running
from lab.settings import DATA_PLANES, LAYOUTS, REGIONS
from lab.sites import HOST_ADDRESS
from lab.story import Story

OK, FAILED, MISSING, NOT_IN_TIME, REFUSED = 0, 1, 2, 3, 4


def arguments(given: Sequence[str]) -> argparse.Namespace:
    packets = "ovn" if os.geteuid() == 0 else "none"
    parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    install = commands.add_parser("install", help="make the environment and the databases, and start nothing")
    install.add_argument("--data-plane", choices=DATA_PLANES, default=packets, help="install its programs too")
    up = commands.add_parser("up", help="start it, and say on stdout when it is ready")
    up.add_argument("--layout", choices=LAYOUTS, default="shared", help="one Keystone for all regions, or one each")
    up.add_argument("--regions", type=int, choices=range(1, len(REGIONS) + 1), default=2)
    up.add_argument("--port", type=int, default=BASE, help="of the first Keystone; Neutrons follow from ten above")
    up.add_argument("--users", type=int, default=USERS, help="port of the first agent's API")
    up.add_argument(
        "--data-plane",
        choices=DATA_PLANES,
        default=packets,
        help="ovn, ovs: packets, and agents; needs root (its default is ovn)",
    )
    up.add_argument("--check", action="store_true", help="make L2 and L3 Vpns, ping, remove all, and leave")
    up.add_argument("-o", dest="output", choices=("text", "json"), default="text")
    return parser.parse_args(given)


def tell(lab: Lab, beside: Sequence[Beside], output: str, seconds: float) -> None:
    if output == "json":
        sites = [{"name": a.name, "url": a.url, "token": a.token, "dir": str(a.dir)} for a in beside]
        print(json.dumps({**lab.document(), "sites": sites}), flush=True)
        return
    print(f"ready after {seconds:.1f} s\n")
    print(f"  export OS_CLIENT_CONFIG_FILE={lab.clouds_yaml}")
    for region in lab.regions:
        print(
            f"  openstack --os-cloud {region.cloud} network list     # {region.url}, Keystone {region.keystone_url}"
        )
    for agent in beside:
        print(f"\n  {agent.name}, beside {agent.region.cloud}: {agent.url}/docs, project demo is {agent.project}")
        print(f"  .venv/bin/intertie --url {agent.url} --token {agent.token} network list")
        print(f"  .venv/bin/intertie --dir {agent.dir} status     # as the operator")
    print("\nCtrl-C ends it, and removes all of it.", flush=True)


def up(asked: argparse.Namespace) -> int:
    began = time.monotonic()
    packets = asked.data_plane != "none"
    wish = Wish(
        layout=asked.layout,
        regions=asked.regions,
        base=asked.port,
        address=HOST_ADDRESS if packets else "127.0.0.1",
        data_plane=asked.data_plane,
    )
    if asked.check and (not packets or asked.regions < 2):
        raise LabError(
            "--check joins two regions with packets: --data-plane ovn, as root, --regions 2 or more", missing=True
        )
    with ExitStack() as ends:
        lab = ends.enter_context(running(wish))
        beside = ends.enter_context(agents(lab, asked.users)) if packets else []
        if asked.check:
            result = Story(beside, say).tell()
            if asked.output == "json":
                print(json.dumps(result.document()), flush=True)
            return OK if result.ok else FAILED
        tell(lab, beside, asked.output, time.monotonic() - began)
        with suppress(KeyboardInterrupt):
            signal.pause()
    return OK


def main(given: Sequence[str]) -> int:
    asked = arguments(given)

    def leave(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # clearing away is not to be interrupted
        sys.exit(FAILED if getattr(asked, "check", False) else OK)

    signal.signal(signal.SIGTERM, leave)
    try:
        if asked.command == "install":
            environment.install()
            template.make()
            if asked.data_plane != "none":
                environment.install_data_plane(asked.data_plane)
            return OK
        return up(asked)
    except LabError as error:
        say(str(error))
        return MISSING if error.missing else FAILED
    except IntertieError as error:
        say(f"{error.detail} ({error.hint})" if error.hint else error.detail)
        return NOT_IN_TIME if error.code == "timeout" else REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
