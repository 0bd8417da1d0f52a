"""Where a stage is set up: a place for each agent, its radio, its network, and what can be done.

``Desk`` is this machine alone, on virtual air and loopback. The virtual car is
``fieldkit.car.streets``, machines over SSH are ``fieldkit.hosts``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any, Final, Protocol

from fieldkit.air_control import AirControl
from fieldkit.cast import Cast
from fieldkit.place import LOOPBACK, Here, Place
from fieldkit.process import Process, StageError
from fieldkit.typist import TypedCommands, Typist
from fieldkit.wifi import Wifi

AIR: Final = "air"
#: Where the jack listens while a relay carries what comes to the address that it announces.
_BEHIND_WIFI: Final = "127.0.0.2"


class BreakableWifi(Protocol):
    """The Wi-Fi between phone and jack. ``jack_settings``: what the jack must be started with."""

    @property
    def jack_settings(self) -> Mapping[str, str]: ...

    async def cut(self) -> None: ...

    async def mend(self) -> None: ...


class Venue(Protocol):
    """``open`` it first, ``start_air`` before the first agent, and ``close`` it in any case.

    ``patience``: how many times as long as on a desk everything may take.
    """

    @property
    def patience(self) -> float: ...

    async def open(self, cast: Cast, folder: Path) -> None:
        """Connect the machines. ``folder`` is for logs and copies. Raises StageError."""

    async def start_air(self, plan: Mapping[str, Any]) -> Process | None:
        """Have every radio ready; the process of a virtual air. Raises StageError."""

    async def close(self) -> None: ...

    def place(self, agent: str) -> Place: ...

    def radio(self, name: str) -> str:
        """The radio of that name in the cast, as an agent's setting."""

    def interfaces(self, agent: str) -> str:
        """Own addresses for the link of jack and phone, with commas; empty: all of a machine."""

    def breakable_wifi(self) -> AbstractAsyncContextManager[BreakableWifi]:
        """A Wi-Fi of phone and jack that can be cut. Raises StageError if nothing here cuts it."""

    def air(self) -> AirControl | None:
        """What moves the car, to be used with ``async with``; None if nothing does."""


class Desk:
    """Everything on this machine's loopback, on virtual air.

    Agents are started as their users start them; what their users type is typed by a Python that
    has loaded it, for a demo has dozens of commands, and loading is most of each.
    """

    patience = 1.0

    def __init__(self) -> None:
        self._air: Process | None = None
        self._folder = Path()
        self._here: Here
        self._open = AsyncExitStack()

    async def open(self, cast: Cast, folder: Path) -> None:
        self._folder = folder
        typist = await self._open.enter_async_context(Typist(folder))
        self._here = TypedCommands(folder, typist)

    async def start_air(self, plan: Mapping[str, Any]) -> Process:
        file = self._folder / "air.toml"
        file.write_text(air_toml(plan), encoding="utf-8")
        arguments = ["-m", "fieldkit.air", "--config", str(file)]
        self._air = Process(AIR, arguments, self._folder / "logs" / "air.log")
        self._open.push_async_callback(self._air.stop)
        await self._air.start()
        return self._air

    async def close(self) -> None:
        await self._open.aclose()

    def place(self, agent: str) -> Place:
        return self._here

    def radio(self, name: str) -> str:
        return f"bumble:{self._ready['controllers'][name]}"

    def interfaces(self, agent: str) -> str:
        return LOOPBACK

    def breakable_wifi(self) -> AbstractAsyncContextManager[BreakableWifi]:
        return Wifi(LOOPBACK, _BEHIND_WIFI)

    def air(self) -> AirControl:
        return AirControl(self._ready["control"])

    @property
    def _ready(self) -> dict[str, Any]:
        if self._air is None:
            raise StageError("the air was not started")
        return self._air.ready


def air_toml(plan: Mapping[str, Any]) -> str:
    """An air's plan as TOML. Strings and numbers of TOML are written as those of JSON."""
    lines = [f"seed = {plan['seed']}", "[propagation]"]
    lines += _pairs(plan["propagation"].items())
    for controller in plan["controllers"]:
        lines += ["[[controllers]]", *_pairs(controller.items())]
    return "\n".join(lines) + "\n"


def _pairs(members: Iterable[tuple[str, Any]]) -> list[str]:
    return [f"{name} = {json.dumps(value)}" for name, value in members]
