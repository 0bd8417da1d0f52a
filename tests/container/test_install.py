"""deploy/install as users run it: an environment of its own, made from wheels, under systemd."""

from __future__ import annotations

from collections.abc import Iterator
from configparser import ConfigParser

import pytest

from tests.container.machine import Machine

_ACCESS_POINT = "etc/NetworkManager/system-connections/cigarjack.nmconnection"


@pytest.fixture(scope="module")
def deployed(machine: Machine) -> Iterator[Machine]:
    """Server and jack on one machine; in the end no trace of them."""
    before = machine.everything()
    machine.install_offline("server", "jack", "--access-point", "2.4")
    yield machine
    machine.install("uninstall", "--purge")
    assert machine.everything() ^ before == set()


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
