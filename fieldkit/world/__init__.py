"""A simulated place with lanes and cars, in which the real lane decision is put to the test."""
