#!/usr/bin/env python3
"""What we compare with, alone: bench/run.py's rows and steps without ours, so that a first run on a machine replaces
estimates by measurements. The options are run.py's."""
import sys

import run

if __name__ == "__main__":
    sys.exit(run.main(peers_only=True))
