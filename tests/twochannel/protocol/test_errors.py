"""Codes, statuses and problem documents."""

from __future__ import annotations

import pytest

from twochannel.protocol.errors import (
    PROBLEMS,
    CodedError,
    ErrorCode,
    FrameError,
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
    assert own == {StatementError, PaymentError}
