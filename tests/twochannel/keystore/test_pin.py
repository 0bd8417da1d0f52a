"""PINs: from private files and the environment, and never told."""

from __future__ import annotations

from pathlib import Path

import pytest

from twochannel.keystore.pin import read_pin
from twochannel.keystore.port import KeyStoreError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pin"
    path.touch(mode=0o600)
    path.write_text("12 34\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["", "file:"])
def test_a_pin_from_a_file_is_its_line(file: Path, scheme: str) -> None:
    assert read_pin(f"{scheme}{file}", {}) == "12 34"


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_pin_that_others_may_read_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(KeyStoreError, match="chmod 600") as refused:
        read_pin(str(file), {})
    assert "12 34" not in str(refused.value)


def test_a_pin_from_the_environment() -> None:
    assert read_pin("env:PIN", {"PIN": "1234"}) == "1234"


@pytest.mark.parametrize("environment", [{}, {"PIN": ""}])
def test_a_variable_without_a_pin_is_named(environment: dict[str, str]) -> None:
    with pytest.raises(KeyStoreError, match="PIN holds no PIN"):
        read_pin("env:PIN", environment)


@pytest.mark.parametrize("source", ["pin", "file:pin", "|/bin/ask", ""])
def test_other_sources_are_refused(source: str) -> None:
    with pytest.raises(KeyStoreError, match="absolute path"):
        read_pin(source, {})


def test_a_missing_or_empty_file_is_named(tmp_path: Path, file: Path) -> None:
    with pytest.raises(KeyStoreError, match="No such file"):
        read_pin(str(tmp_path / "none"), {})
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(KeyStoreError, match="holds no PIN"):
        read_pin(str(file), {})
    file.write_bytes(b"\xff")
    with pytest.raises(KeyStoreError, match="not text"):
        read_pin(str(file), {})
