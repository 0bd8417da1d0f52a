"""What bluetoothd's errors mean, in sentences."""

from __future__ import annotations

import pytest

from twochannel.radio import bluez_names as names
from twochannel.radio.bluez_refusals import BluezError, meaning
from twochannel.radio.port import RadioError


@pytest.mark.parametrize(
    ("error_name", "advice"),
    [
        (names.SERVICE_UNKNOWN, "systemctl start bluetooth"),
        (names.NO_REPLY, "systemctl start bluetooth"),
        (names.ACCESS_DENIED, "group `bluetooth`"),
        (names.BLOCKED, "rfkill unblock bluetooth"),
        (names.NOT_READY, "bluetoothctl power on"),
        (names.NOT_PERMITTED, "end the programs that advertise"),
        (names.IN_PROGRESS, "end the program that scans"),
    ],
)
def test_a_known_error_says_what_to_do(error_name: str, advice: str) -> None:
    assert advice in meaning(error_name, "whatever", names.REGISTER)


def test_an_unknown_error_says_what_was_asked_and_where_to_look() -> None:
    text = meaning(names.FAILED, "Failed to apply filter", names.REGISTER_MONITOR)
    assert "RegisterMonitor" in text
    assert "Failed to apply filter" in text
    assert "journalctl" in text


def test_an_advert_that_failed_leads_to_the_doctor_and_to_nothing_else_that_failed() -> None:
    """Kernels are known that refuse every advert (twochannel/doctor/known_bad.py)."""
    text = meaning(names.FAILED, "Failed to register advertisement", names.REGISTER)
    assert "`doctor`" in text
    assert "journalctl -u bluetooth" in text
    assert "doctor" not in meaning(names.FAILED, "busy", names.SET)
    assert "doctor" not in meaning("org.bluez.Error.InvalidLength", "too long", names.REGISTER)


def test_an_error_is_a_sentence_about_the_radio() -> None:
    error = BluezError("bluez:hci0", "is switched off", names.NOT_READY)
    assert isinstance(error, RadioError)
    assert str(error) == 'The radio "bluez:hci0" is switched off.'
    assert (error.reason, error.error_name) == ("is switched off", names.NOT_READY)
