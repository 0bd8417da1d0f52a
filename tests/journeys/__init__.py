"""Whole agents make journeys together; the stage they share ends with this folder."""
