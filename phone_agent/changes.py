"""Questions that come and go are changes of the pages."""

from __future__ import annotations

from twochannel.changes import Changes


class QuestionChanges(Changes):
    """Implements ``screen.Screen``."""

    def ask(self, *_question: str) -> None:
        self.mark()

    def withdraw(self, *_outcome: str) -> None:
        self.mark()
