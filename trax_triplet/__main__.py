"""`python -m trax_triplet` is the command `trax-triplet`."""

import sys

from trax_triplet.cli import main

if __name__ == "__main__":
    sys.exit(main())
