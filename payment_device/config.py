"""Settings of the terminal (``<state>/config.toml``, ``PAYMENT_DEVICE_*``, flags)."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

from payment_device.fuel import Price
from payment_device.neighbours import parse_address
from payment_device.sightings import LaneRules
from twochannel.keystore.port import FILE
from twochannel.protocol.errors import StatementError
from twochannel.protocol.money import DECIMALS
from twochannel.settings import DeviceSettings
from twochannel.supervisor import PATIENCE_S

ENVIRONMENT_PREFIX: Final = "PAYMENT_DEVICE"


def _price(text: str) -> str:
    try:
        return str(Price.parse(text)) if text else ""
    except StatementError as error:
        raise ValueError(error.detail) from None


def _address(text: str) -> str:
    parse_address(text)
    return text


def _addresses(text: str) -> str:
    return " ".join(map(_address, text.split()))


def _known_currencies(text: str) -> str:
    if not text.split() or set(text.split()) - DECIMALS.keys():
        raise ValueError("write currency codes with a space between them, such as EUR USD")
    return text


class TerminalSettings(DeviceSettings):
    """The server, the lane and the merchant are not settings: they come with enrolment."""

    #: The adapter that hears the jacks and broadcasts the lane nonce.
    radio: str = "bumble:usb:0"
    #: For how long systemd is told that all is well although the radio is not.
    radio_patience_s: Annotated[float, Field(ge=0, le=3600)] = PATIENCE_S
    #: A jack that is heard weaker than this is not at the lane.
    min_rssi_dbm: Annotated[float, Field(ge=-120, le=0)] = LaneRules().min_rssi_dbm
    #: By how much the nearest jack must lead over the next.
    margin_db: Annotated[float, Field(ge=0, le=60)] = LaneRules().margin_db
    #: Among lanes that share what they hear: how much better than any other this one hears it.
    home_margin_db: Annotated[float, Field(ge=0, le=60)] = LaneRules().home_margin_db
    #: For how long, and how often, a jack has to be heard before it is chosen.
    settle_s: Annotated[float, Field(ge=0, lt=LaneRules().quiet_after_s)] = LaneRules().settle_s
    settle_samples: Annotated[int, Field(ge=1, le=100)] = LaneRules().settle_samples
    #: How long a charge waits for a jack to be heard.
    listen_s: Annotated[float, Field(ge=0, le=30)] = 3.0
    #: For how long the server may be silent before a till is told. The payment goes on anyway.
    patience_s: Annotated[float, Field(ge=0, le=60)] = 5.0
    #: Where tills are served, on loopback. 0: a free port, and the same again after a restart.
    till_port: Annotated[int, Field(ge=0, le=65535)] = 0
    #: Where tills find address and token. Empty: till.json in the state folder, for this user
    #: alone. Elsewhere its folder's group may read it, if the folder hands it down (mode 2750).
    till_file: str = ""
    #: Of the lane page, on loopback. 0: a free one, and the same again after a restart.
    page_port: Annotated[int, Field(ge=0, le=65535)] = 0
    #: What the lane page charges in, the usual one first: "EUR", or "KRW USD".
    currencies: Annotated[str, AfterValidator(_known_currencies)] = "EUR"
    #: Lanes that hear the same cars: "192.168.1.12:8474 192.168.1.13:8474". Empty: none.
    neighbours: Annotated[str, AfterValidator(_addresses)] = ""
    #: Where they reach this one, the network's address of this machine.
    neighbours_listen: Annotated[str, AfterValidator(_address)] = "0.0.0.0:8474"
    #: With a pump at this lane: the price of a litre, such as "1.799 EUR". Empty: there is none.
    pump_price: Annotated[str, AfterValidator(_price)] = ""
    #: A pump that was released is locked again if nobody fuels for so long.
    pump_patience_s: Annotated[int, Field(ge=5, le=3600)] = 180
    #: Whoever lifts the nozzle and is recognised pays after; without it the attendant begins.
    pump_postpay_on_lift: bool = False
    #: Where the signing key is: "file", or a pkcs11: URI (docs/keys.md).
    keys: str = FILE
    log_level: Annotated[str, StringConstraints(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"

    @property
    def rules(self) -> LaneRules:
        return LaneRules(
            min_rssi_dbm=self.min_rssi_dbm,
            margin_db=self.margin_db,
            settle_samples=self.settle_samples,
            settle_s=self.settle_s,
            home_margin_db=self.home_margin_db,
        )
