"""Counts what happens to one agent: it listens to the trace, so that the two cannot differ."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from twochannel.condition.radio import RadioCondition
from twochannel.metrics import catalogue as of
from twochannel.metrics.catalogue import LEGS, METRICS, NAMESPACE, Kind, Metric
from twochannel.metrics.stopwatch import Stopwatch
from twochannel.protocol.payment import SETTLED
from twochannel.trace import ClockTrust

Line = Mapping[str, object]

#: Seconds: from a jack's signature to an owner who thinks.
_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60)
_KINDS: Final = {Kind.COUNTER: Counter, Kind.GAUGE: Gauge, Kind.HISTOGRAM: Histogram}
#: Read from the radio when they are asked for; the trace knows them once a minute.
_LIVE: Final = (of.RADIO_UP, of.ADVERTS, of.ADVERT_AGE)
_BYTES_PER_MIB: Final = 1024 * 1024
#: Auth codes that are waited for at once, as many as a phone would never have.
_WAITED_FOR: Final = 100


class Figures:
    """The figures of one running agent. Give ``take`` to its trace."""

    def __init__(
        self,
        party: str,
        radio: RadioCondition | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        """``registry``: where they are kept, beside others."""
        self.registry = registry or CollectorRegistry()
        self._radio = radio
        self._made = {
            metric: _made(metric, self.registry)
            for metric in METRICS
            if party in metric.parties and metric not in _LIVE and (radio or not metric.radio)
        }
        if radio is not None:
            self.registry.register(_Live(radio))
        self._legs = Stopwatch(LEGS.get(party, ()))
        self._waited_for: OrderedDict[object, None] = OrderedDict()
        self._takes: Mapping[str, Callable[[Line], None]] = {
            "clock_stepped": lambda _line: self._count(of.CLOCK_STEPS),
            "power": self._take_power,
            "temperature": self._take_heat,
            "health": self._take_health,
            "radio_lost": lambda _line: self._count(of.RADIO_LOSSES),
            "radio_recovered": self._take_recovery,
            "beacon_rotated": lambda _line: self._set(of.BEACON_UP, 1),
            "beacon_silent": lambda _line: self._set(of.BEACON_UP, 0),
            "lane_decision": lambda line: self._count(
                of.LANE_DECISIONS, line["asked"], line["outcome"]
            ),
            "auth_code_asked": self._take_question,
            "auth_code_received": self._take_auth_code,
            "decision": self._take_decision,
            "auth_code_signed": lambda line: self._count(of.SIGNED, _presence(line)),
            "auth_code_repeated": lambda _line: self._count(of.SIGNED, "repeated"),
            "challenge_refused": lambda _line: self._count(of.SIGNED, "refused"),
            "payment_settled": self._take_outcome,
            "payment_known": self._take_outcome,
        }
        self._begin(party)

    def _begin(self, party: str) -> None:
        """What is not known yet is no number; what has not happened yet is 0."""
        self._made[of.AGENT].labels(party, version(NAMESPACE)).set(1)
        unknown = (of.CLOCK_TRUSTED, of.CLOCK_SYNCHRONISED, of.UNDER_VOLTAGE, of.TEMPERATURE)
        for metric in (*unknown, of.RSSI_STEP):
            self._set(metric, math.nan)
        for metric, made in self._made.items():
            for labels in metric.expected:
                made.labels(*labels)
        for leg in LEGS.get(party, ()):
            self._made[of.LEG].labels(leg.name)

    def text(self) -> bytes:
        """All of them as Prometheus reads them."""
        return generate_latest(self.registry)

    def take(self, line: Line) -> None:
        """See ``twochannel.trace.Listener``."""
        self._set(of.CLOCK_TRUSTED, line["clock"] != ClockTrust.UNSYNCHRONISED.value)
        for leg, seconds in self._legs.take(line):
            self._made[of.LEG].labels(leg).observe(seconds)
        take = self._takes.get(str(line["event"]))
        if take is not None:
            take(line)

    def _count(self, metric: Metric, *labels: object, by: float = 1) -> None:
        """Nothing, for an agent that has no such metric."""
        if metric in self._made:
            counter = self._made[metric]
            (counter.labels(*labels) if labels else counter).inc(by)

    def _set(self, metric: Metric, value: object) -> None:
        if metric in self._made:
            known = isinstance(value, int | float)
            self._made[metric].set(value if known else math.nan)

    def _take_power(self, line: Line) -> None:
        self._set(of.UNDER_VOLTAGE, line["under_voltage"])
        if line["under_voltage"]:
            self._count(of.UNDER_VOLTAGES)

    def _take_heat(self, line: Line) -> None:
        self._set(of.TEMPERATURE, line["celsius"])
        self._set(of.THROTTLED, line["throttled"])

    def _take_health(self, line: Line) -> None:
        self._take_heat(line)
        self._set(of.UNDER_VOLTAGE, line["under_voltage"])
        self._set(of.CLOCK_SYNCHRONISED, line["clock_synchronised"])
        self._set(of.RESIDENT, _scaled(line["rss_mib"], _BYTES_PER_MIB))
        self._set(of.DESCRIPTORS, line["descriptors"])
        self._set(of.STATE_FREE, _scaled(line["disk_free_mib"], _BYTES_PER_MIB))
        self._set(of.RSSI_LEVELS, line.get("rssi_levels"))
        self._set(of.RSSI_STEP, line.get("rssi_step_db"))
        self._set(of.SILENCE, _scaled(line.get("blind_ms"), 0.001))

    def _take_recovery(self, line: Line) -> None:
        self._count(of.RADIO_RESTARTS, line["rung"])
        self._count(of.RADIO_BLIND, by=_scaled(line["blind_ms"], 0.001) or 0)

    def _take_outcome(self, line: Line) -> None:
        if line["status"] in SETTLED:
            self._count(of.PAYMENTS, line["status"])

    def _take_question(self, line: Line) -> None:
        self._waited_for[line["payment"]] = None
        if len(self._waited_for) > _WAITED_FOR:
            self._waited_for.popitem(last=False)

    def _take_auth_code(self, line: Line) -> None:
        self._waited_for.pop(line["payment"], None)
        self._count(of.AUTH_CODES, line["path"], _presence(line))

    def _take_decision(self, line: Line) -> None:
        if line["payment"] in self._waited_for:
            del self._waited_for[line["payment"]]
            self._count(of.AUTH_CODES, "none", "missing")


class _Live(Collector):
    """What a radio hears, as it is when somebody asks."""

    def __init__(self, radio: RadioCondition) -> None:
        self._radio = radio

    def collect(self) -> Iterator[Any]:
        hearing = self._radio.hearing
        last_s = hearing.last_at_s
        age_s = math.nan if last_s is None else time.monotonic() - last_s
        yield GaugeMetricFamily(_name(of.RADIO_UP), of.RADIO_UP.told, float(self._radio.ok))
        yield CounterMetricFamily(_name(of.ADVERTS), of.ADVERTS.told, float(hearing.adverts))
        yield GaugeMetricFamily(_name(of.ADVERT_AGE), of.ADVERT_AGE.told, age_s)


def _made(metric: Metric, registry: CollectorRegistry) -> Any:
    options: dict[str, Any] = {"registry": registry, "namespace": NAMESPACE}
    if metric.kind is Kind.HISTOGRAM:
        options["buckets"] = _BUCKETS
    return _KINDS[metric.kind](metric.name, metric.told, metric.labels, **options)


def _name(metric: Metric) -> str:
    return f"{NAMESPACE}_{metric.name}"


def _presence(line: Line) -> str:
    return "present" if line["presence"] else "absent"


def _scaled(value: object, factor: float) -> float | None:
    return value * factor if isinstance(value, int | float) else None
