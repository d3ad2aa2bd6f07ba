"""`python -m levyjax` is the command `levyjax`."""

import sys

from levyjax.cli import main

if __name__ == "__main__":
    sys.exit(main())
