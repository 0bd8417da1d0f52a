"""Run with ``python -m payment_device``."""

from payment_device.cli import main

main()
