"""The file by which a till finds the terminal: who may read it, and how long it holds."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from payment_device.till_access import TillAccess


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_address_and_token_stay(tmp_path: Path) -> None:
    file = tmp_path / "till.json"
    fresh = TillAccess.recall(file)
    assert (fresh.url, fresh.port) == ("", 0)
    told = replace(fresh, url="http://127.0.0.1:4711")
    told.keep(file, for_the_group=False)
    assert TillAccess.recall(file) == told
    assert (told.port, mode(file)) == (4711, 0o600)
    written = file.stat().st_ino
    told.keep(file, for_the_group=False)
    assert file.stat().st_ino == written
    assert TillAccess.recall(tmp_path / "another").token != told.token


def test_the_group_of_its_folder_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "till"
    folder.mkdir()
    groups = [group for group in os.getgroups() if group != os.getgid()]
    group = groups[0] if groups else os.getgid()
    os.chown(folder, -1, group)
    folder.chmod(0o2750)
    file = folder / "till.json"
    TillAccess("http://127.0.0.1:1", "t").keep(file, for_the_group=True)
    assert mode(file) == 0o640
    assert file.stat().st_gid == group


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"url": "x"}'])
def test_a_damaged_file_is_replaced(tmp_path: Path, text: str) -> None:
    file = tmp_path / "till.json"
    file.write_text(text)
    access = TillAccess.recall(file)
    assert access.url == ""
    assert len(access.token) > 40
