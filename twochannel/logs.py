"""Structured logs: one JSON object a line on standard error, or plain lines for a person."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from typing import Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Each record as JSON: time, level, logger, event and the fields given as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {k: v for k, v in vars(record).items() if k not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class PlainLines(logging.Formatter):
    """Each record as one line for a person: time, level, event, fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields = [f"{k}={v}" for k, v in vars(record).items() if k not in _STANDARD]
        time = self.formatTime(record, "%Y-%m-%d %H:%M:%S")
        line = " ".join((time, record.levelname.lower(), record.getMessage(), *fields))
        line = line.replace("\n", "\\n")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(
    level: str = "INFO", *, plain: bool = False, filters: Iterable[logging.Filter] = ()
) -> None:
    """Log to standard error from now on. Libraries are heard from warnings up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainLines() if plain else JsonLines())
    for each in filters:
        handler.addFilter(each)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("twochannel", "cigarjack", "payment_device", "phone_agent", "server", "fieldkit"):
        logging.getLogger(name).setLevel(level)
