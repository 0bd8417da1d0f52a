"""Codes, statuses and problem documents."""

from __future__ import annotations

import pytest

from twochannel.protocol.errors import (
    PROBLEMS,
    CodedError,
    ErrorCode,
    FrameError,
    LimitError,
    PaymentError,
    ProtocolError,
    StatementError,
    problem_document,
)


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_says_what_happened_and_what_to_do(code: ErrorCode) -> None:
    problem = PROBLEMS[code]
    assert 400 <= problem.status < 600
    assert problem.next_step.endswith((".", "!"))
    document = problem_document(code)
    assert document["code"] == code.value
    assert document["status"] == problem.status
    assert document["detail"] == problem.title


def test_a_detail_replaces_the_title() -> None:
    assert problem_document(ErrorCode.NOT_FOUND, "no lane 9")["detail"] == "no lane 9"
    assert StatementError(ErrorCode.NOT_FOUND, "no lane 9").detail == "no lane 9"
    assert str(StatementError(ErrorCode.NOT_FOUND)).startswith("not_found: Nothing")


def test_the_tree_of_errors() -> None:
    assert issubclass(FrameError, ProtocolError)
    assert issubclass(CodedError, ProtocolError)
    own = {kind for kind in CodedError.__subclasses__() if kind.__module__ == CodedError.__module__}
    assert own == {StatementError, PaymentError, LimitError}


@pytest.mark.parametrize(("after_s", "told_s"), [(300, 300), (1, 1), (0, 1), (-5, 1)])
def test_a_limit_says_when_to_come_back(after_s: int, told_s: int) -> None:
    limit = LimitError(ErrorCode.JACK_PROMPTED, after_s)
    assert limit.retry_after_s == told_s
    assert limit.detail == f"The owner of this jack was asked too often; try again in {told_s} s"
    assert LimitError(ErrorCode.JACK_PROMPTED, 1, "not now").detail == "not now"


def test_limits_are_429_and_nothing_else_is() -> None:
    limited = {code for code in ErrorCode if PROBLEMS[code].status == 429}
    assert limited == {
        ErrorCode.JACK_PROMPTED,
        ErrorCode.TERMINAL_THROTTLED,
        ErrorCode.TOO_MANY_CODES,
        ErrorCode.TOO_MANY_CONFIRMATIONS,
        ErrorCode.TOO_MANY_ENROLMENTS,
        ErrorCode.TOO_MANY_REQUESTS,
    }
