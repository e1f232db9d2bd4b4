"""The notebook every bench writes in: runs, checkpoints, figures, statistics, and the command line."""

import os

# Torch's CPU threads spin while they wait for each other. Where another program keeps a core busy that made an update
# of the Nature network 14 times slower (792 ms against 57, two threads on two busy cores); read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
