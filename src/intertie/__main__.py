"""`python -m intertie`: the same as the script `intertie`."""

from __future__ import annotations

from intertie.cli import main

if __name__ == "__main__":
    main()
