"""What bluetoothd's errors mean to whoever runs the agent, as pure text."""

from __future__ import annotations

from typing import Final

from twochannel.radio import bluez_names as names
from twochannel.radio.port import RadioError

NO_SERVICE: Final = "finds no bluetoothd: start it with `systemctl start bluetooth`"
BUSY_WITH_SCAN: Final = (
    "is busy with a scan that is not bluetoothd's: one that a dead bluetoothd has left ends "
    "within 11 s, else end the program that scans"
)

_MEANINGS: Final = {
    names.NAME_HAS_NO_OWNER: NO_SERVICE,
    names.SERVICE_UNKNOWN: NO_SERVICE,
    names.NO_REPLY: NO_SERVICE,  # it went away before it had answered
    names.ACCESS_DENIED: (
        "is not allowed to use bluetoothd: run the agent as root or as a member of the group "
        "`bluetooth`"
    ),
    names.BLOCKED: "is switched off by rfkill: run `rfkill unblock bluetooth`",
    names.NOT_READY: "is switched off: run `bluetoothctl power on`",
    names.NOT_PERMITTED: (
        "has no free slot for another advert: end the programs that advertise on this adapter"
    ),
    names.IN_PROGRESS: BUSY_WITH_SCAN,
}
SCANNED_BY_OTHERS: Final = (
    "cannot change its address because another program scans on this adapter: end that program"
)
#: bluetoothd says no more if the kernel refuses an advert, as some kernels do with all of them.
ADVERT_FAILED: Final = (
    "cannot advertise, for the kernel refuses it: see `Kernel and BlueZ` in what the agent's "
    "command `doctor` finds, then `journalctl -u bluetooth`"
)
NO_ANSWER: Final = "gets no answer from bluetoothd: run `systemctl restart bluetooth`"


class BluezError(RadioError):
    """bluetoothd refused something. ``reason``: why, as the end of a sentence; see the text."""

    def __init__(self, radio: str, reason: str, error_name: str = "") -> None:
        super().__init__(f'The radio "{radio}" {reason}.')
        self.reason = reason
        self.error_name = error_name


def meaning(error_name: str, text: str, what: str) -> str:
    """The end of a sentence for a D-Bus error that came of ``what``, a D-Bus method's name."""
    known = _MEANINGS.get(error_name)
    if known is not None:
        return known
    if (error_name, what) == (names.FAILED, names.REGISTER):
        return ADVERT_FAILED
    return f"was refused {what} by bluetoothd ({error_name}: {text}): see `journalctl -u bluetooth`"
