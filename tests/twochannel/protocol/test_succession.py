"""A server's keys hand over to each other, and to nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from fieldkit.specimens import NOW_S, Specimens, specimen_id, specimen_signer
from twochannel.protocol.envelope import Statement, sign
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.journal import Checkpoint
from twochannel.protocol.statements import Identity, Receipt, Role, Time
from twochannel.protocol.succession import (
    SEPARATOR,
    Lineage,
    Succession,
    lineage_from,
    read_lineage,
)

SPECIMENS = Specimens()
FIRST = sign(SPECIMENS.identity("server", Role.SERVER, 1), specimen_signer("server"))
SUCCESSION = SPECIMENS[Succession].compact
DAY_S = 86_400
BEGINS_S, ENDS_S = NOW_S + DAY_S, NOW_S + 8 * DAY_S
OLD, NEW, THIRD = (specimen_signer(name) for name in ("server", "server-next", "server-third"))


def handed_over(by: str = "server", to: str = "server-next", **changes: Any) -> str:
    claims: dict[str, object] = {
        "iss": SPECIMENS.server,
        "jti": specimen_id(8),
        "iat": NOW_S,
        "identity": SPECIMENS.next_identity(to),
        "begins": BEGINS_S,
        "ends": ENDS_S,
    }
    return sign(Succession.from_claims(claims | changes), specimen_signer(by))


def lineage(*successions: str) -> Lineage:
    return read_lineage(SEPARATOR.join((FIRST, *successions)))


def refused(compact: str) -> ErrorCode:
    with pytest.raises(StatementError) as refusal:
        lineage().succeed(compact)
    return refusal.value.code


def signed_by(party: str, statement: Statement) -> str:
    return sign(statement, specimen_signer(party))


def receipt(party: str, at_s: int) -> str:
    made = SPECIMENS[Receipt].statement.model_copy(update={"iat": at_s})
    return signed_by(party, made)


def test_a_key_begins_and_the_one_before_ends() -> None:
    whole = lineage(SUCCESSION)
    assert whole.server == SPECIMENS.server
    assert [key.key.kid for key in whole.keys] == [OLD.key.kid, NEW.key.kid]
    assert [(key.begins_s, key.ends_s) for key in whole.keys] == [(None, ENDS_S), (BEGINS_S, None)]
    assert whole.signing(BEGINS_S - 1) == whole.keys[0]
    assert whole.signing(BEGINS_S) == whole.newest == whole.keys[1]
    assert whole.holds(OLD.key.kid)
    assert not whole.holds(THIRD.key.kid)
    assert whole.steps == (FIRST, SUCCESSION)
    assert whole.succeed(SUCCESSION) is whole


def test_any_number_of_keys_follow_each_other() -> None:
    second = handed_over("server-next", "server-third", jti=specimen_id(10))
    whole = lineage(SUCCESSION, second)
    assert whole.newest.key.kid == THIRD.key.kid
    assert whole.after(OLD.key.kid) == (SUCCESSION, second)
    assert whole.after(NEW.key.kid) == (second,)
    assert whole.after(THIRD.key.kid) == whole.after("A" * 43) == ()
    assert [key.key.kid for key in whole.recent().keys] == [NEW.key.kid, THIRD.key.kid]


def test_whoever_stopped_at_a_key_walks_on_from_it() -> None:
    second = handed_over("server-next", "server-third", jti=specimen_id(10))
    steps = (FIRST, SUCCESSION, second)
    for known in (lineage(), lineage(SUCCESSION), lineage(SUCCESSION, second)):
        assert known.caught_up(steps).newest.key.kid == THIRD.key.kid
    assert lineage(SUCCESSION).caught_up((second,)).newest.key.kid == THIRD.key.kid
    assert lineage_from(NEW.key.kid, steps).text == SEPARATOR.join(
        (SPECIMENS.next_identity(), second)
    )
    assert lineage_from(OLD.key.kid, steps) == lineage(SUCCESSION, second)
    with pytest.raises(StatementError) as unknown:
        lineage_from("A" * 43, steps)
    assert unknown.value.code is ErrorCode.KEY_UNKNOWN


def test_a_whole_lineage_begins_with_the_key_that_names_the_server() -> None:
    whole = lineage(handed_over())
    rest = lineage_from(whole.newest.key.kid, whole.steps)
    assert whole.holds_first()
    assert rest.server == whole.server
    assert not rest.holds_first()


def test_nobody_else_can_hand_over() -> None:
    third = SPECIMENS.next_identity("server-third")
    jack = signed_by("server-next", SPECIMENS.identity("jack", Role.JACK, 2))
    cases = [
        (handed_over("server-next"), ErrorCode.KEY_UNKNOWN),
        (handed_over("jack"), ErrorCode.KEY_UNKNOWN),
        (handed_over(iss=SPECIMENS.jack), ErrorCode.ISSUER_WRONG),
        (handed_over(to="server"), ErrorCode.KEY_INVALID),
        (handed_over(identity=jack), ErrorCode.KEY_UNKNOWN),
        (handed_over(identity=SPECIMENS[Identity].compact), ErrorCode.ISSUER_WRONG),
        (handed_over(identity=third[:-4] + "AAAA"), ErrorCode.SIGNATURE_INVALID),
        (SPECIMENS[Time].compact, ErrorCode.STATEMENT_TYPE_WRONG),
    ]
    assert [refused(compact) for compact, _ in cases] == [code for _, code in cases]


@pytest.mark.parametrize("name", ["iss", "beacon_key", "tls_sha256", "rotation_exponent"])
def test_nothing_but_the_signing_key_changes(name: str) -> None:
    other = {
        "iss": SPECIMENS.jack,
        "beacon_key": THIRD.key.jwk,
        "tls_sha256": "0" * 64,
        "rotation_exponent": 9,
    }
    changed = {"jti": specimen_id(9), "key": NEW.key.jwk, name: other[name]}
    identity = SPECIMENS.identity("server", Role.SERVER, 1).model_copy(update=changed)
    assert refused(handed_over(identity=sign(identity, NEW))) is ErrorCode.CHAIN_BROKEN


@pytest.mark.parametrize(
    "times", [{"begins": NOW_S - 1}, {"ends": BEGINS_S}, {"ends": NOW_S, "begins": NOW_S}]
)
def test_the_times_follow_each_other(times: dict[str, Any]) -> None:
    with pytest.raises(StatementError) as refusal:
        handed_over(**times)
    assert refusal.value.code is ErrorCode.CLAIM_INVALID


def test_both_keys_are_believed_until_the_old_one_ends() -> None:
    whole = lineage(SUCCESSION)
    for party in ("server", "server-next"):
        whole.verify(receipt(party, ENDS_S - 1), Receipt)
        whole.verify(receipt(party, ENDS_S - 1), Receipt, at_s=ENDS_S - 1)
    whole.verify(receipt("server-next", ENDS_S), Receipt, at_s=ENDS_S)
    late = receipt("server", ENDS_S)
    early = receipt("server", NOW_S)
    for compact, at_s in ((late, None), (late, NOW_S), (early, ENDS_S)):
        with pytest.raises(StatementError) as over:
            whole.verify(compact, Receipt, at_s=at_s)
        assert over.value.code is ErrorCode.KEY_UNKNOWN


def test_a_statement_is_verified_as_ever() -> None:
    whole = lineage(SUCCESSION)
    compact = receipt("server-next", NOW_S)
    for spoilt, code in (
        (receipt("server-third", NOW_S), ErrorCode.KEY_UNKNOWN),
        (SPECIMENS[Checkpoint].compact, ErrorCode.STATEMENT_TYPE_WRONG),
        (compact[:-4] + "AAAA", ErrorCode.SIGNATURE_INVALID),
    ):
        with pytest.raises(StatementError) as refusal:
            whole.verify(spoilt, Receipt)
        assert refusal.value.code is code
    with pytest.raises(StatementError) as refusal:
        whole.verify(compact, Receipt, audience=SPECIMENS.jack)
    assert refusal.value.code is ErrorCode.AUDIENCE_WRONG
