"""Radios by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from twochannel.radio.backends import open_radio
from twochannel.radio.port import RadioError


@pytest.mark.parametrize(
    "name",
    [
        *("bumble:tcp-client:127.0.0.1:9000", "bumble:usb:0", "bumble:serial:/dev/ttyACM0,1000000"),
        *("bluez", "bluez:hci0", "bluez:AA:BB:CC:DD:EE:FF"),
    ],
)
def test_supported_names_give_a_radio_of_that_name(name: str) -> None:
    assert open_radio(name).name == name


@pytest.mark.parametrize(
    "name", ["", "bumble", "bumble:", "bluez:", "hci0", "usb:0", "BUMBLE:usb:0"]
)
def test_other_names_are_refused_with_what_is_supported(name: str) -> None:
    with pytest.raises(RadioError, match="bumble:tcp-client:HOST:PORT"):
        open_radio(name)


def test_a_backend_that_is_not_installed_is_told_how_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "twochannel.radio.bumble", None)
    with pytest.raises(RadioError, match=r'pip install "cigarjack\[radio\]"'):
        open_radio("bumble:usb:0")


def test_bluez_that_is_not_installed_is_told_how_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "twochannel.radio.bluez", None)
    with pytest.raises(RadioError, match=r'pip install "cigarjack\[bluez\]"'):
        open_radio("bluez")


def test_what_names_no_adapter_is_told_how_one_is_named() -> None:
    with pytest.raises(RadioError, match="hci0 or by its address"):
        open_radio("bluez:eth0")


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True).split())


def test_no_backend_is_loaded_before_it_is_asked_for() -> None:
    assert not modules_after("import twochannel.radio.backends") & {"bumble", "bleak", "dbus_fast"}


def test_the_bumble_backend_leaves_out_what_a_beacon_does_not_need() -> None:
    loaded = modules_after(
        "from twochannel.radio.backends import open_radio; open_radio('bumble:usb:0')"
    )
    assert "bumble.host" in loaded
    assert not loaded & {"bumble.device", "bumble.gatt", "bumble.smp", "bumble.sdp", "pydantic"}


def test_the_bluez_backend_leaves_out_bumble_and_the_gatt_server() -> None:
    loaded = modules_after("from twochannel.radio.backends import open_radio; open_radio('bluez')")
    assert "bleak" in loaded
    assert not loaded & {"bumble", "bless", "dbus_next", "pydantic"}
