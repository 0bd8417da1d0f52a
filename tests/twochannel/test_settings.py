"""Settings: file, environment, flags, and all problems at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from twochannel.settings import Settings, SettingsError, load


class Lamp(Settings):
    colour: str = "red"
    power_w: int = 5
    places: tuple[str, ...] = ()


def _load(file: Path | None = None, *, env: dict[str, str] | None = None, **flags: object) -> Lamp:
    return load(Lamp, file=file, environment=env or {}, prefix="LAMP", flags=flags)


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('colour = "green"\npower_w = 7\nplaces = ["hall"]\n')
    assert _load() == Lamp()
    assert _load(tmp_path / "absent.toml") == Lamp()
    assert _load(file).power_w == 7
    assert _load(file, env={"LAMP_POWER_W": "9", "POWER_W": "1"}).power_w == 9
    assert _load(file, env={"LAMP_POWER_W": "9"}, power_w=11, colour=None) == Lamp(
        colour="green", power_w=11, places=("hall",)
    )


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('power_w = "much"\ncolor = "red"\n')
    with pytest.raises(SettingsError) as failure:
        _load(file, env={"LAMP_PLACES": "hall"}, colour=7)
    told = {tuple(line.split(": ", 2)[:2]) for line in str(failure.value).splitlines()}
    assert told == {
        (str(file), "power_w"),
        (str(file), "color"),
        ("LAMP_PLACES", "places"),
        ("command line", "colour"),
    }
    assert "there is no such setting; there are: colour, power_w, places" in str(failure.value)


@pytest.mark.parametrize("content", [b"colour =", b"\xff"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"config\.toml"):
        _load(file)
