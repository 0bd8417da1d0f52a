"""deploy/install as users run it: an environment of its own, made from wheels, under systemd."""

from __future__ import annotations

from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.container.machine import TREE, Machine

_ACCESS_POINT = "etc/NetworkManager/system-connections/cigarjack.nmconnection"
#: A migration that is made after all that there are.
_NEWER = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "9999", "LAST"
branch_labels = depends_on = None


def upgrade() -> None:
    op.create_table("newer", sa.Column("number", sa.Integer))
"""


@pytest.fixture(scope="module")
def deployed(machine: Machine) -> Iterator[Machine]:
    """Server and jack on one machine; in the end no trace of them."""
    before = machine.everything()
    machine.install_offline("server", "jack", "--access-point", "2.4")
    yield machine
    machine.install("uninstall", "--purge")
    assert machine.everything() ^ before == set()
    assert "cigarjack" not in machine.file("etc/passwd").read_text()


def wifi(machine: Machine) -> tuple[str, ...]:
    """The jack's access point as its file has it: band, channel, name, passphrase."""
    profile = ConfigParser(interpolation=None)
    profile.read(machine.file(_ACCESS_POINT))
    assert machine.file(_ACCESS_POINT).stat().st_mode & 0o777 == 0o600
    names = ("band", "channel", "ssid")
    return (*(profile["wifi"][name] for name in names), profile["wifi-security"]["psk"])


def taken_up(machine: Machine) -> list[str]:
    """The same as NetworkManager knows it."""
    fields = "802-11-wireless.band,802-11-wireless.channel,802-11-wireless.ssid"
    line = ("nmcli", "--get-values", fields, "connection", "show", "cigarjack")
    return machine(*line).splitlines()


def current(machine: Machine) -> str:
    return machine("readlink", "/opt/cigarjack/current").strip()


def of_the_server(machine: Machine) -> dict[str, bytes]:
    """Its keys, its identity and its settings."""
    state = machine.file("var/lib/cigarjack-server")
    files = [*(state / "keys").iterdir(), state / "identity.jwt", state / "config.toml"]
    return {file.name: file.read_bytes() for file in files}


def make_newer(server: Path) -> None:
    """The sources, with one migration more."""
    last = max(file.stem[:4] for file in (server / "migrations/versions").glob("0*.py"))
    (server / "migrations/versions/9999_newer.py").write_text(_NEWER.replace("LAST", last))
    database = server / "database.py"
    database.write_text(database.read_text().replace(f'"{last}",', f'"{last}", "9999",'))


def test_what_was_installed_runs_and_lacks_nothing(deployed: Machine) -> None:
    for command in ("cigarjack", "cigarjack-server"):
        inside = deployed(f"/opt/cigarjack/current/bin/{command}", "--version")
        assert deployed(command, "--version") == inside
        assert inside.startswith(f"{command}, version ")
    deployed("/opt/cigarjack/current/bin/python", "-m", "pip", "check")
    assert deployed("cigarjack", "label").startswith("CJ1:")
    assert deployed.shown("cigarjack-server", "ActiveState") == "active"


def test_installed_again_nothing_changes(deployed: Machine) -> None:
    process = deployed.shown("cigarjack-server", "MainPID")
    before = {kept for kept in deployed.everything() if not kept[0].startswith("var/lib/")}
    said = deployed.install_offline("server", "jack")
    assert said.startswith("Nothing to do")
    after = {kept for kept in deployed.everything() if not kept[0].startswith("var/lib/")}
    assert after ^ before == set()
    assert deployed.shown("cigarjack-server", "MainPID") == process


def test_an_upgrade_takes_the_place_of_what_was_there(deployed: Machine) -> None:
    """A newer version, with a change of the database, installed for one of two parties."""
    deployed("cigarjack-server", "merchants", "add", "Green Bottle")
    kept, old = of_the_server(deployed), current(deployed)
    process = deployed.shown("cigarjack-server", "MainPID")
    make_newer(deployed.file(TREE / "server"))
    deployed.install_offline("server")
    new = current(deployed)
    assert new != old
    found = deployed.file("opt/cigarjack").iterdir()
    assert {file.name for file in found} == {"current", new}
    assert deployed.shown("cigarjack-server", "ActiveState") == "active"
    assert deployed.shown("cigarjack-server", "MainPID") != process
    books = deployed.file("var/lib/cigarjack-server").glob("*.sqlite3")
    assert any(b"CREATE TABLE newer" in file.read_bytes() for file in books)
    assert of_the_server(deployed) == kept
    assert "Green Bottle" in deployed("cigarjack-server", "merchants", "list")
    assert deployed("cigarjack", "label").startswith("CJ1:")


def test_an_installation_goes_on_where_the_last_one_was(deployed: Machine) -> None:
    deployed("cigarjack-server", "merchants", "add", "Blue Bottle")
    kept, label = of_the_server(deployed), deployed("cigarjack", "label")
    said = deployed.install("uninstall")
    assert "State and users were kept" in said
    assert not deployed.file("opt/cigarjack").exists()
    assert not deployed.file("usr/local/bin/cigarjack").exists()
    assert of_the_server(deployed) == kept
    deployed.install_offline("server", "jack", "--access-point", "2.4")
    assert of_the_server(deployed) == kept
    assert deployed("cigarjack", "label") == label
    assert "Blue Bottle" in deployed("cigarjack-server", "merchants", "list")
    assert deployed.shown("cigarjack-server", "ActiveState") == "active"


def test_another_band_takes_effect_and_name_and_passphrase_stay(deployed: Machine) -> None:
    _, _, *known = wifi(deployed)
    said = deployed.install_offline("jack", "--access-point", "5")
    assert wifi(deployed) == ("a", "36", *known)
    assert taken_up(deployed) == ["a", "36", known[0]]
    assert "sudo nmcli connection up cigarjack" in said
    deployed.install_offline("jack", "--access-point", "2.4")
    assert wifi(deployed) == ("bg", "1", *known)


def test_the_channel_that_an_operator_chose_stays_in_its_band(deployed: Machine) -> None:
    deployed.install_offline("jack", "--access-point", "5")
    deployed("nmcli", "connection", "modify", "cigarjack", "802-11-wireless.channel", "149")
    kept = wifi(deployed)
    assert kept[:2] == ("a", "149")
    said = deployed.install_offline("jack", "--access-point", "5")
    assert wifi(deployed) == kept
    assert said.startswith("Nothing to do")


def test_a_jack_that_goes_takes_its_access_point_along(deployed: Machine) -> None:
    deployed.install_offline("jack", "--access-point", "5")
    deployed.install("uninstall", "jack")
    assert not deployed.file(_ACCESS_POINT).exists()
    assert "cigarjack" not in deployed("nmcli", "--get-values", "NAME", "connection", "show")
    assert deployed.shown("cigarjack-server", "ActiveState") == "active"
    deployed.install_offline("jack", "--access-point", "2.4")
