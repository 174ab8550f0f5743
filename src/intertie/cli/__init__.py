"""The command `intertie`: a plain client of the REST API. Everything heavy is imported when a command needs it."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process and exit with its code (`cli.problem` lists them)."""
    from intertie.cli.app import run

    sys.exit(run(sys.argv[1:]))
