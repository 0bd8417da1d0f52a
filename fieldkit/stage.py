"""The stage: every party of a cast as a real process, at a venue (``fieldkit.venue``).

On a desk all of it is in one folder::

    <folder>/
        air.toml             the plan of the virtual air
        logs/<agent>.log     what each process wrote to standard error
        <agent>/             state folder of each agent, with its trace.jsonl

``async with Stage(cast, folder) as stage: await stage.provision()`` leaves a car at its first
place, synchronised and heard, a phone connected, and every terminal ready to charge.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

from fieldkit import processor_books
from fieldkit.air_control import AirControl
from fieldkit.cast import CarRole, Cast, MerchantRole, TerminalRole
from fieldkit.process import CommandFailedError, Process, StageError
from fieldkit.processor_books import Charge
from fieldkit.trace import TraceEvent, TraceFile
from fieldkit.venue import AIR, BreakableWifi, Desk, Venue

SERVER: Final = "server"
_MODULES: Final = {"server": "server", "jack": "cigarjack", "phone": "phone_agent"}
_TERMINAL_MODULE: Final = "payment_device"
_COMMANDS: Final = {
    "server": "cigarjack-server",
    "cigarjack": "cigarjack",
    "phone_agent": "phone-agent",
    "payment_device": "payment-device",
}
#: Key generation, TLS and mDNS of a first start, on a machine that is busy with all the others.
_SETTLE_DEADLINE_S: Final = 40.0
_SEEN_DEADLINE_S: Final = 20.0
#: An owner here declines in minutes what others decline in months.
_PATIENCE: Final = {
    "CIGARJACK_SERVER_PROMPTS_PER_JACK": "1000",
    "CIGARJACK_SERVER_DENIALS_PER_TERMINAL": "1000",
}
#: The window of a jack is open for a minute, in which a busy emulation gets little done.
_PAIRING_TRIES: Final = 3


class Stage:
    """The running parties. Leaving the block stops them; nothing outlives this process."""

    def __init__(
        self,
        cast: Cast,
        folder: Path,
        *,
        venue: Venue | None = None,
        seed: int | None = None,
        rotation_exponent: int | None = None,
        settings: Mapping[str, Mapping[str, str]] | None = None,
        progress: Callable[[str], None] = lambda _step: None,
    ) -> None:
        """``venue``: this machine's loopback if none is given. ``folder`` is for what is kept here.

        ``seed`` replaces that of the cast's air; ``rotation_exponent``: jacks have a new code every
        2^that seconds, else as the server has it by default; ``settings``: more of them, by agent,
        from the environment; ``progress`` is told each step of set-up.
        """
        self.cast = cast
        self.folder = folder
        self.venue = venue or Desk()
        self.processes: dict[str, Process] = {}
        self.traces: dict[str, TraceFile] = {}
        #: Thumbprint of the server's key, as its operator was told: what evidence is judged by.
        self.server_thumbprint = ""
        #: What is printed on the first car's jack, with its claim secret.
        self.jack_label = ""
        self._server_port = "0"
        self.seed = cast.air.seed if seed is None else seed
        self._rotation_exponent = rotation_exponent
        self._further = settings or {}
        self._progress = progress
        # As many commands at once as there are processors: more would only wait for each other.
        self._commands = asyncio.Semaphore(max(2, os.cpu_count() or 1))

    async def __aenter__(self) -> Self:
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        try:
            await self.venue.open(self.cast, self.folder)
        except BaseException:
            await self.venue.close()
            raise
        return self

    async def __aexit__(self, *failure: object) -> None:
        running = [process for process in self.processes.values() if process.running]
        # The air goes last: an agent that loses its radio would say so, and rightly.
        await asyncio.gather(*(process.stop() for process in running if process.name != AIR))
        await self.venue.close()

    # --- who is where

    def module(self, agent: str) -> str:
        """The package of an agent."""
        roles = {SERVER: SERVER}
        for car in self.cast.cars:
            roles |= {car.jack.name: "jack", car.phone.name: "phone"}
        role = roles.get(agent)
        return _MODULES[role] if role else _TERMINAL_MODULE

    def state(self, agent: str) -> Path:
        """The state folder of an agent, at its place."""
        return self.venue.place(agent).folder / agent

    def by_hand(self, agent: str) -> str:
        """The command line, up to its sub-command, by which a person uses this agent."""
        return f"{_COMMANDS[self.module(agent)]} --state {self.state(agent)}"

    def radio(self, name: str) -> str:
        """The radio of that name on the air, as an agent's setting."""
        return self.venue.radio(name)

    @property
    def moves(self) -> bool:
        """Whether the car can be moved. Where not, it stands at every place that is visited."""
        return self.venue.air() is not None

    def air(self) -> AirControl:
        """The control channel of the air: ``async with`` it. Raises StageError if nothing moves."""
        control = self.venue.air()
        if control is None:
            raise StageError("nothing moves the car here")
        return control

    def within_s(self, desk_s: float) -> float:
        """How long something may take here that may take ``desk_s`` on a desk."""
        return desk_s * self.venue.patience

    def events(self) -> list[TraceEvent]:
        """All events of all traces so far, in the order in which they happened."""
        every = (event for file in self.traces.values() for event in file.events())
        return sorted(every, key=lambda event: event.mono_ns)

    async def seen(
        self,
        agent: str,
        event: str,
        *,
        payment: str | None = None,
        after_ns: int = 0,
        where: Callable[[Mapping[str, Any]], bool] = lambda _fields: True,
    ) -> TraceEvent:
        """Wait for an event in the trace of ``agent`` (``TraceFile.wait``). Raises TraceError."""
        return await self.traces[agent].wait(
            event,
            payment=payment,
            after_ns=after_ns,
            where=where,
            deadline_s=self.within_s(_SEEN_DEADLINE_S),
        )

    async def read(self, agent: str, file: Path) -> bytes:
        """The content of a file at the place of ``agent``. Raises StageError."""
        return await self.venue.place(agent).read(file)

    async def booked(self, payment: str) -> list[Charge]:
        """Every charge of ``payment`` in the processor's own books. Raises StageError."""
        line = ("-m", processor_books.__name__, str(self.state(SERVER)), payment)
        _, text = await self.venue.place(SERVER).command("processor's books", line)
        return processor_books.printed(text)

    # --- doing things

    async def say(
        self, agent: str, *arguments: str, expect: Sequence[int] = (0,)
    ) -> tuple[int, str]:
        """Run a command of ``agent``: exit code and what it printed.

        Raises CommandFailedError for an exit code that is not in ``expect``.
        """
        words = (word for word in arguments[:2] if not word.startswith("-"))
        name = " ".join((_COMMANDS[self.module(agent)], *words))
        line = ["-m", self.module(agent), "--state", str(self.state(agent)), *arguments]
        async with self._commands:
            return await self.venue.place(agent).command(name, line, expect)

    async def cli(
        self, agent: str, *arguments: str, expect: Sequence[int] = (0,)
    ) -> tuple[int, dict[str, Any]]:
        """Run a command of ``agent`` with ``--json``: exit code and the object it printed.

        Raises CommandFailedError for an exit code that is not in ``expect``.
        """
        code, output = await self.say(agent, *arguments, "--json", expect=expect)
        try:
            printed: dict[str, Any] = json.loads(output or "{}")
        except json.JSONDecodeError:
            raise StageError(f"{arguments[0]} did not print JSON: {output[:200]}") from None
        return code, printed

    async def ask(
        self, agent: str, method: str, path: str, body: dict[str, object] | None = None
    ) -> dict[str, Any]:
        """One request to a running agent's control socket (``twochannel.control.ask``)."""
        command = _COMMANDS[self.module(agent)]
        return await self.venue.place(agent).ask(agent, method, path, body, command)

    async def start(self, agent: str, environment: Mapping[str, str] | None = None) -> None:
        """Start ``agent``, or start it again; returns once it is ready. Raises StageError."""
        process = self.processes.get(agent)
        if process is None:
            process = self._process(agent)
            self.processes[agent] = process
            self.traces[agent] = await self.venue.place(agent).trace(agent)
        ready = await process.start(environment)
        if agent == SERVER:
            # Its devices have pinned the address: it must come back where it was.
            self._server_port = str(ready["url"]).rpartition(":")[2]

    async def restart(self, agent: str, environment: Mapping[str, str] | None = None) -> None:
        """Start an agent that has ended, with ``environment`` for this run alone."""
        fixed = {"CIGARJACK_SERVER_PORT": self._server_port} if agent == SERVER else {}
        await self.start(agent, fixed | dict(environment or {}))

    @asynccontextmanager
    async def breakable_wifi(self) -> AsyncIterator[BreakableWifi]:
        """The Wi-Fi of phone and jack, to be cut and mended; after the block it is as before."""
        jack, phone = self.cast.jack.name, self.cast.phone.name
        async with self.venue.breakable_wifi() as wifi:
            if not wifi.jack_settings:
                yield wifi
                return
            await self.processes[jack].stop()
            stopped_ns = time.monotonic_ns()
            try:
                await self.restart(jack, wifi.jack_settings)
                await self.seen(phone, "jack_found", after_ns=stopped_ns)
                # A lane shows the jack of before for a second more; this one may want the time.
                await self.seen(jack, "beacon_rotated", after_ns=stopped_ns)
                yield wifi
            finally:
                await self.processes[jack].stop()
        await self.restart(jack)

    async def kill(self, agent: str) -> None:
        """SIGKILL."""
        await self.processes[agent].kill()

    def _process(self, agent: str) -> Process:
        arguments = ["-m", self.module(agent), "--state", str(self.state(agent)), "run"]
        log = self.folder / "logs" / f"{agent}.log"
        settings = {**self._settings(agent), **self._further.get(agent, {})}
        return self.venue.place(agent).process(agent, arguments, log, settings)

    def _settings(self, agent: str) -> dict[str, str]:
        """Settings of an agent by environment; what is not here keeps its default."""
        interfaces = self.venue.interfaces(agent)
        if agent == SERVER:
            address = self.venue.place(agent).address
            where = {"CIGARJACK_SERVER_HOST": address, "CIGARJACK_SERVER_PORT": "0"}
            return where | _PATIENCE
        for car in self.cast.cars:
            if agent == car.jack.name:
                names = ["CIGARJACK_HOST", "CIGARJACK_INTERFACES"] if interfaces else []
                return {"CIGARJACK_RADIO": self.radio(agent)} | dict.fromkeys(names, interfaces)
            if agent == car.phone.name:
                names = ["PHONE_AGENT_INTERFACES"] if interfaces else []
                prompt = {"PHONE_AGENT_PROMPT_S": str(car.phone.prompt_s)}
                radio = {"PHONE_AGENT_RADIO": self.radio(agent)}
                return prompt | radio | dict.fromkeys(names, interfaces)
        return {"PAYMENT_DEVICE_RADIO": self.radio(agent)}

    # --- set-up

    def _server_options(self) -> list[str]:
        options = ["--host", self.venue.place(SERVER).address, "--port", "0"]
        if self._rotation_exponent is not None:
            options += ["--rotation-exponent", str(self._rotation_exponent)]
        return options

    async def provision(self, closed: Collection[str] = ()) -> None:
        """Make and start everyone, as their operators and owners would. Raises StageError.

        ``closed``: terminals that are enrolled, and not started yet.
        """
        self._progress("keys, database and virtual air")
        _, (_, server), *made = await _together(
            self._start_air(),
            self.cli(SERVER, "init", *self._server_options()),
            *(self.cli(car.jack.name, "init") for car in self.cast.cars),
        )
        labels = [jack["label"] for _, jack in made]
        self.server_thumbprint, self.jack_label = server["server"], labels[0]
        self._progress("server and merchants")
        await _together(self.start(SERVER), *map(self._add_merchant, self.cast.merchants))
        self._progress("enrolment, pairing and payment methods")
        terminals = (self._set_up_terminal(one, closed) for one in self.cast.terminals)
        cars = (
            self._set_up_phone(car, label)
            for car, label in zip(self.cast.cars, labels, strict=True)
        )
        await _together(*cars, *terminals)
        self._progress("the jack's time and beacon")
        await self.settled()

    async def settled(self, after_ns: int = 0) -> None:
        """Wait until each car is ready, and the first one's jack is heard beside it."""
        for car in self.cast.cars:
            await self.car_ready(car, after_ns)
        await self._settled(self.cast.terminals[0].name, "code_heard", after_ns)

    async def car_ready(self, car: CarRole, after_ns: int = 0) -> None:
        """Wait until its phone is connected and its jack, synchronised, is on the air."""
        await self._settled(car.phone.name, "server_connected", after_ns)
        await self._settled(car.jack.name, "clock_synchronised", after_ns)
        await self._settled(car.jack.name, "beacon_rotated", after_ns)

    async def _settled(self, agent: str, event: str, after_ns: int) -> None:
        deadline_s = self.within_s(_SETTLE_DEADLINE_S)
        await self.traces[agent].wait(event, after_ns=after_ns, deadline_s=deadline_s)

    async def _start_air(self) -> None:
        air = await self.venue.start_air(self.cast.air_plan(self.seed))
        if air is not None:
            self.processes[AIR] = air

    async def _add_merchant(self, merchant: MerchantRole) -> None:
        options = ("--presence", merchant.presence, "--id", merchant.id)
        await self.cli(SERVER, "merchants", "add", merchant.name, *options)

    async def _set_up_terminal(self, terminal: TerminalRole, closed: Collection[str]) -> None:
        await self._enroll(
            terminal.name, "terminals", "add", terminal.label, "--merchant", terminal.merchant
        )
        if terminal.name not in closed:
            await self.start(terminal.name)

    async def _set_up_phone(self, car: CarRole, label: str) -> None:
        phone, jack = car.phone, car.jack.name
        await self._enroll(phone.name, "phones", "add", phone.label)
        # Only now, for it may be paired for a minute from here on.
        await self.start(jack)
        await self._pair(car, label)
        for method in phone.methods:
            card = ("--test-card", method.token, "--label", method.label)
            await self.cli(phone.name, "methods", "add", *card)
        for limit in phone.limits:
            rule = ("allow", limit.merchant, "--limit", limit.limit)
            await self.cli(phone.name, "merchants", *rule)
        await self.start(phone.name)

    async def _pair(self, car: CarRole, label: str) -> None:
        """Pair phone and jack; as their owner would, again where a slow place took too long."""
        tries_left = _PAIRING_TRIES if self.venue.patience > 1 else 1
        while tries_left:
            tries_left -= 1
            pair = ("pair", label, *self._pairing_address(car.jack.name))
            try:
                await self.cli(car.phone.name, *pair)
            except CommandFailedError as error:
                if not tries_left or error.problem.get("code") != "jack_not_found":
                    raise
                _, opened = await self.cli(car.jack.name, "pair", "open")
                label = opened["label"]
                if car.jack == self.cast.jack:
                    self.jack_label = label
            else:
                return

    def _pairing_address(self, jack: str) -> Sequence[str]:
        """Where the jack is paired, unless the phone is to find it in their Wi-Fi."""
        if not self.venue.interfaces(jack):
            return ()
        port = self.processes[jack].ready["pairing_port"]
        return "--address", f"{self.venue.place(jack).address}:{port}"

    async def _enroll(self, agent: str, *registration: str) -> None:
        """The operator runs ``registration``; the device redeems the code that it prints."""
        _, made = await self.cli(SERVER, *registration)
        url = self.processes[SERVER].ready["url"]
        await self.cli(agent, "enroll", url, made["enrolment_code"])


async def _together(*steps: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run ``steps`` at once; the first failure cancels the others and is raised as it is."""
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
