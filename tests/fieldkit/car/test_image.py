"""When an image is built, and when the one that is there will do. None is built here."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldkit.car import image, workshop
from fieldkit.car.workshop import CarError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "cigarjack" / "car"


@pytest.fixture
def guest_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "guest"
    folder.mkdir()
    (folder / "job").write_text("one")
    monkeypatch.setattr(image, "_GUEST_FILES", folder)
    return folder


def built(cache: Path) -> Path:
    """An image of the present inputs, made by nobody."""
    folder = cache / image.fingerprint()
    folder.mkdir(parents=True)
    return folder


def test_no_image_is_there_before_it_is_built() -> None:
    assert image.cached() is None


def test_an_image_of_the_same_inputs_is_used(cache: Path) -> None:
    folder = built(cache)
    found = image.cached()
    assert found is not None
    assert found.folder == folder
    assert found.disk.parent == folder


@pytest.mark.usefixtures("guest_files")
def test_a_build_returns_what_is_there(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "check_host", lambda: None)
    folder = built(cache)
    said: list[str] = []
    assert image.build(said.append).folder == folder
    assert said == []


def test_another_guest_file_makes_another_image(cache: Path, guest_files: Path) -> None:
    built(cache)
    (guest_files / "job").write_text("two")
    assert image.cached() is None


def test_another_package_makes_another_image(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built(cache)
    monkeypatch.setattr("fieldkit.car.packages.DEBIAN", ("bluez",))
    assert image.cached() is None


def test_another_lock_makes_another_image(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(cache)
    lock = tmp_path / "constraints.txt"
    lock.write_text("h11==0.16.0 --hash=sha256:00\n")
    monkeypatch.setattr(image, "_LOCK_FILE", lock)
    assert image.cached() is None


def test_without_a_work_tree_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "_LOCK_FILE", Path("/nowhere/constraints.txt"))
    with pytest.raises(CarError, match="work tree"):
        image.cached()


def test_a_host_without_qemu_is_told_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldkit.car.packages.ADMINISTRATORS_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CarError, match=r"apt-get install qemu-system-x86 mmdebstrap e2fsprogs"):
        image.check_host()


@pytest.mark.usefixtures("guest_files")
def test_a_build_that_fails_says_why_and_leaves_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "check_host", lambda: None)
    lock = tmp_path / "constraints.txt"
    lock.write_text("")
    monkeypatch.setattr(image, "_LOCK_FILE", lock)
    programs = tmp_path / "programs"
    programs.mkdir()
    bootstrap = programs / "mmdebstrap"
    bootstrap.write_text("#!/bin/sh\necho 'E: no mirror answers'\nexit 25\n")
    bootstrap.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    with pytest.raises(CarError, match=r"exit code 25\):\n  E: no mirror answers"):
        image.build(lambda _step: None)
    assert [entry.name for entry in cache.iterdir()] == ["lock"]


def test_only_the_newest_images_are_kept(cache: Path) -> None:
    for name in ("oldest", "older", "newest"):
        (cache / name).mkdir(parents=True)
        (cache / name / "disk.img").touch()
    workshop.forget_old(cache / "newest")
    assert (cache / "newest").is_dir()
    assert len(list(cache.iterdir())) == 2
