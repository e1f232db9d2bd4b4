"""The notebook every bench writes in: runs, checkpoints, figures, statistics, and the command line."""
