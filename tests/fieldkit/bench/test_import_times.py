"""Reading ``python -X importtime``."""

from __future__ import annotations

import subprocess
import sys

from fieldkit.bench.import_times import PackageImport, by_package

_LINES = """import time: self [us] | cumulative | imported package
import time:       200 |        200 |   json.scanner
import time:       300 |        500 | json.decoder
{"event": "ready"}
import time:      1500 |       1500 | click
import time:       100 |        600 | json
import time: broken
""".splitlines()


def test_times_are_summed_by_package_slowest_first() -> None:
    assert by_package(_LINES) == [PackageImport("click", 1, 1.5), PackageImport("json", 3, 0.6)]


def test_the_interpreter_writes_what_is_read() -> None:
    written = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import wave"],
        check=True,
        capture_output=True,
        text=True,
    ).stderr
    assert "wave" in {found.package for found in by_package(written.splitlines())}
