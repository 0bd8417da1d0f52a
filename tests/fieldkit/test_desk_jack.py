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


def test_ids_and_nonces_may_begin_with_a_hyphen(tmp_path: Path) -> None:
    folder = ["jack", "--folder", str(tmp_path / "jack")]
    server = ["--server", str(tmp_path / "server.json")]
    told = CliRunner().invoke(main, [*folder, "pair", "-Y" + 41 * "j", *server])
    assert "server.json" in told.output
    assert "does not exist" in told.output
    told = CliRunner().invoke(main, [*folder, "answer", "--", "-Y" + 14 * "j"], input="x")
    assert told.exit_code == 1
