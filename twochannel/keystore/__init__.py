"""Where a device keeps its private keys."""
