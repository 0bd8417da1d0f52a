"""What is taken of an agent that goes on recording: every advert that its trace speaks of."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from fieldkit.cli import main
from fieldkit.ssh_place import Login, There
from fieldkit.trials import bench_ground, packing
from fieldkit.trials.archive import Trial
from tests.sshd import Machine
from tests.twochannel.test_advert_recording import sighting
from twochannel.advert_recording import FILE_NAME, AdvertRecording, to_microseconds
from twochannel.radio import btsnoop
from twochannel.ring import USUAL
from twochannel.trace import Trace

#: Far above what a radio hears, so that much comes between two reads.
PAUSE_S = 0.0005
#: So many that it takes a while to read them.
HEARD_BEFORE = 30_000


@pytest.fixture
def state(folder: Path) -> Iterator[Path]:
    """Of a terminal that hears an advert, notes how many there are, and so on."""
    state, over, begun = folder / "lane-1", threading.Event(), threading.Event()
    state.mkdir()

    def record() -> None:
        adverts = AdvertRecording(state / FILE_NAME, USUAL)
        with closing(adverts), Trace("terminal", state / "trace.jsonl", boot="b") as trace:
            trace.event("recording_begun", epoch_us=adverts.epoch_us, piece=adverts.piece)
            for number in range(HEARD_BEFORE):
                adverts.take(*to_microseconds(sighting(number % 100)))
            for number in range(HEARD_BEFORE + 1, 1_000_000):
                adverts.take(*to_microseconds(sighting(number % 100)))
                trace.event("code_heard", number=number)
                if number == HEARD_BEFORE + 3:
                    begun.set()
                if over.wait(PAUSE_S):
                    return

    recording = threading.Thread(target=record)
    recording.start()
    assert begun.wait(20)
    yield state
    over.set()
    recording.join()


def assert_none_is_missing(files: Mapping[str, bytes]) -> None:
    """``files`` of one piece each."""
    text = next(data for name, data in files.items() if name.endswith(".jsonl"))
    adverts = next(data for name, data in files.items() if name.endswith(".btsnoop"))
    # The last line may have been read while it was written.
    told = json.loads(text.decode().splitlines()[-2])["number"]
    assert sum(1 for _ in btsnoop.decode(adverts)) >= told > 1


def test_on_the_machine_itself(state: Path) -> None:
    for _ in range(20):
        assert_none_is_missing(packing.recordings(state))


@pytest.mark.sshd
async def test_at_the_end_of_a_trial_on_a_bench(
    state: Path, machine: Machine, folder: Path
) -> None:
    place = There(Login(machine.target, machine.options, sys.executable), "", folder / "here")
    await place.connect()
    taken = await bench_ground.recordings(place, state)
    await place.close()
    assert_none_is_missing(taken)


@pytest.mark.sshd
def test_by_rsync(
    state: Path, machine: Machine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    host = (
        f"ssh = {json.dumps(machine.target)}\nssh_options = {json.dumps(machine.options)}\n"
        f"state = {json.dumps(str(state))}\n"
    )
    bench, archive = folder / "bench.toml", folder / "monday.trial"
    tables = ("server", "jack", "phone", "terminals.lane-1")
    bench.write_text("".join(f"[{table}]\n{host}" for table in tables))
    line = ["collect", "monday", "--bench", str(bench), "--out", str(archive)]
    done = CliRunner().invoke(main, line)
    assert done.exit_code == 0, done.output
    for record in Trial.open(archive).agents:
        here = folder / "cache" / "cigarjack" / "trials" / "monday" / record.machine
        assert_none_is_missing(packing.recordings(here))
