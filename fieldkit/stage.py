"""The stage: every party of a cast as a real process, in one folder, on virtual air.

::

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
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

from fieldkit import trace
from fieldkit.air_control import AirControl
from fieldkit.cast import Cast, MerchantRole, TerminalRole
from fieldkit.process import Process, StageError, command
from fieldkit.trace import TraceEvent, TraceFile
from fieldkit.wifi import Wifi
from twochannel import control

SERVER: Final = "server"
AIR: Final = "air"
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
_LOOPBACK: Final = "127.0.0.1"
#: Where the jack listens while a relay carries what comes to the address that it announces.
_JACK_BEHIND_WIFI: Final = "127.0.0.2"


class Stage:
    """The running parties. Leaving the block stops them; nothing outlives this process."""

    def __init__(
        self,
        cast: Cast,
        folder: Path,
        *,
        seed: int | None = None,
        progress: Callable[[str], None] = lambda _step: None,
    ) -> None:
        """``seed`` replaces that of the cast's air; ``progress`` is told each step of set-up."""
        self.cast = cast
        self.folder = folder
        self.processes: dict[str, Process] = {}
        self.traces: dict[str, TraceFile] = {}
        #: Thumbprint of the server's key, as its operator was told: what evidence is judged by.
        self.server_thumbprint = ""
        #: What is printed on the jack, with its claim secret.
        self.jack_label = ""
        self._seed = seed
        self._progress = progress
        # As many commands at once as there are processors: more would only wait for each other.
        self._commands = asyncio.Semaphore(max(2, os.cpu_count() or 1))

    async def __aenter__(self) -> Self:
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(self, *failure: object) -> None:
        running = [process for process in self.processes.values() if process.running]
        await asyncio.gather(*(process.stop() for process in running if process.name != AIR))
        # The air goes last: an agent that loses its radio would say so, and rightly.
        await asyncio.gather(*(process.stop() for process in running if process.name == AIR))

    # --- who is where

    def module(self, agent: str) -> str:
        """The package of an agent."""
        roles = {SERVER: SERVER, self.cast.jack.name: "jack", self.cast.phone.name: "phone"}
        role = roles.get(agent)
        return _MODULES[role] if role else _TERMINAL_MODULE

    def state(self, agent: str) -> Path:
        """The state folder of an agent."""
        return self.folder / agent

    def by_hand(self, agent: str) -> str:
        """The command line, up to its sub-command, by which a person uses this agent."""
        return f"{_COMMANDS[self.module(agent)]} --state {self.state(agent)}"

    def radio(self, name: str) -> str:
        """The radio of that name on the air, as an agent's setting."""
        return f"bumble:{self.processes[AIR].ready['controllers'][name]}"

    def air(self) -> AirControl:
        """The control channel of the air: ``async with`` it."""
        return AirControl(self.processes[AIR].ready["control"])

    def events(self) -> list[TraceEvent]:
        """All events of all traces so far, in the order in which they happened."""
        every = (event for file in self.traces.values() for event in file.events())
        return sorted(every, key=lambda event: event.mono_ns)

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
            return await command(name, line, expect=expect)

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
        state, name = self.state(agent), _COMMANDS[self.module(agent)]
        return await asyncio.to_thread(control.ask, state, method, path, body, agent=name)

    async def start(self, agent: str, environment: Mapping[str, str] | None = None) -> None:
        """Start ``agent``, or start it again; returns once it is ready. Raises StageError."""
        process = self.processes.get(agent)
        if process is None:
            process = self._process(agent)
            self.processes[agent] = process
            self.traces[agent] = TraceFile(agent, self.state(agent) / trace.FILE_NAME)
        ready = await process.start(environment)
        if agent == SERVER:
            # Its devices have pinned the address: it must come back where it was.
            (self.folder / "server.port").write_text(str(ready["url"]).rpartition(":")[2])

    async def restart(self, agent: str, environment: Mapping[str, str] | None = None) -> None:
        """Start an agent that has ended, with ``environment`` for this run alone."""
        port = (self.folder / "server.port").read_text() if agent == SERVER else ""
        fixed = {"CIGARJACK_SERVER_PORT": port} if port else {}
        await self.start(agent, fixed | dict(environment or {}))

    @asynccontextmanager
    async def behind_wifi(self) -> AsyncIterator[Wifi]:
        """The jack, restarted behind a Wi-Fi that can be cut; after the block it is as before."""
        jack = self.cast.jack.name
        async with Wifi(_LOOPBACK, _JACK_BEHIND_WIFI) as wifi:
            await self.processes[jack].stop()
            behind = {"CIGARJACK_HOST": _JACK_BEHIND_WIFI, "CIGARJACK_PORT": str(wifi.port)}
            try:
                await self.restart(jack, behind)
                yield wifi
            finally:
                await self.processes[jack].stop()
        await self.restart(jack)

    async def kill(self, agent: str) -> None:
        """SIGKILL."""
        await self.processes[agent].kill()

    def _process(self, agent: str) -> Process:
        arguments = ["-m", self.module(agent), "--state", str(self.state(agent)), "run"]
        return Process(agent, arguments, self._log(agent), self._settings(agent))

    def _log(self, agent: str) -> Path:
        return self.folder / "logs" / f"{agent}.log"

    def _settings(self, agent: str) -> dict[str, str]:
        """Settings of an agent by environment; what is not here keeps its default."""
        if agent == SERVER:
            return {"CIGARJACK_SERVER_HOST": _LOOPBACK, "CIGARJACK_SERVER_PORT": "0"}
        if agent == self.cast.jack.name:
            return {
                "CIGARJACK_RADIO": self.radio(agent),
                "CIGARJACK_HOST": _LOOPBACK,
                "CIGARJACK_INTERFACES": _LOOPBACK,
            }
        if agent == self.cast.phone.name:
            return {
                "PHONE_AGENT_INTERFACES": _LOOPBACK,
                "PHONE_AGENT_RADIO": self.radio(agent),
                "PHONE_AGENT_PROMPT_S": str(self.cast.phone.prompt_s),
            }
        return {"PAYMENT_DEVICE_RADIO": self.radio(agent)}

    # --- set-up

    async def provision(self) -> None:
        """Make and start everyone, as their operators and owners would. Raises StageError."""
        jack = self.cast.jack.name
        self._progress("keys, database and virtual air")
        _, (_, server), (_, made) = await _together(
            self._start_air(),
            self.cli(SERVER, "init", "--host", _LOOPBACK, "--port", "0"),
            self.cli(jack, "init"),
        )
        self.server_thumbprint, self.jack_label = server["server"], made["label"]
        self._progress("server, jack and merchants")
        await _together(
            self.start(SERVER), self.start(jack), *map(self._add_merchant, self.cast.merchants)
        )
        self._progress("enrolment, pairing and payment methods")
        await _together(self._set_up_phone(), *map(self._set_up_terminal, self.cast.terminals))
        self._progress("the jack's time and beacon")
        await self.settled()

    async def settled(self, after_ns: int = 0) -> None:
        """Wait until the phone is connected and the jack, synchronised, is heard beside it."""
        jack, phone = self.cast.jack.name, self.cast.phone.name
        nearest = self.cast.terminals[0].name
        for agent, event in (
            (phone, "server_connected"),
            (jack, "clock_synchronised"),
            (jack, "beacon_rotated"),
            (nearest, "code_heard"),
        ):
            await self.traces[agent].wait(event, after_ns=after_ns, deadline_s=_SETTLE_DEADLINE_S)

    async def _start_air(self) -> None:
        plan = self.folder / "air.toml"
        plan.write_text(_toml(self.cast.air_plan(self._seed)), encoding="utf-8")
        arguments = ["-m", "fieldkit.air", "--config", str(plan)]
        self.processes[AIR] = Process(AIR, arguments, self._log(AIR))
        await self.processes[AIR].start()

    async def _add_merchant(self, merchant: MerchantRole) -> None:
        options = ("--presence", merchant.presence, "--id", merchant.id)
        await self.cli(SERVER, "merchants", "add", merchant.name, *options)

    async def _set_up_terminal(self, terminal: TerminalRole) -> None:
        await self._enroll(
            terminal.name, "terminals", "add", terminal.label, "--merchant", terminal.merchant
        )
        await self.start(terminal.name)

    async def _set_up_phone(self) -> None:
        phone = self.cast.phone
        await self._enroll(phone.name, "phones", "add", phone.label)
        port = self.processes[self.cast.jack.name].ready["pairing_port"]
        address = f"{_LOOPBACK}:{port}"
        await self.cli(phone.name, "pair", self.jack_label, "--address", address)
        for method in phone.methods:
            card = ("--test-card", method.token, "--label", method.label)
            await self.cli(phone.name, "methods", "add", *card)
        for limit in phone.limits:
            rule = ("allow", limit.merchant, "--limit", limit.limit)
            await self.cli(phone.name, "merchants", *rule)
        await self.start(phone.name)

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


def _toml(plan: Mapping[str, Any]) -> str:
    """The air's plan as TOML. Strings and numbers of TOML are written as those of JSON."""
    lines = [f"seed = {plan['seed']}", "[propagation]"]
    lines += _pairs(plan["propagation"].items())
    for controller in plan["controllers"]:
        lines += ["[[controllers]]", *_pairs(controller.items())]
    return "\n".join(lines) + "\n"


def _pairs(members: Iterable[tuple[str, Any]]) -> list[str]:
    return [f"{name} = {json.dumps(value)}" for name, value in members]
