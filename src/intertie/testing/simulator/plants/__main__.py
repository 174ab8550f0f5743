"""`python -m intertie.testing.simulator.plants`"""

import sys

from intertie.testing.simulator.plants import main

if __name__ == "__main__":
    sys.exit(main())
