"""`python -m bids_hypo`."""

import sys

from bids_hypo.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
