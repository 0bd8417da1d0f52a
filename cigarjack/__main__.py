"""Run with ``python -m cigarjack``."""

from cigarjack.cli import main

main()
