"""What the kernel says of a process: texts of proc(5), and this process itself."""

from __future__ import annotations

import os
import time

import pytest

from fieldkit.bench import consumption
from fieldkit.bench.consumption import Memory, ProcessorTime

# The name of a process may hold blanks and brackets.
_STAT = "42 (cigar) jack) S 1 42 42 0 -1 4194304 900 0 3 0 150 25 7 8 20 0 3 0 100 1 2 3"
_ROLLUP = """55d0c0000000-7ffd00000000 ---p 00000000 00:00 0    [rollup]
Rss:               50000 kB
Pss:               30000 kB
Pss_Anon:          20000 kB
"""
_STATUS = "Name:\tcigarjack\nVmHWM:\t   60000 kB\nVmRSS:\t   50000 kB\nThreads:\t3\n"


def test_processor_time_counts_ticks() -> None:
    assert consumption.parse_processor_time(_STAT, 100) == ProcessorTime(1500, 250)


def test_processor_time_is_the_difference_of_two_looks() -> None:
    used = ProcessorTime(1500, 250) - ProcessorTime(1000, 200)
    assert used == ProcessorTime(500, 50)
    assert used.total_ms == 550


def test_another_text_is_no_stat() -> None:
    with pytest.raises(ValueError, match="stat"):
        consumption.parse_processor_time("42 (cigarjack) S 1", 100)


def test_memory_is_told_in_mebibytes() -> None:
    assert consumption.parse_memory(_ROLLUP, _STATUS) == Memory(48.8, 29.3, 58.6)


def test_a_missing_figure_is_named() -> None:
    with pytest.raises(ValueError, match="VmHWM"):
        consumption.parse_memory(_ROLLUP, "Name:\tcigarjack\n")


def test_written_bytes_are_those_that_reach_the_disk() -> None:
    text = "rchar: 1\nwchar: 2\nread_bytes: 3\nwrite_bytes: 4096\ncancelled_write_bytes: 5\n"
    assert consumption.parse_written_bytes(text) == 4096
    with pytest.raises(ValueError, match="write_bytes"):
        consumption.parse_written_bytes("rchar: 1\n")


def test_this_process_uses_what_the_standard_library_says() -> None:
    before = consumption.processor_time(os.getpid())
    own_s = time.process_time()
    after = consumption.processor_time(os.getpid())
    tick_ms = 1000 / os.sysconf("SC_CLK_TCK")
    assert before.total_ms - 2 * tick_ms <= own_s * 1000 <= after.total_ms + 2 * tick_ms


def test_this_process_has_written_something_or_nothing() -> None:
    assert consumption.written_bytes(os.getpid()) >= 0


def test_this_process_holds_memory() -> None:
    held = consumption.memory(os.getpid())
    assert 0 < held.pss_mib <= held.rss_mib
    assert held.peak_mib > 0
