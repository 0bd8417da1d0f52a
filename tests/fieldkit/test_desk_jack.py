"""The jack on the desk: docs/api.md has it pay; here is what it says when it cannot."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from fieldkit.cli import main


def test_without_a_pairing_it_says_what_to_do(tmp_path: Path) -> None:
    folder = str(tmp_path / "jack")
    told = CliRunner().invoke(main, ["jack", "--folder", folder, "code"])
    assert (told.exit_code, "fieldkit jack pair" in told.output) == (1, True)
    told = CliRunner().invoke(main, ["jack", "--folder", folder, "answer", "A" * 16], input="x")
    assert told.exit_code == 1
