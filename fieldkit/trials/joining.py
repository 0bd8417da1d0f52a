"""Recordings of one agent that came by several ways, or on several days, made one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fieldkit.trials.archive import TrialError
from fieldkit.trials.packing import Record


def joined(records: Sequence[Record]) -> list[Record]:
    """Each agent once, with all its pieces. Raises TrialError if two have one name.

    A piece only ever grows, so that the longer of two is both, unless they are of two recordings.
    """
    together: dict[tuple[str, str], Record] = {}
    for record in records:
        key = record.machine, record.agent
        together[key] = _one(together[key], record) if key in together else record
    return list(together.values())


def _one(first: Record, second: Record) -> Record:
    files = dict(first.files)
    for name, data in second.files.items():
        here = files.get(name, b"")
        if second.party != first.party or not (data.startswith(here) or here.startswith(data)):
            raise TrialError(
                f"There are two recordings of {second.agent} on {second.machine}, and {name} of "
                "one is not that of the other. Give one of the machines another name (fieldkit "
                "bundle --machine NAME), or leave out what is older."
            )
        files[name] = max(here, data, key=len)
    return replace(second, files=files, collected=second.collected or first.collected)
