"""What py-spy has seen, told by layer: the innermost frame that stands for one decides."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fieldkit.bench import server_profile
from fieldkit.bench.server_profile import (
    COMMIT,
    HTTP,
    LAYERS,
    LOGS,
    PROCESSOR,
    REST,
    SIGNATURES,
    SQL,
    Spent,
    layer_of,
    read_profile,
    watching,
)
from fieldkit.process import StageError

ROOT = Path(server_profile.__file__).parents[2]
SITE = "/venv/lib/python3.11/site-packages"
LOOP = f"Runner.run ({SITE}/uvloop/__init__.py:1)"
DOOR = f"request_payment ({ROOT}/server/routes/payments.py:80)"
WRITER = f"Store._serve ({ROOT}/server/store.py:180)"


@pytest.mark.parametrize(
    ("frames", "layer"),
    [
        ([LOOP], HTTP),
        ([LOOP, f"app ({SITE}/fastapi/routing.py:9)"], HTTP),
        ([LOOP, "SSLObject.write (/usr/lib/python3.11/ssl.py:9)"], HTTP),
        ([LOOP, DOOR], REST),
        ([LOOP, DOOR, "dumps (/usr/lib/python3.11/json/__init__.py:9)"], REST),
        ([LOOP, DOOR, f"verify ({ROOT}/twochannel/protocol/envelope.py:9)"], SIGNATURES),
        ([LOOP, DOOR, f"ECAlgorithm.verify ({SITE}/jwt/algorithms.py:9)"], SIGNATURES),
        ([WRITER, f"accept_request ({ROOT}/server/requests.py:9)"], REST),
        ([WRITER, f"Prepared.all ({ROOT}/server/prepared.py:9)"], SQL),
        ([WRITER, f"DefaultDialect.do_commit ({SITE}/sqlalchemy/engine/default.py:9)"], COMMIT),
        ([LOOP, f"Books.enter ({ROOT}/server/processors/books.py:9)"], PROCESSOR),
        ([LOOP, f"Ring.write_made ({ROOT}/twochannel/ring.py:9)"], LOGS),
        (["main (elsewhere.py:1)"], REST),
    ],
)
def test_a_stack_is_its_innermost_layers(frames: list[str], layer: str) -> None:
    assert layer_of(frames) == layer
    assert layer in LAYERS


def test_who_waits_for_work_is_not_counted() -> None:
    worker = "_worker (/usr/lib/python3.11/concurrent/futures/thread.py:81)"
    profile = read_profile([f"{LOOP};{DOOR} 3", f"{LOOP} 1", f"{worker} 900", f"{WRITER} 90"])
    assert profile.samples == 4
    assert {name: share for name, share in profile.layers.items() if share} == {
        REST: 75.0,
        HTTP: 25.0,
    }
    assert profile.functions == [
        Spent("request_payment", "server/routes/payments.py", 75.0),
        Spent("Runner.run", "uvloop/__init__.py", 25.0),
    ]


def test_nothing_seen_is_nothing() -> None:
    profile = read_profile([])
    assert (profile.samples, set(profile.layers.values()), profile.functions) == (0, {0.0}, [])


async def test_a_process_that_has_gone_is_told(tmp_path: Path) -> None:
    gone = await asyncio.create_subprocess_exec("true")
    await gone.wait()
    with pytest.raises(StageError, match="py-spy may not look"):
        async with watching(gone.pid, tmp_path / "profile.txt"):
            pass


async def test_without_py_spy_the_bench_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(StageError, match="pip install py-spy"):
        async with watching(1, tmp_path / "profile.txt"):
            pass
