"""The services as deploy/install sets them up, in the hands of an operator who types commands."""

from __future__ import annotations

import itertools
import json
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator, Mapping
from configparser import ConfigParser
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from venv import EnvBuilder

from fieldkit.car.daemon import run
from fieldkit.car.machines import PHONE
from fieldkit.process import StageError
from tests.car.bluetooth import until

TREE: Final = Path(__file__).parents[2]
#: The work tree is at /opt/cigarjack in the car, so that the programs go elsewhere.
PREFIX: Final = Path("/opt/deployed")
_ENVIRONMENT: Final = Path("/opt/agents")
COMMANDS: Final = Path("/usr/local/bin")
SERVICES: Final = ("cigarjack-server", "cigarjack", "payment-device", "phone-agent")
_PRICE: Final = ("4.50", "EUR", "--reference")
#: Four agents at once, all emulated, on a machine that others use too.
DEADLINE_S: Final = 600.0
#: All that an installation could touch, but for the agents' own state.
_PLACES: Final = ("/etc", "/opt", "/usr/local", "/run/systemd/system")
#: The tests' own work tree and environments; and the accounts, which are looked at by name.
_ELSEWHERE: Final = ("/opt/cigarjack", "/opt/venv", "/opt/agents", "/etc/.pwd.lock")
_ACCOUNTS: Final = ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")


def make_environment() -> None:
    """A Python environment with the work tree installed editably, and the libraries of the tests.

    There is no network in the car, where ``deploy/install`` would get them from.
    """
    EnvBuilder(with_pip=False, symlinks=True).create(_ENVIRONMENT)
    (library,) = _ENVIRONMENT.glob("lib/python3*/site-packages")
    (ours,) = Path(sys.prefix).glob("lib/python3*/site-packages")
    (library / "tree.pth").write_text(f"{TREE}\n{ours}\n")
    project = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]
    metadata = library / f"cigarjack-{project['version']}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Name: cigarjack\nVersion: {project['version']}\n")
    for name, entry in project["scripts"].items():
        module, _, function = entry.partition(":")
        script = _ENVIRONMENT / "bin" / name
        script.write_text(
            f"#!{_ENVIRONMENT}/bin/python\nfrom {module} import {function}\n{function}()\n"
        )
        script.chmod(0o755)


async def install(*arguments: str) -> str:
    """Run the script; what it printed."""
    options = ("--prefix", str(PREFIX), "--venv", str(_ENVIRONMENT))
    return await run(str(TREE / "deploy" / "install"), *arguments, *options, deadline_s=DEADLINE_S)


async def ask(command: str, *arguments: str) -> dict[str, Any]:
    """What a command answers to root, who has come with sudo."""
    said = await run(str(COMMANDS / command), *arguments, "--json", deadline_s=DEADLINE_S)
    answer: dict[str, Any] = json.loads(said)
    return answer


async def shown(service: str, *properties: str) -> Mapping[str, str]:
    """Properties of a unit."""
    chosen = ",".join(properties)
    lines = await run("systemctl", "show", f"--property={chosen}", f"{service}.service")
    return dict(line.split("=", 1) for line in lines.splitlines())


async def process_of(service: str) -> int:
    return int((await shown(service, "MainPID"))["MainPID"])


async def says(service: str, text: str) -> None:
    """Wait until the service's status has ``text``."""

    async def said() -> bool:
        return text in (await shown(service, "StatusText"))["StatusText"]

    await until(said, DEADLINE_S)


async def started_anew(service: str, process: int) -> None:
    """Wait until the service has another process than ``process``, which is ready."""

    async def replaced() -> bool:
        now = await shown(service, "MainPID", "ActiveState")
        return now["ActiveState"] == "active" and int(now["MainPID"]) not in (0, process)

    await until(replaced, DEADLINE_S)


async def add_drop_in(service: str, name: str, text: str) -> None:
    """Change a unit until the drop-in is removed."""
    file = _drop_in(service, name)
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    await run("systemctl", "daemon-reload")


async def remove_drop_in(service: str, name: str) -> None:
    file = _drop_in(service, name)
    file.unlink()
    file.parent.rmdir()
    await run("systemctl", "daemon-reload")


def _drop_in(service: str, name: str) -> Path:
    return Path(f"/run/systemd/system/{service}.service.d/{name}.conf")


def told_by_kernel(process: int, file: str) -> str:
    return Path(f"/proc/{process}/{file}").read_text()


def owners_below(folder: Path) -> set[str]:
    """Who owns a private folder and what is in it."""
    assert folder.stat().st_mode & 0o777 == 0o700
    return {file.owner() for file in (folder, *folder.rglob("*"))}


def everything() -> dict[str, tuple[int, int]]:
    """Each file that an installation could have made or changed: when, and how long it is."""
    files = {str(file): _kept(file) for place in _PLACES for file in _below(Path(place))}
    return files | {str(folder): (0, 0) for folder in Path("/var/lib").iterdir()}


def _kept(file: Path) -> tuple[int, int]:
    state = file.lstat()
    return (0, 0) if file.is_dir() else (state.st_mtime_ns, state.st_size)


def _below(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if str(entry) in _ELSEWHERE or entry.name.rstrip("-") in _ACCOUNTS:
            continue
        yield entry
        if entry.is_dir() and not entry.is_symlink():
            yield from _below(entry)


async def enrol_all() -> None:
    """From four installed parties to a phone that may pay, as docs/raspberry-pi.md tells it."""
    await ask("cigarjack-server", "merchants", "add", "Blue Bottle")
    lane = await ask("cigarjack-server", "terminals", "add", "Lane 1", "--merchant", "blue-bottle")
    phone = await ask("cigarjack-server", "phones", "add", "Mina's phone")
    url = "https://127.0.0.1:8443"
    await ask("payment-device", "enroll", url, lane["enrolment_code"])
    await run("systemctl", "start", "payment-device.service")
    await ask("phone-agent", "enroll", url, phone["enrolment_code"])
    opened = await ask("cigarjack", "pair", "open")
    await ask("phone-agent", "pair", opened["label"])
    await ask("phone-agent", "methods", "add", "--test-card")
    await ask("phone-agent", "merchants", "allow", "blue-bottle", "--limit", "20.00 EUR")
    await run("systemctl", "start", "phone-agent.service")


async def eventually_paid(reference: str) -> None:
    """Charge until a payment goes through: the jack may have to be heard first."""

    async def paid() -> bool:
        order = f"{reference}-{next(attempts)}"
        try:
            return bool((await ask("payment-device", "charge", *_PRICE, order))["paid"])
        except StageError:
            return False

    attempts = itertools.count(1)
    await until(paid, DEADLINE_S)


def installed_profile() -> ConfigParser:
    """The access point as NetworkManager reads it."""
    file = Path("/etc/NetworkManager/system-connections/cigarjack.nmconnection")
    assert file.stat().st_mode & 0o777 == 0o600
    profile = ConfigParser(interpolation=None)
    profile.read(file)
    return profile


@asynccontextmanager
async def wifi_radios() -> AsyncIterator[str]:
    """NetworkManager, connected on a Wi-Fi radio; another is on the phone's machine: its name."""
    await run("modprobe", "--all", "ccm", "gcm", "cmac")
    await run("modprobe", "mac80211_hwsim", "radios=2")
    ours, phones = _wifi_interfaces()
    phy = Path(f"/sys/class/net/{phones}/phy80211").resolve().name  # noqa: ASYNC240
    await run("ip", "netns", "add", PHONE.name)
    await run("iw", "phy", phy, "set", "netns", "name", PHONE.name)
    services = ("NetworkManager.service", "wpa_supplicant.service")
    await run("systemctl", "start", *services)

    async def connected() -> bool:
        try:
            devices = await run("nmcli", "--terse", "--fields", "DEVICE,STATE", "device")
        except StageError:
            return False  # it is not on the bus yet
        return f"{ours}:connected" in devices.splitlines()

    try:
        await until(connected, DEADLINE_S)
        yield phones
    finally:
        await run("systemctl", "stop", *services)
        await run(*PHONE.command("iw", "phy", phy, "set", "netns", "1"))
        await run("ip", "netns", "delete", PHONE.name)
        await run("modprobe", "--remove", "mac80211_hwsim")


def _wifi_interfaces() -> list[str]:
    found = Path("/sys/class/ieee80211").glob("phy*/device/net/*")
    return sorted({interface.name for interface in found})
