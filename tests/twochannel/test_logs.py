"""Logs: JSON lines with the fields of each event."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

from twochannel.logs import JsonLines


def _record(**extra: object) -> logging.LogRecord:
    record = logging.makeLogRecord({"msg": "payment_settled", "name": "server", "levelno": 20})
    record.levelname = "INFO"
    vars(record).update(extra)
    return record


def test_a_record_is_one_json_line_with_its_fields() -> None:
    line = json.loads(JsonLines().format(_record(payment="p1", amount_minor=450)))
    assert line["event"] == "payment_settled"
    assert (line["payment"], line["amount_minor"], line["level"]) == ("p1", 450, "info")


def test_an_exception_stays_on_its_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        text = JsonLines().format(_record(exc_info=sys.exc_info()))
    assert "\n" not in text
    assert "ValueError: broken" in json.loads(text)["exception"]


def test_agents_are_heard_from_info_and_libraries_from_warning() -> None:
    program = (
        "import logging; from twochannel.logs import configure; configure()\n"
        "logging.getLogger('server.app').info('ours'); logging.getLogger('lib').info('theirs')\n"
        "logging.getLogger('lib').warning('loud')\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    events = [json.loads(line)["event"] for line in run.stderr.splitlines()]
    assert events == ["ours", "loud"]
