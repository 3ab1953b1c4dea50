"""The synthetic corpus `demo`."""
