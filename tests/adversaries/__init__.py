"""Attacks of everyone in docs/threats.md; the stage some need ends with this folder."""
