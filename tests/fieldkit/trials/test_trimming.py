"""An archive is cut at the start and the stop of its trial, whatever the clocks say."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path

from click.testing import CliRunner

from fieldkit.cli import main
from fieldkit.trials.archive import Trial
from fieldkit.trials.figures import figures
from fieldkit.trials.packing import Record, pack
from fieldkit.trials.trimming import trimmed
from tests.fieldkit.trials.archives import line
from tests.fieldkit.trials.machines import NS, Machine, Trip
from tests.fieldkit.trials.recordings import laid_out, pay
from twochannel.radio import btsnoop

HOUR = 3600 * NS
#: True hours at which a payment was made, and each machine's ring turned right after it.
HOURS = range(1, 8)
STARTED_NS, STOPPED_NS = int(3.5 * HOUR), int(4.5 * HOUR)
#: Begun before the stop; the fifth begins with the payment of 5 o'clock.
DURING = {"trace.000004.jsonl"}
#: On the phone it begins with the stop.
PHONES = {"trace.000004.jsonl", "trace.000005.jsonl"}


def payment(hour: int) -> str:
    return f"01890a5d-ac96-774b-bcce-b3020000{hour:04d}"


def machines() -> dict[str, Machine]:
    """Hours apart, and two of them in another year by the wall."""
    return {
        "server": Machine("desk"),
        "terminal": Machine("lane", 9 * HOUR, boot="b2"),
        "phone": Machine("pocket", -2 * HOUR, boot="b3"),
        "jack": Machine("car", 100 * HOUR, boot="b4"),
    }


def day(*, started: bool = True, stopped: bool = True, tied: bool = True) -> Trip:
    trip = Trip(machines())
    for hour in HOURS:
        if tied:
            pay(trip, payment=payment(hour), at_ns=hour * HOUR)
        for party, machine in trip.machines.items():
            wall = -50 * 365 * 86_400_000 if machine.name == "car" else 0
            trip.note(party, "health", hour * HOUR + 60 * NS, wall_ahead_ms=wall)
    if started:
        trip.note("phone", "trial_started", STARTED_NS, trial="monday")
    if stopped:
        trip.note("phone", "trial_stopped", STOPPED_NS, trial="monday")
    return trip


def recorded(trip: Trip) -> list[Record]:
    """Each ring has a piece for each hour that ends with its payment."""
    records = []
    for written in trip.agents:
        files: dict[str, bytes] = {}
        pairs = sorted(zip(written.truths_ns, written.events, strict=True), key=lambda p: p[0])
        for true_ns, event in pairs:
            number = -(-(true_ns - 120 * NS) // HOUR)
            name = f"trace.{number:06}.jsonl"
            files[name] = files.get(name, b"") + line(event).encode()
        records.append(Record(written.machine, written.agent, written.party, files))
    return records


def names(records: Sequence[Record]) -> dict[str, set[str]]:
    return {record.machine: set(record.files) for record in records}


def test_pieces_from_before_and_after_are_left_out_and_counted() -> None:
    whole = recorded(day())
    cut = trimmed("monday", whole)
    assert names(cut.records) == {
        "desk": DURING,
        "lane": DURING,
        "pocket": PHONES,
        "car": DURING,
    }
    sizes = [
        sum(len(d) for r in records for d in r.files.values()) for records in (whole, cut.records)
    ]
    assert (cut.files, cut.bytes) == (3 * 6 + 5, sizes[0] - sizes[1])
    assert cut.unbounded == ""


def test_one_that_was_not_stopped_goes_on_until_now() -> None:
    cut = trimmed("monday", recorded(day(stopped=False)))
    assert names(cut.records)["lane"] == {f"trace.{n:06}.jsonl" for n in range(4, 8)}
    assert cut.unbounded == "The end of trial monday is not known."


def test_one_whose_start_is_lost_goes_back_as_far_as_there_is() -> None:
    cut = trimmed("monday", recorded(day(started=False)))
    assert names(cut.records)["lane"] == {f"trace.{n:06}.jsonl" for n in range(1, 5)}
    assert cut.unbounded == "The start of trial monday is not known."


def test_one_that_was_started_again_goes_on() -> None:
    trip = day()
    trip.note("phone", "trial_started", 6 * HOUR + 90 * NS, trial="monday")
    cut = trimmed("monday", recorded(trip))
    assert names(cut.records)["lane"] == {f"trace.{n:06}.jsonl" for n in range(4, 8)}


def test_a_payment_that_was_begun_in_it_is_kept_to_its_end() -> None:
    trip = day()
    trip.note("server", "payment_status", 6 * HOUR, payment(4), status="released")
    cut = trimmed("monday", recorded(trip))
    assert names(cut.records)["desk"] == {f"trace.{n:06}.jsonl" for n in (4, 5, 6)}
    assert names(cut.records)["lane"] == DURING


def test_a_name_that_nobody_noted_leaves_nothing_out() -> None:
    cut = trimmed("tuesday", recorded(day()))
    assert (cut.files, cut.unbounded) == (0, "No machine noted a trial tuesday.")


def test_nothing_is_left_out_of_a_clock_that_nothing_ties_to_the_others() -> None:
    cut = trimmed("monday", recorded(day(tied=False)))
    assert cut.files == 0


def test_only_the_machine_that_is_not_tied_is_kept_whole() -> None:
    trip = day()
    lonely = Machine("barn", boot="b9")
    trip.machines["jack"] = lonely
    for hour in HOURS:
        trip.note("jack", "health", hour * HOUR)
    cut = trimmed("monday", recorded(trip))
    assert len(names(cut.records)["barn"]) == len(HOURS)
    assert names(cut.records)["car"] == DURING


def test_adverts_are_cut_by_the_run_that_recorded_them() -> None:
    trip = day()
    lane = trip.machines["terminal"]
    epoch_us = 5_000_000_000
    trip.note(
        "terminal", "recording_begun", HOUR - 60 * NS, file="adverts", epoch_us=epoch_us, piece=1
    )
    records = recorded(trip)
    heard = {
        f"adverts.{hour:06}.btsnoop": btsnoop.HEADER
        + btsnoop.encode(
            btsnoop.Record(
                lane.reads_ns(hour * HOUR) // 1000 + epoch_us,
                0,
                "00:00:00:00:00:01",
                False,
                0xFEAA,
                b"x",
                -60,
            )
        )
        for hour in HOURS
    }
    spoilt = {"adverts.000008.btsnoop": btsnoop.HEADER + struct.pack(">I", 1)}
    (terminal,) = [r for r in records if r.machine == "lane"]
    full = Record(terminal.machine, terminal.agent, "terminal", {**terminal.files, **heard})
    # Nothing repeats the line here: in the field it is there again every 10 minutes.
    cut = trimmed("monday", [full, *(r for r in records if r.machine != "lane")])
    kept = {name for name in names(cut.records)["lane"] if name.startswith("adverts")}
    assert kept == {"adverts.000004.btsnoop"}
    unknown = Record("lane", "terminal-1", "terminal", {**terminal.files, **spoilt})
    cut = trimmed("monday", [unknown, *(r for r in records if r.machine != "lane")])
    assert "adverts.000008.btsnoop" in names(cut.records)["lane"]


def test_the_command_says_what_it_left_out_and_packs_it_if_asked(tmp_path: Path) -> None:
    part = tmp_path / "all.part"
    pack(part, "all", recorded(day()))
    archive = tmp_path / "monday.trial"

    def run(*more: str) -> str:
        command = ["collect", "monday", "--from", str(part), "--out", str(archive), *more]
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
        return done.stdout

    told = json.loads(run("--json"))
    assert told["left_out"]["files"] == 3 * 6 + 5
    assert f"{told['left_out']['bytes']} bytes from before or after" in run()
    assert all(len(record.events) < 60 for record in Trial.open(archive).agents)
    assert json.loads(run("--json", "--whole"))["left_out"] == {"files": 0, "bytes": 0}
    found = figures("monday", laid_out(_two_hours))
    assert found.success.trials == 1


def _two_hours(trip: Trip) -> None:
    """A payment before, one in, one after the trial."""
    for number, at_s in enumerate((100, 200, 300)):
        pay(trip, payment=payment(number), at_ns=at_s * NS)
    trip.note("jack", "radio_lost", 110 * NS, reason="gone")
    trip.note("jack", "radio_recovered", 120 * NS, rung="none", blind_ms=1)
    trip.note("terminal", "trial_started", 150 * NS, trial="monday")
    trip.note("terminal", "trial_stopped", 200 * NS + 5_000_000, trial="monday")


def test_the_report_counts_what_was_begun_between_start_and_stop() -> None:
    found = figures("monday", laid_out(_two_hours))
    assert [judged.attempt.payment for judged in found.judged] == [payment(1)]
    assert found.judged[0].attempt.outcome == "paid"
    assert found.ended_ns > 200 * NS + 5_000_000
    assert [incident.text for incident in found.incidents] == [
        "trial monday started",
        "trial monday stopped",
    ]
    assert figures("all of it", laid_out(_two_hours)).success.trials == 3
