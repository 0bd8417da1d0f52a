"""Agents under load and faults for hours: do they stay right, and do they stay small?"""
