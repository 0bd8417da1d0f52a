"""The owner's terminal: one question at a time, answered with y or n and Enter."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

from twochannel.protocol.statements import Decision

_log = logging.getLogger(__name__)

#: Takes payment id and decision; returns what is wrong with the answer, or None.
OnAnswer = Callable[[str, Decision], str | None]
_WORDS = {"y": Decision.APPROVE, "yes": Decision.APPROVE, "n": Decision.DECLINE,
          "no": Decision.DECLINE}  # fmt: skip


class Screen(Protocol):
    """Where questions are shown."""

    def ask(self, payment: str, question: str, /) -> None:
        """Show a question, now or when those before it are answered."""
        ...

    def withdraw(self, payment: str, outcome: str, /) -> None:
        """The question is answered, here or elsewhere, or too late: ``outcome`` says which."""
        ...


class TerminalScreen:
    """Questions on the terminal ``descriptor``, which stays the caller's.

    When the terminal goes away, questions are left to the commands.
    """

    def __init__(self, descriptor: int, on_answer: OnAnswer) -> None:
        self._descriptor = descriptor
        self._on_answer = on_answer
        self._questions: dict[str, str] = {}
        self._typed = b""
        self._gone = False

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._descriptor, self._read)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)

    def ask(self, payment: str, question: str) -> None:
        self._questions[payment] = question
        if len(self._questions) == 1:
            self._show()

    def withdraw(self, payment: str, outcome: str) -> None:
        if payment not in self._questions:
            return
        was_shown = payment == next(iter(self._questions))
        del self._questions[payment]
        if was_shown:
            self._write(f"\n{outcome}\n")
            self._show()

    def _show(self) -> None:
        if self._questions:
            self._forget_typed()
            question = next(iter(self._questions.values()))
            self._write(f"\n{question}\nApprove? [y/n] ")

    def _forget_typed(self) -> None:
        """What was typed before the question was there is no answer to it."""
        self._typed = b""
        with self._present():
            termios.tcflush(self._descriptor, termios.TCIFLUSH)

    def _read(self) -> None:
        data = b""
        with self._present():
            data = os.read(self._descriptor, 1024)
        if not data:
            # A terminal that has gone would be readable for ever.
            asyncio.get_running_loop().remove_reader(self._descriptor)
            return
        *lines, self._typed = (self._typed + data[-256:]).split(b"\n")
        if lines and self._questions:
            self._answer(lines[0].strip().lower().decode("ascii", "replace"))

    def _answer(self, word: str) -> None:
        decision = _WORDS.get(word)
        wrong = (
            "Please answer y or n."
            if decision is None
            else self._on_answer(next(iter(self._questions)), decision)
        )
        if wrong is not None:
            self._write(f"{wrong}\nApprove? [y/n] ")

    def _write(self, text: str) -> None:
        with self._present():
            os.write(self._descriptor, text.encode())

    @contextmanager
    def _present(self) -> Iterator[None]:
        try:
            yield
        except (OSError, termios.error) as error:
            if not self._gone:
                self._gone = True
                _log.warning("terminal_lost", extra={"reason": str(error)})


def terminal() -> int | None:
    """The descriptor of standard input if it is a terminal that this process may read."""
    if sys.stdin is None or not sys.stdin.isatty():
        return None
    descriptor = sys.stdin.fileno()
    try:
        # Reading in the background would stop the process.
        return descriptor if os.tcgetpgrp(descriptor) == os.getpgrp() else None
    except OSError:
        return descriptor
