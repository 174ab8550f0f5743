"""`python -m lab install | up`: a real OpenStack to try things on, until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from lab import environment, template
from lab.environment import LabError, say
from lab.regions import BASE, Lab, Wish, running
from lab.settings import DATA_PLANES, LAYOUTS, REGIONS
from lab.sites import HOST_ADDRESS


def arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install", help="make the environment and the databases, and start nothing")
    up = commands.add_parser("up", help="start it, and say on stdout when it is ready")
    up.add_argument("--layout", choices=LAYOUTS, default="shared", help="one Keystone for all regions, or one each")
    up.add_argument("--regions", type=int, choices=range(1, len(REGIONS) + 1), default=2)
    up.add_argument("--port", type=int, default=BASE, help="of the first Keystone; Neutrons follow from ten above")
    up.add_argument("--data-plane", choices=DATA_PLANES, default="none", help="ovn: with packets; needs root")
    up.add_argument("-o", dest="output", choices=("text", "json"), default="text")
    return parser.parse_args(given)


def tell(lab: Lab, output: str, seconds: float) -> None:
    if output == "json":
        print(json.dumps(lab.document()), flush=True)
        return
    print(f"ready after {seconds:.1f} s")
    for region in lab.regions:
        print(f"  {region.cloud:<12} Neutron {region.url}  Keystone {region.keystone_url}")
    print(
        f"  export OS_CLIENT_CONFIG_FILE={lab.clouds_yaml}; openstack --os-cloud {lab.regions[0].cloud} network list"
    )
    sys.stdout.flush()


def main(given: Sequence[str]) -> int:
    asked = arguments(given)
    try:
        if asked.command == "install":
            environment.install()
            template.make()
            return 0
        began = time.monotonic()
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
        packets = asked.data_plane != "none"
        wish = Wish(
            layout=asked.layout,
            regions=asked.regions,
            base=asked.port,
            address=HOST_ADDRESS if packets else "127.0.0.1",
            data_plane=asked.data_plane,
        )
        with running(wish) as lab:
            tell(lab, asked.output, time.monotonic() - began)
            with suppress(KeyboardInterrupt):
                signal.pause()
        return 0
    except LabError as error:
        say(str(error))
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
