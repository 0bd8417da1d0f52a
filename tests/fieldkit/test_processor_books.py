from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from fieldkit import processor_books
from fieldkit.process import command
from fieldkit.processor_books import FILE_NAME, Charge, charges, printed
from server.processors.port import Approved, CaptureOrder, ChargeOrder
from server.processors.simulated import SimulatedProcessor
from twochannel.protocol.payment import CaptureMode

PAYMENT = "01890a5d-ac96-774b-bcce-b302099a8057"


async def test_reads_what_the_processor_has_booked(tmp_path: Path) -> None:
    with SimulatedProcessor(tmp_path / FILE_NAME) as processor:
        held = await processor.charge(
            ChargeOrder("key-1", PAYMENT, "tok_success", 8000, "EUR", CaptureMode.MANUAL)
        )
        assert isinstance(held, Approved)
        assert charges(tmp_path, PAYMENT) == [Charge("held", "EUR", 8000, 0)]
        await processor.capture(CaptureOrder("key-2", PAYMENT, held.reference, 4217, "EUR"))
    assert charges(tmp_path, PAYMENT) == [Charge("captured", "EUR", 8000, 4217)]
    assert charges(tmp_path, "another") == []
    line = ("-m", processor_books.__name__, str(tmp_path), PAYMENT)
    _, text = await command("books", line)
    assert printed(text) == charges(tmp_path, PAYMENT)


def test_books_that_are_missing_are_not_taken_for_empty(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        charges(tmp_path, PAYMENT)
