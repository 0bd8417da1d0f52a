"""The bench's measurements: speed and memory of the real processes (docs/measurements.md)."""
