"""The lanes of a trial as places where rules are tried: who stood there, under which handles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fieldkit.trials.archive import AgentRecord, Run, Trial
from fieldkit.trials.bounds import ClockId
from fieldkit.trials.lane_recording import LaneRecording
from fieldkit.trials.lane_truth import Presence, presences
from fieldkit.trials.recorded_place import RecordedPlace, Stay, recorded_place
from fieldkit.trials.terminal_record import recordings
from fieldkit.trials.timeline import Timeline, lay_out

_NS_PER_US = 1_000
#: How a lane without a jack is marked.
_NOBODY = ""
_FOR_EVER_US = 2**62


def places(trial: Trial) -> list[RecordedPlace]:
    """Every run of a lane in which charges were asked while it was known who stood there.

    Raises TrialError.
    """
    timeline = lay_out(trial)
    known, handles = presences(timeline, trial.truth), _handles(trial)
    lanes = list(recordings(trial))
    alike = len({lane.rules.min_rssi_dbm for lane in lanes if lane.rules}) == 1
    found = (
        recorded_place(trial.name, lane, _stays(trial, timeline, lane, known), handles, alike=alike)
        for lane in lanes
    )
    return [place for place in found if place is not None]


def _handles(trial: Trial) -> Mapping[str, frozenset[str]]:
    """By jack, every handle that its beacon had."""
    found = defaultdict[str, set[str]](set)
    for record in trial.agents:
        for event in record.events:
            if record.party == "jack" and event.event == "beacon_rotated":
                found[record.agent].add(str(event.fields["handle"]))
    return {_NOBODY: frozenset(), **{jack: frozenset(seen) for jack, seen in found.items()}}


def _stays(
    trial: Trial, timeline: Timeline, lane: LaneRecording, known: Iterable[Presence]
) -> Sequence[Stay]:
    """Who stood at a lane, by the clock of its terminal's run; the latest mark counts first."""
    ahead_ns = _ahead_ns(timeline, *_run(trial, lane))
    return list(reversed(list(_converted(lane, known, ahead_ns))))


def _converted(lane: LaneRecording, known: Iterable[Presence], ahead_ns: int) -> Iterator[Stay]:
    for stay in known:
        if stay.lane in (lane.lane, lane.machine):
            ends_us = _FOR_EVER_US if stay.to_ns is None else (stay.to_ns - ahead_ns) // _NS_PER_US
            yield Stay(stay.jack, (stay.from_ns - ahead_ns) // _NS_PER_US, ends_us)


def _run(trial: Trial, lane: LaneRecording) -> tuple[AgentRecord, Run]:
    of_lane = (lane.machine, lane.lane)
    (record,) = [each for each in trial.agents if (each.machine, each.agent) == of_lane]
    (run,) = [each for each in record.runs if each.number == lane.run]
    return record, run


def _ahead_ns(timeline: Timeline, record: AgentRecord, run: Run) -> int:
    """By how much the timeline is ahead of the run's clock, in its middle."""
    middle = run.events[len(run.events) // 2]
    at_ns, _ = timeline.alignment.placed(ClockId(record.machine, run.boot), middle.mono_ns)
    return at_ns - middle.mono_ns
