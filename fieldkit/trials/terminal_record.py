"""From a trial's archive to what its lanes heard and decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fieldkit.trace import TraceEvent
from fieldkit.trials.archive import AgentRecord, Run, Trial
from fieldkit.trials.lane_case import read_answer
from fieldkit.trials.lane_recording import (
    RULE_NAMES,
    Decision,
    HeardAdvert,
    LaneRecording,
    Stretch,
)
from payment_device.sightings import LaneRules
from twochannel.protocol import beacon
from twochannel.protocol.errors import FrameError

_NS_PER_US = 1_000


def recordings(trial: Trial, lanes: Iterable[str] = ()) -> Iterator[LaneRecording]:
    """Every run of every terminal, or of those called so. Raises TrialError."""
    wanted = set(lanes)
    for record in trial.agents:
        if record.party == "terminal" and (not wanted or record.agent in wanted):
            yield from (_recording(trial, record, run) for run in record.runs)


def _recording(trial: Trial, record: AgentRecord, run: Run) -> LaneRecording:
    asked = (event for event in run.events if event.event == "charge_asked" and event.payment)
    return LaneRecording(
        record.machine,
        record.agent,
        run.number,
        _rules(run),
        list(_stretches(trial, record, run)),
        [_decision(event) for event in run.events if event.event == "lane_decision"],
        {str(event.payment): event.mono_ns // _NS_PER_US for event in asked},
    )


def _rules(run: Run) -> LaneRules | None:
    """None if they were not recorded, or not the same all the time."""
    told = {
        tuple(event.fields[name] for name in RULE_NAMES)
        for event in run.events
        if event.event == "lane_rules"
    }
    return LaneRules(**dict(zip(RULE_NAMES, *told, strict=True))) if len(told) == 1 else None


def _stretches(trial: Trial, record: AgentRecord, run: Run) -> Iterator[Stretch]:
    before, heard = 0, list[HeardAdvert]()
    for number, advert in trial.numbered_adverts(record, run):
        try:
            code = beacon.BeaconFrame.decode(advert.service_data).code
        except FrameError:
            continue
        if number != before + len(heard) + 1:
            if heard:
                yield Stretch(before, heard)
            before, heard = number - 1, []
        heard.append(HeardAdvert(advert.mono_us, code, advert.rssi_dbm))
    if heard:
        yield Stretch(before, heard)


def _decision(event: TraceEvent) -> Decision:
    fields: dict[str, Any] = dict(event.fields)
    return Decision(
        now_us=fields["now_us"],
        adverts=fields["adverts"],
        asked=fields["asked"],
        answer=read_answer(fields),
        payment=event.payment,
        picked=fields["picked"],
        elsewhere=fields["elsewhere"],
    )
