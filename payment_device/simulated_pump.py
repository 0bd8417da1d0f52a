"""A pump for trials and tests: a process of its own, whose counter no power cut sets back.

Its driver lifts the nozzle, pulls the trigger and hangs it up by ``payment-device pump …``. It
gives fuel only while it is released, and stops by itself at the limit. Started anew it is locked.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from twochannel.intake import StrictDoor, answer_coded_error
from twochannel.keystore.file import write_private
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.wire import parse_object
from twochannel.serving import Address, serve
from twochannel.state_folder import held

FOLDER: Final = "pump"
_COUNTER: Final = "counter.json"
_TICK_S: Final = 0.1
#: More than any tank holds.
_MOST_ML: Final = 2_000_000


@dataclass
class SimulatedPump:
    """``flow_ml_s``: with the trigger pulled. ``wanted_ml``: the driver lets go after so much."""

    counter: Path
    flow_ml_s: float
    total_ml: int = 0
    nozzle_lifted: bool = False
    limit_total_ml: int = 0
    released: bool = False
    wanted_ml: int = 0

    def __post_init__(self) -> None:
        if self.counter.exists():
            kept = json.loads(self.counter.read_text(encoding="utf-8"))
            self.total_ml, self.nozzle_lifted = kept["total_ml"], kept["nozzle_lifted"]

    def state(self) -> dict[str, Any]:
        return {
            "total_ml": self.total_ml,
            "nozzle_lifted": self.nozzle_lifted,
            "released": self.released,
            "flowing": self._next_ml(1) > 0,
        }

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self.tick(_TICK_S)

    def tick(self, seconds: float) -> None:
        """What flows within ``seconds``; counted on disk before anybody is told."""
        given_ml = self._next_ml(round(self.flow_ml_s * seconds))
        if given_ml > 0:
            self._keep(self.total_ml + given_ml, nozzle_lifted=True)
            self.wanted_ml -= given_ml

    def _next_ml(self, most_ml: int) -> int:
        if not (self.released and self.nozzle_lifted):
            return 0
        return max(0, min(most_ml, self.wanted_ml, self.limit_total_ml - self.total_ml))

    def _keep(self, total_ml: int, *, nozzle_lifted: bool) -> None:
        """Where a nozzle is, no power cut changes either."""
        kept = {"total_ml": total_ml, "nozzle_lifted": nozzle_lifted}
        write_private(self.counter, json.dumps(kept).encode())
        self.total_ml, self.nozzle_lifted = total_ml, nozzle_lifted

    def release(self, limit_total_ml: int) -> None:
        self.limit_total_ml, self.released = limit_total_ml, True

    def lock(self) -> None:
        self.released = False

    def lift(self) -> None:
        self._keep(self.total_ml, nozzle_lifted=True)

    def fuel(self, volume_ml: int) -> None:
        """Pull the trigger for so much. Raises CodedError if the nozzle hangs."""
        if not self.nozzle_lifted:
            raise CodedError(ErrorCode.PAYMENT_STATE, "lift the nozzle first")
        self.wanted_ml = volume_ml

    def hang_up(self) -> None:
        self._keep(self.total_ml, nozzle_lifted=False)
        self.wanted_ml = 0


def application(pump: SimulatedPump) -> Starlette:
    """``GET /v1/state``; ``POST /v1/release``, ``/v1/lock`` for the terminal, and ``/v1/lift``,
    ``/v1/fuel``, ``/v1/hang-up`` for the driver."""

    async def state(_request: Request) -> Response:
        return JSONResponse(pump.state())

    def doing(do: Callable[[dict[str, object]], None]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            do(parse_object(await request.body() or b"{}"))
            return JSONResponse(pump.state())

        return endpoint

    acts: dict[str, Callable[[dict[str, object]], None]] = {
        "release": lambda told: pump.release(_volume(told, "limit_total_ml", most_ml=2**53)),
        "lock": lambda _told: pump.lock(),
        "lift": lambda _told: pump.lift(),
        "fuel": lambda told: pump.fuel(_volume(told, "volume_ml", _MOST_ML)),
        "hang-up": lambda _told: pump.hang_up(),
    }
    routes = [Route(f"/v1/{name}", doing(act), methods=["POST"]) for name, act in acts.items()]
    app = Starlette(
        routes=[Route("/v1/state", state), *routes],
        exception_handlers={CodedError: answer_coded_error},
    )
    app.add_middleware(StrictDoor)
    return app


def _volume(told: dict[str, object], name: str, most_ml: int) -> int:
    volume_ml = told.get(name)
    if (
        isinstance(volume_ml, bool)
        or not isinstance(volume_ml, int)
        or not 0 <= volume_ml <= most_ml
    ):
        raise CodedError(ErrorCode.CLAIM_INVALID, f"{name} is a volume in millilitres")
    return volume_ml


async def run(state: Path, flow_ml_s: float, ready: Callable[[dict[str, object]], None]) -> None:
    """Run the pump of the terminal in ``state`` until SIGTERM or SIGINT.

    Raises StateFolderError, OSError.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    folder = state / FOLDER
    with held(folder) as socket:
        pump = SimulatedPump(folder / _COUNTER, flow_ml_s)
        async with serve(application(pump), Address(socket=socket)), asyncio.TaskGroup() as tasks:
            flowing = tasks.create_task(pump.run())
            ready({"event": "ready", "total_ml": pump.total_ml})
            await stop.wait()
            flowing.cancel()
