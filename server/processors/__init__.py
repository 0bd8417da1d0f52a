"""Card processors behind one small port."""
