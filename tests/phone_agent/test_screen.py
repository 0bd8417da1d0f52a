"""Questions on a real terminal (a pty)."""

from __future__ import annotations

import asyncio
import os
import pty
import select
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from phone_agent.screen import TerminalScreen
from twochannel.protocol.statements import Decision

DEADLINE_S = 10.0


@dataclass
class Terminal:
    """``keyboard``: the owner's end, where keys are typed and the screen is read."""

    keyboard: int
    descriptor: int

    def type(self, text: str) -> None:
        os.write(self.keyboard, text.encode())

    async def until_shown(self, text: str) -> str:
        """Everything shown up to ``text``."""
        shown = ""
        async with asyncio.timeout(DEADLINE_S):
            while text not in shown:
                readable = asyncio.Event()
                loop = asyncio.get_running_loop()
                loop.add_reader(self.keyboard, readable.set)
                await readable.wait()
                loop.remove_reader(self.keyboard)
                shown += os.read(self.keyboard, 4096).decode()
        return shown


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    keyboard, descriptor = pty.openpty()
    yield Terminal(keyboard, descriptor)
    for end in (keyboard, descriptor):
        os.close(end)


class Answers:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[tuple[str, Decision]] = asyncio.Queue()
        self.complaint: str | None = None

    def __call__(self, payment: str, decision: Decision) -> str | None:
        self.queue.put_nowait((payment, decision))
        return self.complaint

    async def next(self) -> tuple[str, Decision]:
        async with asyncio.timeout(DEADLINE_S):
            return await self.queue.get()


@pytest.mark.parametrize(
    ("typed", "decision"),
    [
        ("y\n", Decision.APPROVE),
        ("YES\n", Decision.APPROVE),
        (" n \n", Decision.DECLINE),
        ("no\n", Decision.DECLINE),
    ],
)
async def test_the_owner_answers_with_a_word(
    terminal: Terminal, typed: str, decision: Decision
) -> None:
    answers = Answers()
    with TerminalScreen(terminal.descriptor, answers) as screen:
        screen.ask("p1", "Pay 4.50 EUR?")
        assert "Pay 4.50 EUR?" in await terminal.until_shown("Approve? [y/n] ")
        terminal.type(typed)
        assert await answers.next() == ("p1", decision)


async def test_what_is_no_answer_is_asked_again(terminal: Terminal) -> None:
    answers = Answers()
    with TerminalScreen(terminal.descriptor, answers) as screen:
        screen.ask("p1", "Pay?")
        await terminal.until_shown("[y/n] ")
        terminal.type("maybe\n")
        await terminal.until_shown("Please answer y or n.")
        terminal.type("n\n")
        assert await answers.next() == ("p1", Decision.DECLINE)
    assert answers.queue.empty()


async def test_keys_pressed_before_the_question_are_no_answer_to_it(terminal: Terminal) -> None:
    answers = Answers()
    with TerminalScreen(terminal.descriptor, answers) as screen:
        terminal.type("y\ny")
        screen.ask("p1", "Pay?")
        await terminal.until_shown("[y/n] ")
        terminal.type("n\n")
        assert await answers.next() == ("p1", Decision.DECLINE)


async def test_an_answer_that_cannot_be_taken_is_explained(terminal: Terminal) -> None:
    answers = Answers()
    answers.complaint = "You have no card."
    with TerminalScreen(terminal.descriptor, answers) as screen:
        screen.ask("p1", "Pay?")
        await terminal.until_shown("[y/n] ")
        terminal.type("y\n")
        assert "You have no card." in await terminal.until_shown("Approve? [y/n] ")


async def test_one_question_is_on_the_screen_at_a_time(terminal: Terminal) -> None:
    answers = Answers()
    with TerminalScreen(terminal.descriptor, answers) as screen:
        for payment in ("p1", "p2", "p3"):
            screen.ask(payment, f"Pay {payment}?")
        assert "p2" not in await terminal.until_shown("[y/n] ")
        screen.withdraw("p2", "Too late for p2.")
        screen.withdraw("none", "Never asked.")
        screen.withdraw("p1", "Answered elsewhere.")
        shown = await terminal.until_shown("[y/n] ")
        assert "Answered elsewhere." in shown
        assert "Pay p3?" in shown
        assert "p2" not in shown
        terminal.type("y\n")
        assert await answers.next() == ("p3", Decision.APPROVE)


async def test_a_terminal_that_is_closed_is_read_no_more() -> None:
    keyboard, descriptor = pty.openpty()
    loop = asyncio.get_running_loop()
    with TerminalScreen(descriptor, Answers()) as screen:
        os.close(keyboard)
        async with asyncio.timeout(DEADLINE_S):
            # The reader removes itself; a second removal finds nothing.
            await asyncio.to_thread(select.select, [descriptor], [], [])
            for _ in range(3):
                await asyncio.sleep(0)
        assert loop.remove_reader(descriptor) is False
        screen.ask("p1", "Pay?")
    os.close(descriptor)
