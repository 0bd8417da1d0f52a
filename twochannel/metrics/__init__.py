"""What Prometheus may ask of an agent (docs/metrics.md); loaded only if it is asked for."""
