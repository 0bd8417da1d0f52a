"""Agents that tell live how they are; their stage ends with this folder."""
