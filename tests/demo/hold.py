"""`python hold.py PORT`: a stage with stand-ins for agents, held until standard input ends.

Says "up" when it stands."""

from __future__ import annotations

import sys
from pathlib import Path

from intertie.demo.abort import Abort
from intertie.demo.sites import chosen
from intertie.demo.stage import Stage

STANDIN = (sys.executable, str(Path(__file__).with_name("standin.py")))


def main() -> int:
    try:
        with Stage(chosen(3), int(sys.argv[1]), STANDIN) as stage:
            stage.start()
            print("up", flush=True)
            sys.stdin.read()
    except Abort as abort:
        print(f"{abort.detail}\n{abort.hint}", file=sys.stderr)
        return abort.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
