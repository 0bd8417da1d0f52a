"""Run with ``python -m phone_agent``."""

from phone_agent.cli import main

main()
