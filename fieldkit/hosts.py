"""Real machines as a venue: a bench of hosts that are entered by SSH (docs/bench.md).

Everything but ``ssh`` may be left out of an entry. Terminals of the cast that the bench does not
name are not on the stage.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from fieldkit.air_control import AirControl
from fieldkit.cast import Cast
from fieldkit.journeys import Journey
from fieldkit.place import Place
from fieldkit.process import Process, StageError
from fieldkit.ssh_place import Login, There
from fieldkit.toml_models import parsed, text_of

_SERVER: Final = "server"


class BenchError(Exception):
    """The file does not describe a bench. The text lists every problem, one a line."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Host(_Entry):
    """One machine of the bench.

    ``state``, ``rsync``: where its installed agent keeps what it records, and the rsync there that
    may read it, for ``fieldkit collect`` alone.
    """

    ssh: str
    ssh_options: tuple[str, ...] = ()
    python: str = "python3"
    address: str = ""
    radio: str = ""
    interfaces: str = ""
    state: str = ""
    rsync: str = "rsync"

    @property
    def login(self) -> Login:
        return Login(self.ssh, self.ssh_options, self.python)


class Car(_Entry):
    """``at``: terminals at which the jack is heard where it is; ``air``: what moves it."""

    at: tuple[str, ...] = ()
    air: str = ""


class WifiCommands(_Entry):
    """What cuts and mends the Wi-Fi, run on the phone's host."""

    cut: tuple[str, ...] = ()
    mend: tuple[str, ...] = ()


class RadioCommands(_Entry):
    """What takes the jack's radio away and gives it back, run on the jack's host."""

    take: tuple[str, ...] = ()
    give: tuple[str, ...] = ()


class Slowness(_Entry):
    times: Annotated[float, Field(ge=1, le=100)] = 1.0


class Bench(_Entry):
    """A whole bench. Raises BenchError."""

    server: Host
    jack: Host
    phone: Host
    terminals: Annotated[dict[str, Host], Field(min_length=1)]
    car: Car = Car()
    radios: dict[str, str] = {}
    wifi: WifiCommands = WifiCommands()
    radio: RadioCommands = RadioCommands()
    slow: Slowness = Slowness()

    @classmethod
    def parse(cls, text: str) -> Bench:
        """The bench in TOML ``text``. Raises BenchError."""
        return parsed(cls, text, BenchError, whole="bench")

    @classmethod
    def load(cls, file: Path) -> Bench:
        """Read a bench from ``file``. Raises BenchError."""
        return cls.parse(text_of(file, BenchError))

    def cast(self, whole: Cast) -> Cast:
        """``whole`` with the terminals of this bench alone. Raises BenchError."""
        known = {terminal.name for terminal in whole.terminals}
        if unknown := self.terminals.keys() - known:
            there_are = ", ".join(sorted(known))
            raise BenchError(f"No terminal is called {', '.join(unknown)}; it is {there_are}.")
        here = tuple(t for t in whole.terminals if t.name in self.terminals)
        return whole.model_copy(update={"terminals": here})

    def lacks(self, journey: Journey) -> str:
        """What a journey would miss here, as a sentence; empty if it can be played."""
        if absent := [name for name in journey.visits if name not in self.terminals]:
            return f"There is no {' and no '.join(absent)} on this bench."
        far = [name for name in journey.visits if name not in self.car.at]
        if far and not self.car.air:
            return f"The car is not at {' or '.join(far)}, and nothing on this bench moves it."
        if journey.breaks_wifi and not (self.wifi.cut and self.wifi.mend):
            return "Nothing on this bench cuts the Wi-Fi of phone and jack."
        if mute := [name for name in journey.extra_radios if name not in self.radios]:
            return f"This bench has no radio called {' or '.join(mute)}."
        return ""


class Hosts:
    """``fieldkit.venue.Venue`` on the hosts of a bench."""

    def __init__(self, bench: Bench) -> None:
        self.patience = bench.slow.times
        self.bench = bench
        self._hosts: dict[str, Host] = {}
        #: By agent, once it is open.
        self.places: dict[str, There] = {}
        self._phone = ""

    async def open(self, cast: Cast, folder: Path) -> None:
        bench, self._phone = self.bench, cast.phone.name
        devices = {cast.jack.name: bench.jack, cast.phone.name: bench.phone}
        self._hosts = {_SERVER: bench.server} | devices | bench.terminals
        self.places = {
            agent: There(host.login, host.address, folder / agent, self.patience)
            for agent, host in self._hosts.items()
        }
        connecting = (place.connect() for place in self.places.values())
        for failure in await asyncio.gather(*connecting, return_exceptions=True):
            if failure is not None:
                raise failure

    async def start_air(self, plan: Mapping[str, Any]) -> Process | None:
        return None  # it is there

    async def close(self) -> None:
        await asyncio.gather(*(place.close() for place in self.places.values()))

    def place(self, agent: str) -> Place:
        return self.places[agent]

    def radio(self, name: str) -> str:
        host = self._hosts.get(name)
        radio = host.radio if host else self.bench.radios.get(name, "")
        if not radio:
            raise StageError(f"{name} has no radio; name one in the bench file")
        return radio

    def interfaces(self, agent: str) -> str:
        return self._hosts[agent].interfaces

    @contextlib.asynccontextmanager
    async def breakable_wifi(self) -> AsyncIterator[HostWifi]:
        wifi = HostWifi(self.places[self._phone], self.bench.wifi)
        try:
            yield wifi
        finally:
            await wifi.mend()

    def air(self) -> AirControl | None:
        return AirControl(self.bench.car.air) if self.bench.car.air else None


class HostWifi:
    """The Wi-Fi of the phone's host, cut by commands there."""

    jack_settings: Mapping[str, str] = {}

    def __init__(self, phone: There, commands: WifiCommands) -> None:
        self._phone = phone
        self._commands = commands

    async def cut(self) -> None:
        """Raises StageError."""
        await self._phone.run(self._commands.cut)

    async def mend(self) -> None:
        """Raises StageError."""
        await self._phone.run(self._commands.mend)
