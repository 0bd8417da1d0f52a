"""The bench: virtual air, demo, measurements."""
