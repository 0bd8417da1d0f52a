"""The virtual car as a venue: each party on a machine of its own, on real BlueZ and real Wi-Fi.

Jack, phone, lane and server are the machines of ``fieldkit.car.network``; all terminals share the
lane's. The radios of agents are adapters of the kernel, on the virtual air of the cast's plan with
its places and its fading; radios of nobody's are controllers of the same air, without a kernel.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

from fieldkit.air_control import AirControl
from fieldkit.car.bluetooth import Adapters
from fieldkit.car.machines import JACK, LANE, PHONE, SERVER, Machine
from fieldkit.car.network import Network
from fieldkit.cast import Cast
from fieldkit.place import Place
from fieldkit.process import Process, StageError
from fieldkit.typist import TypedHere, Typist
from fieldkit.venue import air_toml

#: A radio beside the first terminal that hears what is on the air, and belongs to no cast.
WITNESS: Final = "witness"
#: An adapter that is nobody's and not plugged in.
SPARE: Final = "spare"
#: A processor that may be emulated, for all agents and everything below them.
_PATIENCE: Final = 8.0
#: It loads every agent, emulated, while others start.
_TYPEWRITER_DEADLINE_S: Final = 240.0


class Streets:
    """``fieldkit.venue.Venue`` inside the virtual car. Needs root."""

    patience = _PATIENCE

    def __init__(self) -> None:
        self.network: Network
        self._adapters: Adapters | None = None
        self._machines: dict[str, Machine] = {}
        self._places: Mapping[str, TypedHere] = {}
        self._nobodys: frozenset[str] = frozenset()
        self._witness_at_m = (0.0, 0.0)
        self._folder = Path()
        self._open = contextlib.AsyncExitStack()

    async def open(self, cast: Cast, folder: Path) -> None:
        self._folder = folder
        self._nobodys = frozenset(radio.name for radio in cast.extra_radios) | {WITNESS}
        self._witness_at_m = cast.terminals[0].at_m
        self._machines = {"server": SERVER, cast.jack.name: JACK, cast.phone.name: PHONE}
        self._machines |= {terminal.name: LANE for terminal in cast.terminals}
        typist = Typist(folder, ready_deadline_s=_TYPEWRITER_DEADLINE_S)
        await self._open.enter_async_context(typist)
        self._places = {
            agent: TypedHere(folder, typist, machine.address, machine.namespace, _PATIENCE)
            for agent, machine in self._machines.items()
        }
        self.network = await self._open.enter_async_context(Network(folder / "logs"))

    async def start_air(self, plan: Mapping[str, Any]) -> Process:
        x_m, y_m = self._witness_at_m
        ours = ({"name": WITNESS, "x": x_m, "y": y_m}, {"name": SPARE})
        controllers = [
            controller if controller["name"] in self._nobodys else controller | {"host": "vhci"}
            for controller in (*plan["controllers"], *ours)
        ]
        text = air_toml({**plan, "controllers": controllers})
        adapters = Adapters(text, self._folder / "logs")
        self._adapters = await self._open.enter_async_context(adapters)
        async with adapters.air() as air:
            await air.unplug(SPARE)
        return adapters.air_process

    async def close(self) -> None:
        await self._open.aclose()

    @property
    def adapters(self) -> Adapters:
        """The radios, once the air has been started. Raises StageError."""
        if self._adapters is None:
            raise StageError("the air was not started")
        return self._adapters

    def machine(self, agent: str) -> Machine:
        """The machine of an agent."""
        return self._machines[agent]

    def place(self, agent: str) -> Place:
        return self._places[agent]

    def radio(self, name: str) -> str:
        return self.adapters.radio(name)

    def interfaces(self, agent: str) -> str:
        return ""

    @contextlib.asynccontextmanager
    async def breakable_wifi(self) -> AsyncIterator[StationWifi]:
        wifi = StationWifi(self.network)
        try:
            yield wifi
        finally:
            await wifi.mend()

    def air(self) -> AirControl:
        return self.adapters.air()


class StationWifi:
    """The phone's Wi-Fi interface, which is taken down and up."""

    jack_settings: Mapping[str, str] = {}

    def __init__(self, network: Network) -> None:
        self._network = network
        self._is_cut = False

    async def cut(self) -> None:
        self._is_cut = True
        await self._network.leave_wifi(PHONE)

    async def mend(self) -> None:
        """Joined again when it returns. Raises StageError."""
        if self._is_cut:
            await self._network.join_wifi(PHONE)
            self._is_cut = False
