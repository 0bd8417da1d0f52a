"""The terminal at a lane, pump or gate."""
