"""PURE. Every metric that jack, phone and terminal serve, and the server beside its own."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from twochannel.protocol.payment import SETTLED

NAMESPACE: Final = "cigarjack"


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """``name``: without namespace and, of a counter, ``_total``. ``radio``: only where one is.

    ``expected``: values of the labels that are there at 0 before they have happened, for Prometheus
    sees no increase in a first value.
    """

    name: str
    kind: Kind
    unit: str
    told: str
    parties: tuple[str, ...]
    labels: tuple[str, ...] = ()
    radio: bool = False
    expected: tuple[tuple[str, ...], ...] = ()

    @property
    def full_name(self) -> str:
        """As it is served."""
        ending = "_total" if self.kind is Kind.COUNTER else ""
        return f"{NAMESPACE}_{self.name}{ending}"


_JACK: Final = ("jack",)
_PHONE: Final = ("phone",)
_TERMINAL: Final = ("terminal",)
_DEVICES: Final = (*_JACK, *_PHONE, *_TERMINAL)
_EVERYBODY: Final = (*_DEVICES, "server")

_RUNGS: Final = (
    "none",
    "advertise",
    "offer",
    "listen",
    "listen_anew",
    "power_on",
    "power_cycle",
    "reopened",
)

AGENT: Final = Metric(
    "agent_info",
    Kind.GAUGE,
    "1",
    "Which agent this is, and its version",
    _EVERYBODY,
    ("party", "version"),
)
CLOCK_TRUSTED: Final = Metric(
    "clock_trusted",
    Kind.GAUGE,
    "0 or 1",
    "Whether the agent believes the time it has",
    _EVERYBODY,
)
CLOCK_SYNCHRONISED: Final = Metric(
    "clock_synchronised",
    Kind.GAUGE,
    "0 or 1",
    "Whether a time service has set the machine's wall clock; NaN if nobody tells",
    _EVERYBODY,
)
CLOCK_STEPS: Final = Metric(
    "clock_steps",
    Kind.COUNTER,
    "steps",
    "How often the machine's wall clock was set by 50 ms or more",
    _EVERYBODY,
)
UNDER_VOLTAGE: Final = Metric(
    "under_voltage",
    Kind.GAUGE,
    "0 or 1",
    "Whether the machine gets too little voltage; NaN where nothing tells",
    _EVERYBODY,
)
UNDER_VOLTAGES: Final = Metric(
    "under_voltages",
    Kind.COUNTER,
    "times",
    "How often the voltage became too low",
    _EVERYBODY,
)
TEMPERATURE: Final = Metric(
    "temperature_celsius",
    Kind.GAUGE,
    "°C",
    "The machine's hottest zone; NaN where nothing tells",
    _EVERYBODY,
)
THROTTLED: Final = Metric(
    "throttled",
    Kind.GAUGE,
    "0 or 1",
    "Whether the processor is slowed down for heat",
    _EVERYBODY,
)
RESIDENT: Final = Metric(
    "resident_bytes",
    Kind.GAUGE,
    "bytes",
    "Memory of the agent",
    _EVERYBODY,
)
DESCRIPTORS: Final = Metric(
    "open_descriptors",
    Kind.GAUGE,
    "descriptors",
    "Files and sockets that the agent has open",
    _EVERYBODY,
)
STATE_FREE: Final = Metric(
    "state_free_bytes",
    Kind.GAUGE,
    "bytes",
    "What may still be written where the agent's state lies",
    _EVERYBODY,
)

RADIO_UP: Final = Metric(
    "radio_up",
    Kind.GAUGE,
    "0 or 1",
    "Whether the radio can do its work",
    _DEVICES,
    radio=True,
)
RADIO_LOSSES: Final = Metric(
    "radio_losses",
    Kind.COUNTER,
    "losses",
    "How often the radio was lost",
    _DEVICES,
    radio=True,
)
RADIO_RESTARTS: Final = Metric(
    "radio_restarts",
    Kind.COUNTER,
    "times",
    "How often the radio came back, by the strongest thing that was done",
    _DEVICES,
    ("rung",),
    radio=True,
    expected=tuple((rung,) for rung in _RUNGS),
)
RADIO_BLIND: Final = Metric(
    "radio_blind_seconds",
    Kind.COUNTER,
    "s",
    "For how long the radio was lost, counted when it is back",
    _DEVICES,
    radio=True,
)
ADVERTS: Final = Metric(
    "adverts_heard",
    Kind.COUNTER,
    "adverts",
    "Adverts with service data",
    _DEVICES,
    radio=True,
)
ADVERT_AGE: Final = Metric(
    "advert_age_seconds",
    Kind.GAUGE,
    "s",
    "How long ago the last advert was heard; NaN before the first",
    _DEVICES,
    radio=True,
)
SILENCE: Final = Metric(
    "longest_silence_seconds",
    Kind.GAUGE,
    "s",
    "The longest time without an advert in the minute before",
    _DEVICES,
    radio=True,
)
RSSI_LEVELS: Final = Metric(
    "rssi_levels",
    Kind.GAUGE,
    "levels",
    "How many different RSSI values there were in the minute before",
    _DEVICES,
    radio=True,
)
RSSI_STEP: Final = Metric(
    "rssi_step_db",
    Kind.GAUGE,
    "dB",
    "The least difference between two of them; NaN for less than two",
    _DEVICES,
    radio=True,
)

BEACON_UP: Final = Metric(
    "beacon_up",
    Kind.GAUGE,
    "0 or 1",
    "Whether a payable code is on the air",
    _JACK,
)
LANE_DECISIONS: Final = Metric(
    "lane_decisions",
    Kind.COUNTER,
    "decisions",
    "Decisions which jack is at the lane: as in the trace, by who asked",
    _TERMINAL,
    ("asked", "outcome"),
    expected=tuple(("charge", outcome) for outcome in ("chosen", "ambiguous", "none")),
)
AUTH_CODES: Final = Metric(
    "auth_codes",
    Kind.COUNTER,
    "auth codes",
    "Auth codes that were asked for: `present` or `absent`, as the jack heard the lane or not, or"
    " `missing` when the payment was decided",
    _PHONE,
    ("path", "outcome"),
    expected=(
        ("wifi", "present"),
        ("wifi", "absent"),
        ("gatt", "present"),
        ("gatt", "absent"),
        ("none", "missing"),
    ),
)
SIGNED: Final = Metric(
    "challenges",
    Kind.COUNTER,
    "challenges",
    "Challenges by what came of them: `present`, `absent` (auth code signed, the lane heard or"
    " not), `repeated`, `refused`",
    _JACK,
    ("outcome",),
    expected=tuple((outcome,) for outcome in ("present", "absent", "repeated", "refused")),
)
PAYMENTS: Final = Metric(
    "payments",
    Kind.COUNTER,
    "payments",
    "Outcomes of payments that became known here; one that is captured later counts again",
    (*_PHONE, *_TERMINAL),
    ("status",),
    expected=tuple((status.value,) for status in sorted(SETTLED)),
)
LEG: Final = Metric(
    "leg_seconds",
    Kind.HISTOGRAM,
    "s",
    "How long the parts of a payment took that this agent sees both ends of",
    _DEVICES,
    ("leg",),
)

METRICS: Final = (
    AGENT,
    CLOCK_TRUSTED,
    CLOCK_SYNCHRONISED,
    CLOCK_STEPS,
    UNDER_VOLTAGE,
    UNDER_VOLTAGES,
    TEMPERATURE,
    THROTTLED,
    RESIDENT,
    DESCRIPTORS,
    STATE_FREE,
    RADIO_UP,
    RADIO_LOSSES,
    RADIO_RESTARTS,
    RADIO_BLIND,
    ADVERTS,
    ADVERT_AGE,
    SILENCE,
    RSSI_LEVELS,
    RSSI_STEP,
    BEACON_UP,
    LANE_DECISIONS,
    AUTH_CODES,
    SIGNED,
    PAYMENTS,
    LEG,
)


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of a payment, between two events in the trace of one agent."""

    name: str
    begins: str
    ends: str


LEGS: Final = {
    "terminal": (
        Leg("heard", "charge_asked", "jack_chosen"),
        Leg("answered", "request_sent", "request_answered"),
        Leg("total", "charge_asked", "payment_settled"),
    ),
    "phone": (
        Leg("auth_code", "auth_code_asked", "auth_code_received"),
        Leg("owner", "prompt_shown", "decision"),
        Leg("confirmed", "confirmation_sent", "confirmation_answered"),
    ),
    "jack": (Leg("signed", "challenge_received", "auth_code_signed"),),
}
