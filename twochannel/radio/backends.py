"""Choose a radio backend by name. Backends are imported only when they are asked for."""

from __future__ import annotations

from twochannel.radio.bluez_adapters import AdapterChoice
from twochannel.radio.port import Radio, RadioError

SUPPORTED = (
    "bluez",
    "bluez:hci0",
    "bluez:AA:BB:CC:DD:EE:FF",
    "bumble:tcp-client:HOST:PORT",
    "bumble:usb:0",
    "bumble:serial:/dev/ttyACM0,1000000",
)


def open_radio(name: str) -> Radio:
    """The radio called ``name``, not yet opened: ``async with`` it.

    ``bluez`` alone is any adapter of this machine; select by address where there are several, as
    their numbers move. ``bumble:`` is followed by any Bumble transport name. Raises RadioError for
    a name that no backend serves or whose backend is not installed.
    """
    backend, colon, transport = name.partition(":")
    if backend == "bumble" and transport:
        return _bumble_radio(name, transport)
    if backend == "bluez" and bool(colon) == bool(transport):
        return _bluez_radio(name, transport)
    raise RadioError(f'No backend serves the radio "{name}"; use one of: {", ".join(SUPPORTED)}.')


def _bumble_radio(name: str, transport: str) -> Radio:
    try:
        from twochannel.radio.bumble import BumbleRadio
    except ImportError as error:
        raise RadioError(
            f'The radio "{name}" needs Bumble: install the extra with '
            f'pip install "cigarjack[radio]" ({error}).'
        ) from error
    return BumbleRadio(name, transport)


def _bluez_radio(name: str, adapter: str) -> Radio:
    try:
        choice = AdapterChoice.parse(adapter)
    except ValueError as error:
        raise RadioError(f'The radio "{name}" names no adapter: {error}.') from error
    try:
        from twochannel.radio.bluez import BluezRadio
    except ImportError as error:
        raise RadioError(
            f'The radio "{name}" needs bleak: install the extra with '
            f'pip install "cigarjack[bluez]" ({error}).'
        ) from error
    return BluezRadio(name, choice)
