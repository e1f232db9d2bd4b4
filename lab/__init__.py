"""The notebook every bench writes in: runs, checkpoints, figures, statistics, and the command line."""

import os

# Torch's CPU threads spin while they wait for each other, and starve where another program keeps a core busy: an update
# of the Nature network by two threads on two busy cores took 792 ms, and 44 ms with this short spin; idle, the same 18.
# Read when torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
