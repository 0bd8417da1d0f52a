"""How long the radio alone takes, whatever the software: the physical floor of a payment. Pure.

Sources:

- [CORE] Bluetooth Core specification, Vol 6 Part B: 2.1 (packet: preamble 1, access address 4,
  header 2, payload, CRC 3 bytes), 2.3.1.3 (ADV_NONCONN_IND: 6 bytes of address before the data),
  4.4.2.2.1 (after each advertising event a pseudo-random delay of 0 to 10 ms; since 5.0 the least
  interval is 20 ms for non-connectable adverts too).
- [LINUX] include/net/bluetooth/hci_core.h: a passive scan of the kernel listens 30 ms
  (``DISCOV_LE_SCAN_WIN_FAST``) of every 60 ms (``DISCOV_LE_SCAN_INT_FAST``).
- [AIR] ``fieldkit.propagation`` for the share of packets that arrive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from fieldkit.propagation import (
    ADVERTISING_DELAY_LIMIT_S,
    Propagation,
    mean_rssi_dbm,
    shadowing_db,
)

#: [CORE] the delay is uniform, so half of its limit on average.
MEAN_ADVERTISING_DELAY_MS: Final = ADVERTISING_DELAY_LIMIT_S * 1000 / 2
#: [LINUX] Duty cycle of a passive scan of BlueZ, for comparison.
BLUEZ_PASSIVE_DUTY: Final = 30 / 60
_OVERHEAD_BYTES: Final = 1 + 4 + 2 + 6 + 3
#: 1 Mbit/s: 8 microseconds a byte.
_US_PER_BYTE: Final = 8


@dataclass(frozen=True, slots=True)
class Broadcasting:
    """Adverts every ``interval_ms``, of each of which a receiver hears ``delivered`` (0 to 1).

    Values outside their range are a ValueError.
    """

    interval_ms: float
    delivered: float

    def __post_init__(self) -> None:
        if self.interval_ms <= 0:
            raise ValueError("an interval is above 0")
        if not 0 < self.delivered <= 1:
            raise ValueError("the share of delivered adverts is above 0, and at most 1")

    @property
    def spacing_ms(self) -> float:
        """From one advertising event to the next, on average."""
        return self.interval_ms + MEAN_ADVERTISING_DELAY_MS

    @property
    def mean_wait_ms(self) -> float:
        """From the first event to the first that is heard, on average.

        The first is sent at once and mostly heard. Each loss costs one spacing, and on average
        there are (1 - delivered) / delivered losses before the first success.
        """
        return self.spacing_ms * (1 - self.delivered) / self.delivered

    @property
    def mean_wait_from_anywhere_ms(self) -> float:
        """The same for a receiver that comes into range at any moment between two events."""
        return self.spacing_ms / 2 + self.mean_wait_ms

    def wait_ms(self, share: float) -> float:
        """The wait that ``share`` of all broadcasts stay within; a share of 1 is a ValueError."""
        if not 0 <= share < 1:
            raise ValueError("a share is at least 0 and below 1")
        lost = 1 - self.delivered
        events = math.ceil(math.log(1 - share, lost)) if lost > 0 else 1
        return (max(events, 1) - 1) * self.spacing_ms

    def with_duty(self, duty: float) -> Broadcasting:
        """The same heard by a receiver that listens only ``duty`` of the time."""
        return Broadcasting(self.interval_ms, self.delivered * duty)


def air_time_us(data_bytes: int) -> int:
    """How long one advert with ``data_bytes`` of advertising data takes on one channel [CORE]."""
    if not 0 <= data_bytes <= 31:
        raise ValueError("a legacy advert has 0 to 31 bytes of data")
    return (_OVERHEAD_BYTES + data_bytes) * _US_PER_BYTE


def delivered(
    site: Propagation, seed: int, sender: str, receiver: str, tx_power_dbm: float, distance_m: float
) -> float:
    """The share of packets that arrive on the virtual air [AIR]: not faded out and not lost."""
    level_dbm = mean_rssi_dbm(site, tx_power_dbm, distance_m)
    level_dbm += shadowing_db(site, seed, sender, receiver)
    if site.fading_sd_db > 0:
        strong = 1 - NormalDist(level_dbm, site.fading_sd_db).cdf(site.sensitivity_dbm)
    else:
        strong = float(level_dbm >= site.sensitivity_dbm)
    return strong * (1 - site.loss_probability)
