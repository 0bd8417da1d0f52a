"""Field trials at the desk: recordings of agents read, replayed and learnt from."""
