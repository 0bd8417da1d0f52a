"""Bluetooth LE behind one small port."""
