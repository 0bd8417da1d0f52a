"""The method as pure code: no I/O, no clock, no randomness, no environment."""
