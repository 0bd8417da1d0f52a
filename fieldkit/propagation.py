"""How strongly a packet arrives, if at all: a pure model of the air at 2.4 GHz.

    RSSI = TX power - loss at 1 m - 10 n log10(distance) + shadowing(link) + fading(packet)

Every random part is drawn from a hash of the seed and of what it belongs to (link or packet),
not from one shared stream. So the same seed, packet numbers and distances give the same
decisions, whatever the wall clock or the order in which packets were computed.

Sources of the defaults:

- [EDDYSTONE] Eddystone-UID frame: the calibrated power at 0 m is that at 1 m plus 41 dB, the
  loss of free space over the first metre at 2.4 GHz (Friis: 40.2 dB).
- [STRZODA] Strzoda, Grochla, Połys, "Variability of BLE Advertisement Packets Received Signal
  Strength and Delivery Probability in the Presence of Interferences", ACM MSWiM 2022: means of
  -65.5, -78.4, -84.1 and -90.8 dBm at 1, 5, 10 and 16 m (exponent 2), standard deviation 5.7 to
  3.5 dB, 13 to 40 % fewer packets on a busy channel.
- [TR37885] 3GPP TR 37.885, table 6.2.1-1: vehicles in line of sight on a highway have exponent 2
  and shadowing of 3 dB.
- [NRF52840] nRF52840 product specification, 2.4 GHz radio: sensitivity -95 dBm at 1 Mbit/s.
- [CORE] Bluetooth Core specification.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields
from statistics import NormalDist

# [CORE] Vol 6 Part B section 4.4.2.2.1: each advertising event is delayed by 0 to 10 ms.
ADVERTISING_DELAY_LIMIT_S = 0.010

# [CORE] Vol 4 Part E section 7.7.65.2: RSSI is reported from -127 to +20 dBm.
REPORTED_RSSI_DBM = (-127, 20)

NEAREST_DISTANCE_M = 0.1  # the log-distance law has no meaning inside the antenna's near field

_STANDARD_NORMAL = NormalDist()
_HOPELESS_SIGMAS = 6.0  # weaker than this by chance happens once in 10^9 packets


@dataclass(frozen=True, slots=True)
class Propagation:
    """The parameters of one site. Raises ValueError for values that have no physical meaning.

    - ``loss_at_1m_db``: 41 dB of free space [EDDYSTONE] and 18 dB for two small antennas behind a
      windscreen; 0 dBm then arrives with -59 dBm at 1 m, the figure beacons are commonly
      calibrated to, and in between an open room and [STRZODA].
    - ``path_loss_exponent``: [STRZODA], [TR37885].
    - ``shadowing_sd_db``: static for each pair of radios [TR37885].
    - ``fading_sd_db``: for each packet; 4 to 6 dB in the open, more with moving passengers.
    - ``sensitivity_dbm``: weaker packets are lost [NRF52840].
    - ``loss_probability``: share of packets lost to collisions; a quiet site, see [STRZODA].
    """

    loss_at_1m_db: float = 59.0
    path_loss_exponent: float = 2.0
    shadowing_sd_db: float = 3.0
    fading_sd_db: float = 5.0
    sensitivity_dbm: float = -95.0
    loss_probability: float = 0.05

    def __post_init__(self) -> None:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in values.items():
            if not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number")
            if name != "sensitivity_dbm" and value < 0:
                raise ValueError(f"{name} must not be negative")
        if self.loss_probability > 1:
            raise ValueError("loss_probability must not be above 1")


def mean_rssi_dbm(site: Propagation, tx_power_dbm: float, distance_m: float) -> float:
    """Received power by the log-distance law alone, without shadowing and fading."""
    distance_m = max(distance_m, NEAREST_DISTANCE_M)
    loss_db = site.loss_at_1m_db + 10 * site.path_loss_exponent * math.log10(distance_m)
    return tx_power_dbm - loss_db


def shadowing_db(site: Propagation, seed: int, one: str, other: str) -> float:
    """What stands between two radios: constant, and the same in both directions."""
    near, far = sorted((one, other))
    uniform, _ = _uniforms(seed, "shadowing", near, far)
    return site.shadowing_sd_db * _STANDARD_NORMAL.inv_cdf(uniform)


def received_rssi_dbm(
    site: Propagation,
    seed: int,
    sender: str,
    receiver: str,
    packet_number: int,
    tx_power_dbm: float,
    distance_m: float,
) -> int | None:
    """The RSSI that the receiver reports for one packet; None if the packet is lost."""
    mean_dbm = mean_rssi_dbm(site, tx_power_dbm, distance_m)
    spread_db = math.hypot(site.shadowing_sd_db, site.fading_sd_db)
    if mean_dbm + _HOPELESS_SIGMAS * spread_db < site.sensitivity_dbm:
        return None
    for_fading, for_loss = _uniforms(seed, "packet", sender, receiver, str(packet_number))
    rssi_dbm = (
        mean_dbm
        + shadowing_db(site, seed, sender, receiver)
        + site.fading_sd_db * _STANDARD_NORMAL.inv_cdf(for_fading)
    )
    if rssi_dbm < site.sensitivity_dbm or for_loss < site.loss_probability:
        return None
    weakest, strongest = REPORTED_RSSI_DBM
    return max(weakest, min(strongest, round(rssi_dbm)))


def advertising_delay_s(seed: int, sender: str, packet_number: int) -> float:
    """The pseudo-random advDelay after one advertising event, 0 to 10 ms."""
    uniform, _ = _uniforms(seed, "advDelay", sender, str(packet_number))
    return ADVERTISING_DELAY_LIMIT_S * uniform


def _uniforms(seed: int, *belongs_to: str) -> tuple[float, float]:
    """Two independent numbers strictly between 0 and 1, a function of the arguments alone."""
    key = "\0".join((str(seed), *belongs_to)).encode()
    digest = hashlib.blake2b(key, digest_size=16).digest()
    return _uniform(digest[:8]), _uniform(digest[8:])


def _uniform(word: bytes) -> float:
    # 52 bits plus a half fit a double exactly, so that neither 0 nor 1 can come out.
    return ((int.from_bytes(word) >> 12) + 0.5) / (1 << 52)
