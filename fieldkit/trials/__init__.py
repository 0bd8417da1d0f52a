"""Field trials at the desk: what the agents recorded, on one timeline, and what it shows."""
