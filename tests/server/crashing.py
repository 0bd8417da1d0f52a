"""A server that kills itself at one step of one order, as nothing but a power cut or SIGKILL does.

``python -m tests.server.crashing`` has loaded the server, and is forked for each line of its input,
``{"state": FOLDER, "step": STEP}``: the fork serves until it has come to the step. Each line of its
output tells where one serves, or how it ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, select

# The server loads it when it is wanted, which would be in each fork.
import server.postgresql_database  # noqa: F401
from server import agent
from server.kinds import Operation, OutboxState
from server.processors.port import Order, OutcomeUnknownError, Processor
from server.processors.simulated import SimulatedProcessor
from server.processors.stripe import StripeProcessor
from server.schema.orders import outbox
from server.state import StateFolder
from server.store import Store
from tests.server.bench import UNLIMITED

#: By their names in the settings.
_PROCESSORS: Final = {"simulated": SimulatedProcessor, "stripe": StripeProcessor}
#: A server that never comes to its step is ended by SIGALRM, and its test fails.
_DEADLINE_S = 60


class Moment(StrEnum):
    """Of a transaction: before it is committed, or after. Of a call: before or after it."""

    BEFORE = "before"
    AFTER = "after"


class Call(StrEnum):
    """What the processor is asked about an order."""

    ORDER = "order"
    LOOKUP = "lookup"


#: What an order comes from.
_BEFORE: Final = {
    OutboxState.QUEUED: None,
    OutboxState.CALLING: OutboxState.QUEUED,
    OutboxState.DONE: OutboxState.CALLING,
    OutboxState.UNKNOWN: OutboxState.CALLING,
}


@dataclass(frozen=True)
class Step:
    """``at``: the state that an order comes to, or a call. ``lost``: the processor carries the
    order out, and its answer is lost.
    """

    operation: Operation
    at: OutboxState | Call
    lost: bool
    moment: Moment

    def __str__(self) -> str:
        lost = ", answer lost" if self.lost else ""
        return f"{self.operation} {self.moment} {self.at}{lost}"

    @classmethod
    def read(cls, told: dict[str, Any]) -> Step:
        known = set(OutboxState)
        at = OutboxState(told["at"]) if told["at"] in known else Call(told["at"])
        return cls(Operation(told["operation"]), at, bool(told["lost"]), Moment(told["moment"]))

    @property
    def left(self) -> OutboxState | None:
        """The state that the order has after the crash; None: there is no order."""
        if isinstance(self.at, Call):
            return OutboxState.CALLING if self.at is Call.ORDER else OutboxState.UNKNOWN
        if self.moment is Moment.AFTER:
            return self.at
        late = self.lost and self.at is OutboxState.DONE
        return OutboxState.UNKNOWN if late else _BEFORE[self.at]

    def told(self) -> dict[str, Any]:
        return asdict(self)


def steps() -> Iterator[Step]:
    """Every state of every operation's order and every call about it, from both sides."""
    for operation in Operation:
        for at in (*OutboxState, *Call):
            for lost in (False, True):
                # Only what was lost is ever unknown, and looked up; before, the two are the same.
                late = at in (OutboxState.UNKNOWN, Call.LOOKUP)
                if late == lost or (lost and at is OutboxState.DONE):
                    yield from (Step(operation, at, lost, moment) for moment in Moment)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _arm_store(step: Step) -> None:
    """Die where a transaction brings an order of the operation to the state."""
    write = Store.write
    query = select(outbox.c.id).where(
        outbox.c.operation == step.operation.value, outbox.c.state == step.at.value
    )

    async def armed(store: Store, function: Callable[[Connection], Any]) -> Any:
        reached = False

        def watched(connection: Connection) -> Any:
            nonlocal reached
            before = set(connection.scalars(query))
            value = function(connection)
            reached = not set(connection.scalars(query)) <= before
            if reached and step.moment is Moment.BEFORE:
                _die()
            return value

        value = await write(store, watched)
        if reached:
            _die()
        return value

    setattr(Store, "write", armed)  # noqa: B010


def _arm_processor(kind: type[Processor], step: Step) -> None:
    """Die around a call, and lose the answer of an order that is to be lost."""
    order, lookup = getattr(kind, step.operation.value), kind.lookup

    def dies(call: Call, moment: Moment) -> None:
        if (step.at, step.moment) == (call, moment):
            _die()

    async def ordered(processor: Processor, asked: Order) -> Any:
        dies(Call.ORDER, Moment.BEFORE)
        outcome = await order(processor, asked)
        dies(Call.ORDER, Moment.AFTER)
        if step.lost:
            raise OutcomeUnknownError("the answer was lost on its way")
        return outcome

    async def looked_up(processor: Processor, asked: Order) -> Any:
        dies(Call.LOOKUP, Moment.BEFORE)
        outcome = await lookup(processor, asked)
        dies(Call.LOOKUP, Moment.AFTER)
        return outcome

    setattr(kind, step.operation.value, ordered)
    setattr(kind, "lookup", looked_up)  # noqa: B010


def _tell(told: dict[str, object]) -> None:
    print(json.dumps(told), flush=True)


def serve(state: Path, step: Step) -> None:
    """Until it has come to the step."""
    folder = StateFolder(state)
    settings = folder.settings({"port": 0, **UNLIMITED})
    if isinstance(step.at, OutboxState):
        _arm_store(step)
    _arm_processor(_PROCESSORS[settings.processor], step)

    async def run() -> None:
        await agent.run(folder, settings, _tell, asyncio.Event())

    asyncio.run(run())


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            signal.alarm(_DEADLINE_S)
            serve(Path(asked["state"]), Step.read(asked["step"]))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        _tell({"ended": os.waitstatus_to_exitcode(status)})


if __name__ == "__main__":
    main()
