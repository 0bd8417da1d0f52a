"""The virtual air: Bluetooth LE controllers that hear each other as their places allow.

Each controller of the plan is offered to one process over TCP; the radio of that process is then
``bumble:tcp-client:127.0.0.1:PORT``. Or it is given to the kernel of this machine (``host =
"vhci"``) and becomes one of its adapters, which BlueZ knows by the controller's address. Where
the controllers are can be changed while it runs, over the control channel
(``fieldkit.air_commands``, client: ``fieldkit.air_control.AirControl``).

A plan in TOML; everything but the names may be left out::

    seed = 7            # same seed, same fading and losses
    control_port = 0    # 0: chosen by the system and announced

    [propagation]       # see fieldkit.propagation.Propagation
    fading_sd_db = 5.0

    [[controllers]]
    name = "jack"
    host = "tcp"        # or "vhci", which needs root and the kernel module hci_vhci
    port = 0
    x = 0.0             # metres
    y = 0.0
    tx_power_dbm = 0
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import click
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fieldkit import air_commands, air_steering
from fieldkit.air_commands import CommandError, Refusal
from fieldkit.air_control import ControlPort
from fieldkit.ether import Clock, Ether
from fieldkit.hci_port import LOOPBACK, HciPort
from fieldkit.motion import Position
from fieldkit.propagation import Propagation
from fieldkit.vhci_port import VhciPort
from fieldkit.virtual_controller import VirtualController, recorded_advert

#: The plan that is run when none is given.
EXAMPLE: Final = Path(__file__).parent / "templates" / "air.toml"

_Port = Annotated[int, Field(ge=0, le=65535)]
_Metres = Annotated[float, Field(allow_inf_nan=False)]


class _Plan(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ControllerPlan(_Plan):
    """One controller: its name, host, TCP port (0: chosen), place in metres, transmit power."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    host: Literal["tcp", "vhci"] = "tcp"
    port: _Port = 0
    x: _Metres = 0.0
    y: _Metres = 0.0
    tx_power_dbm: Annotated[int, Field(ge=-127, le=20)] = 0


class AirPlan(_Plan):
    """What an air consists of. Raises pydantic.ValidationError, which is a ValueError."""

    seed: int = 0
    control_port: _Port = 0
    propagation: Propagation = Propagation()
    controllers: tuple[ControllerPlan, ...]

    @field_validator("controllers")
    @classmethod
    def _names_are_unique(cls, plans: tuple[ControllerPlan, ...]) -> tuple[ControllerPlan, ...]:
        if not plans:
            raise ValueError("an air needs at least one controller")
        if len({plan.name for plan in plans}) < len(plans):
            raise ValueError("each controller needs a name of its own")
        return plans

    @classmethod
    def from_toml(cls, text: str) -> AirPlan:
        """Raises ValueError with all problems of the text."""
        return cls.model_validate(tomllib.loads(text))


class Air:
    """A running air: ``async with Air(plan) as air``. OSError if a port is taken.

    ``clock`` is the running event loop unless a test turns the time by hand.
    """

    def __init__(self, plan: AirPlan, clock: Clock | None = None) -> None:
        self._plan = plan
        self._clock = clock
        self._controllers: dict[str, VirtualController] = {}
        self._hosts: dict[str, HciPort | VhciPort] = {}
        self._ports: dict[str, int] = {}
        self._control_port = 0
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Air:
        clock = self._clock or asyncio.get_running_loop()
        ether = Ether(self._plan.propagation, self._plan.seed, clock)
        async with contextlib.AsyncExitStack() as opening:
            for index, plan in enumerate(self._plan.controllers, start=1):
                controller = _controller(plan, ether, index)
                self._controllers[plan.name] = controller
                host = VhciPort(controller) if plan.host == "vhci" else HciPort(controller)
                self._hosts[plan.name] = host
                opening.push_async_callback(host.close)
                if isinstance(host, HciPort):
                    self._ports[plan.name] = await host.open(plan.port)
                else:
                    host.plug()
            control = ControlPort(self.perform)
            opening.push_async_callback(control.close)
            self._control_port = await control.open(LOOPBACK, self._plan.control_port)
            self._open = opening.pop_all()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._open.aclose()

    @property
    def transports(self) -> dict[str, str]:
        """By name of each controller that is offered over TCP, its Bumble transport."""
        return {name: f"tcp-client:{LOOPBACK}:{port}" for name, port in self._ports.items()}

    @property
    def adapters(self) -> dict[str, str]:
        """By name of each controller that was given to the kernel, the adapter's address."""
        return {
            name: controller.public_address.to_string(with_type_qualifier=False)
            for name, controller in self._controllers.items()
            if name not in self._ports
        }

    @property
    def control(self) -> str:
        """``host:port`` of the control channel."""
        return f"{LOOPBACK}:{self._control_port}"

    def controller(self, name: str) -> VirtualController:
        """The controller of that name. Raises CommandError."""
        try:
            return self._controllers[name]
        except KeyError:
            raise CommandError(
                Refusal.UNKNOWN_CONTROLLER,
                f'no controller is called "{name}"; there are: {", ".join(self._controllers)}',
            ) from None

    def perform(self, command: air_commands.Command) -> dict[str, Any]:
        """Do what a control command says; what its answer says besides ok. CommandError."""
        match command:
            case air_commands.Move(move=name, x=x_m, y=y_m):
                self.controller(name).move(Position(x_m, y_m))
            case air_commands.Drive(drive=name, to=to_m, speed_mps=speed_mps):
                seconds = self.controller(name).drive(Position(*to_m), speed_mps)
                return {"arrives_in_s": seconds}
            case air_commands.Mute(mute=name):
                self.controller(name).muted = True
            case air_commands.Unmute(unmute=name):
                self.controller(name).muted = False
            case air_commands.Unplug(unplug=name):
                self._host(name).unplug()
            case air_commands.Plug(plug=name):
                self._host(name).plug()
            case air_commands.Positions():
                return {"positions": self._positions()}
            case air_commands.Deliver(deliver=name) as told:
                advert = recorded_advert(told.address, bytes.fromhex(told.data), random=told.random)
                return {"heard": self.controller(name).receive(advert, told.rssi_dbm)}
        return {}

    def _host(self, name: str) -> HciPort | VhciPort:
        return self._hosts[self.controller(name).name]

    def _positions(self) -> dict[str, tuple[float, float]]:
        places = {name: member.position for name, member in self._controllers.items()}
        return {name: (place.x_m, place.y_m) for name, place in places.items()}


def _controller(plan: ControllerPlan, ether: Ether, index: int) -> VirtualController:
    # A locally administered address: the 0x02 bit of the first byte (IEEE 802, section 8.2).
    address = (0x02_00_00_00_00_00 + index).to_bytes(6).hex(":").upper()
    return VirtualController(plan.name, ether, address, Position(plan.x, plan.y), plan.tx_power_dbm)


async def serve(plan: AirPlan, announce: Callable[[str], None]) -> None:
    """Run an air until SIGINT or SIGTERM. ``announce`` gets one JSON line once it is ready."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        async with Air(plan) as air:
            ready = {
                "event": "air_ready",
                "controllers": air.transports,
                "adapters": air.adapters,
                "control": air.control,
            }
            announce(json.dumps(ready))
            await stopped.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@click.group("air", invoke_without_command=True)
@click.option(
    "--config",
    "plan_file",
    default=EXAMPLE,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file with the controllers, their places, and the seed.  [default: the example]",
)
@click.option("--example", is_flag=True, help="Print the example: a jack and two lanes.")
@click.pass_context
def air_command(context: click.Context, plan_file: Path, example: bool) -> None:
    """Run a virtual air: Bluetooth LE controllers over TCP, without any hardware.

    Prints one JSON line with the addresses once it is ready, and runs until it is interrupted.
    Give an agent the radio "bumble:" followed by the address of its controller: on the air of the
    example, the jack's is bumble:tcp-client:127.0.0.1:9001 and the lane's
    bumble:tcp-client:127.0.0.1:9002. docs/by-hand.md shows it step by step.

    With a command it does that to an air which runs already.
    """
    if context.invoked_subcommand is not None:
        return
    if example:
        click.echo(EXAMPLE.read_text(encoding="utf-8"), nl=False)
        return
    try:
        plan = AirPlan.from_toml(plan_file.read_text(encoding="utf-8"))
    except ValidationError as error:
        problems = "\n".join(f"  {problem}" for problem in _problems(error))
        raise click.ClickException(f"{plan_file} is not a plan of an air:\n{problems}") from error
    except ValueError as error:
        raise click.ClickException(f"{plan_file} is not TOML in UTF-8: {error}") from error
    try:
        asyncio.run(serve(plan, _announce))
    except OSError as error:
        raise click.ClickException(
            f"Cannot open the air: {error}. If a port is taken, choose other ports, or 0 for "
            "any free one; if there is no /dev/vhci, load the kernel module hci_vhci, and be root."
        ) from error


air_command.add_command(air_steering.unplug)
air_command.add_command(air_steering.plug)


def _problems(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        place = ".".join(map(str, problem["loc"]))
        yield f"{place}: {problem['msg']}"


def _announce(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    air_command()
