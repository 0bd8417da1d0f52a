"""The jack: broadcasts the code, mints authentication codes."""
