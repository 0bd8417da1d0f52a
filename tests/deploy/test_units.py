"""The units of systemd, as systemd itself reads and judges them."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = {unit.stem: unit for unit in (DEPLOY / "systemd").glob("*.service")}
WITH_RADIO = ("cigarjack", "payment-device", "phone-agent")
#: Of 10, as ``systemd-analyze security`` adds it up; a service without any hardening has 9.6.
MAX_EXPOSURE = 1.2
SYSTEMS_UNITS = Path("/usr/lib/systemd/system")
TARGETS = ("basic", "multi-user", "network", "shutdown", "sysinit", "umount")


class Unit(ConfigParser):
    """A unit's settings; of one that is given several times, the last."""

    def __init__(self, file: Path) -> None:
        super().__init__(strict=False, interpolation=None)
        self.optionxform = str  # type: ignore[assignment,method-assign]
        self.read(file)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The root of a machine with the units in place, and with what they start."""
    units = tmp_path / "etc" / "systemd" / "system"
    shutil.copytree(DEPLOY / "systemd", units)
    for target in TARGETS:
        place = tmp_path / SYSTEMS_UNITS.relative_to("/") / f"{target}.target"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SYSTEMS_UNITS / place.name, place)
    daemon = "/usr/libexec/bluetooth/bluetoothd"
    (units / "bluetooth.service").write_text(f"[Service]\nExecStart={daemon}\n")
    for program in (daemon, *(f"/opt/cigarjack/current/bin/{command}" for command in UNITS)):
        file = tmp_path / program.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("#!/bin/sh\n")
        file.chmod(0o755)
    return tmp_path


def verified(machine: Path, unit: str) -> str:
    """What systemd has to say against a unit and its drop-ins."""
    file = machine / "etc" / "systemd" / "system" / f"{unit}.service"
    command = ("systemd-analyze", "verify", "--man=no", f"--root={machine}", str(file))
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr + (f"exit code {done.returncode}" if done.returncode else "")


@pytest.mark.parametrize("unit", [*UNITS, "bluetooth"])
def test_systemd_finds_nothing_wrong(machine: Path, unit: str) -> None:
    assert verified(machine, unit) == ""


@pytest.mark.parametrize("kind", ["usb", "serial"])
def test_systemd_finds_nothing_wrong_with_a_radio_of_ones_own(machine: Path, kind: str) -> None:
    units = machine / "etc" / "systemd" / "system"
    (units / "cigarjack.service.d").mkdir()
    (units / f"radio-{kind}.conf").rename(units / "cigarjack.service.d" / "radio.conf")
    assert verified(machine, "cigarjack") == ""


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(("device", "node"), [("tpm", "/dev/tpmrm0"), ("i2c", "/dev/i2c-1")])
def test_systemd_finds_nothing_wrong_with_the_one_device_that_keys_are_in(
    machine: Path, unit: str, device: str, node: str
) -> None:
    units = machine / "etc" / "systemd" / "system"
    drop_in = units / f"{unit}.service.d" / "keys.conf"
    drop_in.parent.mkdir()
    (units / f"keys-{device}.conf").rename(drop_in)
    assert verified(machine, unit) == ""
    opened = Unit(drop_in)["Service"]
    assert opened["DeviceAllow"] == f"{node} rw"
    assert "DevicePolicy" not in opened


def test_systemd_would_say_what_is_wrong(machine: Path) -> None:
    unit = machine / "etc" / "systemd" / "system" / "cigarjack.service"
    unit.write_text(unit.read_text().replace("Restart=always", "Restart=allways"))
    assert "allways" in verified(machine, "cigarjack")


@pytest.mark.parametrize("unit", UNITS)
def test_a_service_is_exposed_to_little(unit: str) -> None:
    done = subprocess.run(
        ("systemd-analyze", "security", "--offline=true", "--no-pager", str(UNITS[unit])),
        capture_output=True,
        text=True,
    )
    exposure = re.search(r"exposure level for .*: ([\d.]+)", done.stdout)
    assert exposure, done.stderr
    print(exposure[0])
    assert float(exposure[1]) <= MAX_EXPOSURE


@pytest.mark.parametrize("unit", UNITS)
def test_a_service_comes_back_whatever_ends_it(unit: str) -> None:
    settings = Unit(UNITS[unit])
    service = settings["Service"]
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")
    assert service["Restart"] == "always"
    assert settings["Unit"]["StartLimitIntervalSec"] == "0"
    assert 0 < int(service["RestartSec"]) <= 5
    assert 10 <= int(service["WatchdogSec"]) <= 60


@pytest.mark.parametrize("unit", UNITS)
def test_a_service_has_a_user_and_a_folder_of_its_own(unit: str) -> None:
    service = Unit(UNITS[unit])["Service"]
    assert (service["User"], service["StateDirectory"]) == (unit, unit)
    assert service["StateDirectoryMode"] == "0700"
    assert service.get("SupplementaryGroups") == ("bluetooth" if unit in WITH_RADIO else None)
    users = (DEPLOY / "sysusers.d" / f"{unit}.conf").read_text()
    assert re.search(rf'^u {unit} - ".*" /var/lib/{unit}$', users, re.MULTILINE)
    folders = (DEPLOY / "tmpfiles.d" / f"{unit}.conf").read_text()
    assert f"\nd /var/lib/{unit} 0700 {unit} {unit} -\n" in folders


@pytest.mark.parametrize("unit", UNITS)
def test_nobody_waits_for_a_network_that_a_car_does_not_have(unit: str) -> None:
    assert "network-online" not in UNITS[unit].read_text()
