"""The phone: proves the owner's will."""
