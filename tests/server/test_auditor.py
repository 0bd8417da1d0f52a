"""The auditor finds what was broken by hand, once and more for every invariant."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from server.audit_records import AuditError, read_records
from server.auditor import INVARIANTS, QUEUE_BOUND_MS
from server.cli import main
from tests.server.audited import BOOKS, DB, INSTRUCTIONS, LATE_REFUND, REFUNDS, REVIEWS, Files, live
from twochannel.trace import wall_ms


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("audit")
    return Files(folder, asyncio.run(live(folder)))


@pytest.fixture
def files(original: Files, tmp_path: Path) -> Files:
    for name in ("server.sqlite3", "processor.sqlite3"):
        shutil.copy(original.folder / name, tmp_path / name)
    return Files(tmp_path, original.identity)


def test_an_honest_server_passes_and_nothing_is_checked_on_nothing(files: Files) -> None:
    checks = files.audit()
    assert {number: check.findings for number, check in checks.items() if check.findings} == {}
    assert {number: check.objects for number, check in checks.items()} == {
        1: 8,
        2: 14,
        3: 8,
        4: 73,
        5: 14,
        6: 14,
        7: 14,
        10: 44,
        11: 14,
        15: 4,
        16: 2,
        17: 2,
        18: 74,
        19: 1,
    }
    assert [note.rsplit("has ")[1] for note in checks[7].notes] == ["an unknown outcome"]


ONE = "(SELECT id FROM payments WHERE status = 'captured' LIMIT 1)"
DECLINED = "(SELECT id FROM payments WHERE status = 'declined')"
EXPIRED = "(SELECT id FROM payments WHERE status = 'expired')"
OUTBOX_COLUMNS = (
    "payment_id, operation, turn, amount_minor, currency, idempotency_key, state, attempts,"
    " next_at_ms, created_ms, outcome"
)

#: Invariant, file, what is done to it, and words of the finding.
BROKEN: list[tuple[int, str, str, str]] = [
    *REFUNDS,
    *REVIEWS,
    *INSTRUCTIONS,
    (18, DB, "UPDATE journal SET at_ms = at_ms + 1 WHERE seq = 3", "entry 3 was changed"),
    (18, DB, "UPDATE journal SET link = 'x' WHERE seq = 3", "entry 4 was changed"),
    (18, DB, "DELETE FROM journal WHERE seq = 3", "entry 3 of the journal is missing"),
    (18, DB, "DELETE FROM journal WHERE seq > 40", "entries were cut off"),
    (18, DB, "DELETE FROM statements WHERE seq = 5", "entry 5 of the journal has no statement"),
    (18, DB, "UPDATE statements SET compact = 'x' WHERE seq = 5", "entry 5 was changed"),
    (18, DB, "UPDATE journal SET statement_seq = 999 WHERE seq = 5", "statement 5 was left out"),
    (18, DB, "UPDATE journal_checkpoints SET seq = 2", "under another number"),
    (18, DB, "UPDATE journal_checkpoints SET compact = compact || 'x'", "the checkpoint at"),
    (
        1,
        BOOKS,
        "INSERT INTO charges SELECT 'again', payment, token, currency, authorized_minor,"
        " captured_minor, state FROM charges LIMIT 1",
        "was charged 2 times",
    ),
    (
        2,
        BOOKS,
        "UPDATE charges SET captured_minor = 449 WHERE captured_minor = 450",
        "captured EUR",
    ),
    (2, BOOKS, "UPDATE charges SET currency = 'USD'", "captured USD"),
    (
        2,
        BOOKS,
        "UPDATE charges SET captured_minor = 8001 WHERE captured_minor = 4217",
        "charge sim",
    ),
    (2, BOOKS, "UPDATE charges SET state = 'captured' WHERE state = 'voided'", "is voided, at"),
    (2, BOOKS, "DELETE FROM charges WHERE state = 'captured'", "at the processor none"),
    (2, DB, f"UPDATE payments SET captured_minor = 451 WHERE id = {ONE}", "more taken"),
    (2, DB, f"UPDATE payments SET refunded_minor = 451 WHERE id = {ONE}", "more taken or refunded"),
    (2, DB, f"UPDATE payments SET authorized_minor = 451 WHERE id = {ONE}", "than it may"),
    (3, BOOKS, "UPDATE charges SET payment = 'nobody' WHERE rowid = 1", "no such payment"),
    (3, BOOKS, "UPDATE charges SET authorized_minor = 7999 WHERE state = 'held'", "signed were"),
    (3, BOOKS, "UPDATE charges SET token = 'tok_hang' WHERE rowid = 1", "another payment method"),
    (3, DB, f"UPDATE payments SET amount_minor = 451 WHERE id = {ONE}", "signed were"),
    (3, DB, f"UPDATE payments SET merchant_id = 'other' WHERE id = {ONE}", "signed were"),
    (3, DB, f"UPDATE payments SET expires_s = expires_s + 1 WHERE id = {ONE}", "time of expiry"),
    (3, DB, "DELETE FROM statements WHERE typ = 'confirmation+jwt'", "0 statements"),
    (3, DB, "UPDATE payment_methods SET phone_id = 'other'", "is not this phone's"),
    (3, DB, "UPDATE phones SET key = (SELECT key FROM terminals)", "not the one that its id"),
    (3, DB, "UPDATE terminals SET key = '{}'", "cannot be read"),
    (3, DB, "DELETE FROM jacks", "not registered"),
    (4, DB, "UPDATE jacks SET last_counter = last_counter - 1", "last counter"),
    (
        4,
        DB,
        "UPDATE statements SET rowid = -1 WHERE rowid ="
        " (SELECT max(rowid) FROM statements WHERE typ = 'auth-code+jwt')",
        "came too late",
    ),
    (
        4,
        DB,
        "INSERT INTO statements SELECT 9999, payment_id, 99, typ, kid, 'new', 'new', compact"
        " FROM statements WHERE typ = 'auth-code+jwt' LIMIT 1",
        "auth code",
    ),
    (
        4,
        DB,
        "INSERT INTO statements SELECT 9999, payment_id, 99, typ, kid, 'new', 'new', compact"
        " FROM statements WHERE typ = 'challenge+jwt' LIMIT 1",
        "nonce",
    ),
    (
        4,
        DB,
        "INSERT INTO statements SELECT 9999, payment_id, 99, typ, kid, 'new', 'new', compact"
        " FROM statements WHERE typ = 'capture+jwt' LIMIT 1",
        "statement id",
    ),
    (
        4,
        DB,
        "INSERT INTO statements SELECT 9999, payment_id, 99, typ, kid, 'new', 'new', compact"
        " FROM statements WHERE typ = 'payment-request+jwt' LIMIT 1",
        "lane nonce",
    ),
    (4, DB, "UPDATE statements SET jti = 'other' WHERE rowid = 1", "filed under another name"),
    (4, DB, "UPDATE statements SET compact = 'x' WHERE rowid = 1", "three parts"),
    (5, DB, "UPDATE phones SET revoked_ms = 1", "after its revocation"),
    (5, DB, "UPDATE jacks SET revoked_ms = 1", "after its revocation"),
    (5, DB, "UPDATE terminals SET revoked_ms = 1", "after its revocation"),
    (
        5,
        DB,
        f"UPDATE payments SET expires_s = created_ms / 1000 WHERE id = {ONE}",
        "after it had expired",
    ),
    (
        5,
        DB,
        "INSERT INTO pairings SELECT NULL, jack_id, 2, phone_id, 'new', compact, paired_ms - 9999"
        " FROM pairings",
        "pairing that had ended",
    ),
    (5, DB, "UPDATE pairings SET phone_id = 'other'", "were not paired"),
    (6, DB, f"UPDATE payments SET status = 'voided' WHERE id = {ONE}", "its history ends in"),
    (6, DB, f"DELETE FROM payment_events WHERE payment_id = {ONE} AND seq = 1", "is missing"),
    (6, DB, f"DELETE FROM payment_events WHERE payment_id = {ONE} AND seq = 1", "begins where"),
    (
        6,
        DB,
        f"UPDATE payment_events SET event = 'expire' WHERE payment_id = {ONE} AND seq = 1",
        "not in the life cycle",
    ),
    (
        6,
        DB,
        "INSERT INTO payment_events SELECT id, 2, 'declined', 'confirm', 'confirmed', 1"
        f" FROM payments WHERE id = {DECLINED}",
        "follows the final state declined",
    ),
    (6, DB, "DELETE FROM payments WHERE status = 'declined'", "is not there"),
    (7, DB, f"DELETE FROM outbox WHERE payment_id = {ONE}", "has 0 charge orders"),
    (
        7,
        DB,
        f"INSERT INTO outbox ({OUTBOX_COLUMNS})"
        " SELECT id, 'charge', 1, 1, 'EUR', 'k', 'done', 1, 1, 1, 'refused'"
        f" FROM payments WHERE id = {EXPIRED}",
        "has 1 charge orders",
    ),
    (
        7,
        DB,
        f"INSERT INTO outbox ({OUTBOX_COLUMNS})"
        " SELECT id, 'void', 2, 1, 'EUR', 'k', 'queued', 1, 1, 1, NULL"
        " FROM payments WHERE status = 'voided'",
        "2 orders to void",
    ),
    (7, DB, "UPDATE outbox SET state = 'done' WHERE state = 'unknown'", "is done, the payment"),
    (7, DB, "UPDATE outbox SET state = 'queued', created_ms = 1 WHERE id = 1", "for too long"),
    (7, DB, "UPDATE outbox SET state = 'calling', lease_until_ms = 1 WHERE id = 1", "by nobody"),
    (
        7,
        DB,
        "UPDATE payments SET operation = 'void' WHERE status = 'authorized'",
        "under way is none",
    ),
    (7, DB, "DELETE FROM payments WHERE status = 'refused'", "is not there"),
    (10, DB, f"UPDATE payments SET captured_minor = 4.5 WHERE id = {ONE}", "captured_minor is 4.5"),
    (10, DB, f"UPDATE payments SET refunded_minor = 'x' WHERE id = {ONE}", "refunded_minor is 'x'"),
    (10, DB, f"UPDATE payments SET currency = 'EUX' WHERE id = {ONE}", "'EUX' is not known"),
    (10, DB, "UPDATE outbox SET amount_minor = -1 WHERE id = 1", "amount_minor is -1"),
    (10, BOOKS, "UPDATE charges SET captured_minor = 4.5 WHERE rowid = 1", "captured_minor is 4.5"),
    (11, DB, "UPDATE statements SET compact = compact || 'A' WHERE position = 2", "statement 2"),
    (11, DB, "DELETE FROM statements WHERE position = 2", "statement 2"),
    (11, DB, f"UPDATE payments SET captured_minor = 449 WHERE id = {ONE}", "proven"),
    (11, DB, f"UPDATE payments SET receipt = NULL WHERE id = {ONE}", "another receipt"),
    (11, DB, "UPDATE pairings SET compact = replace(compact, 'A', 'B')", "pairing"),
    (11, DB, "DELETE FROM pairings", "pairing"),
    (11, DB, "UPDATE phones SET key = '{}'", "cannot be put together"),
    (11, DB, f"DELETE FROM statements WHERE payment_id = {ONE}", "cannot be put together"),
    (
        11,
        DB,
        "UPDATE payments SET reason = 'canceled_by_operator' WHERE status = 'voided'",
        "was ended by terminal",
    ),
    (11, DB, "UPDATE payments SET reason = 'x' WHERE status = 'canceled'", "was ended by terminal"),
    (11, DB, "UPDATE payments SET refunded_minor = 1 WHERE refunded_minor > 0", "proven"),
]


@pytest.mark.parametrize(("number", "file", "sql", "words"), BROKEN)
def test_what_is_broken_is_found(
    files: Files, number: int, file: str, sql: str, words: str
) -> None:
    files.change(file, sql)
    findings = files.audit()[number].findings
    assert [finding for finding in findings if words in finding], findings


def test_every_invariant_is_broken_once() -> None:
    assert {number for number, *_ in BROKEN} == {number for number, *_ in INVARIANTS}


def test_rows_that_make_no_sense_are_a_finding_and_no_crash(files: Files) -> None:
    files.change(DB, "UPDATE payments SET captured_minor = 'many', expires_s = 'soon'")
    checks = files.audit()
    assert "broke off" in checks[2].findings[0]
    assert "broke off" in checks[5].findings[-1]


def test_an_order_that_is_queued_or_called_for_a_while_is_no_finding(files: Files) -> None:
    state = "UPDATE outbox SET state = '{}', lease_until_ms = {} WHERE state = 'unknown'"
    files.change(DB, state.format("calling", wall_ms()))
    assert files.audit()[7].findings == []
    assert files.audit(QUEUE_BOUND_MS + 1)[7].findings != []
    files.change(DB, state.replace("'unknown'", "'calling'").format("queued", "NULL"))
    assert files.audit()[7].findings == []
    assert files.audit(QUEUE_BOUND_MS + 1)[7].findings != []


def test_what_needs_a_person_is_noted(files: Files) -> None:
    files.change(DB, "UPDATE outbox SET reason = 'needs_review' WHERE state = 'unknown'")
    notes = files.audit()[7].notes
    assert [note for note in notes if "needs a person" in note] == notes != []


def test_a_booked_refund_whose_answer_is_still_to_come_is_no_finding(files: Files) -> None:
    files.change(BOOKS, LATE_REFUND)
    assert files.audit()[15].findings == []


def test_files_that_cannot_be_read(files: Files, tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="absent"):
        read_records(f"sqlite:///{tmp_path / 'absent'}", tmp_path / "absent", files.identity, 0)
    (tmp_path / "processor.sqlite3").write_bytes(b"not a database")
    with pytest.raises(AuditError, match=r"processor\.sqlite3"):
        files.audit()


def run(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--state", str(state), "audit", *arguments])


@pytest.fixture
def state(files: Files, tmp_path: Path) -> Path:
    """The state folder of a server whose database is that of the other tests."""
    state = tmp_path / "state"
    assert CliRunner().invoke(main, ["--state", str(state), "init"]).exit_code == 0
    for name in ("server.sqlite3", "processor.sqlite3"):
        shutil.copy(files.folder / name, state / name)
    (state / "identity.jwt").write_text(files.identity)
    return state


def test_the_command_tells_what_it_checked(state: Path) -> None:
    result = run(state)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.count("✓") == len(INVARIANTS)
    assert result.stdout.endswith("Everything holds.\n")


def test_the_command_ends_with_1_and_names_what_it_found(state: Path) -> None:
    Files(state, "").change(DB, "UPDATE jacks SET last_counter = 0")
    result = run(state)
    assert (result.exit_code, "1 findings." in result.stdout) == (1, True)
    answer = json.loads(run(state, "--json").stdout)
    assert answer["ok"] is False
    assert [check["number"] for check in answer["checks"] if check["findings"]] == [4]


def test_the_command_ends_with_2_when_it_cannot_read(state: Path, tmp_path: Path) -> None:
    (state / "server.sqlite3").unlink()
    result = run(state, "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert json.loads(result.stderr)["error"]["code"] == "audit_unreadable"
    assert run(tmp_path / "nothing").exit_code == 2


def test_a_server_that_never_ran_has_nothing_to_find(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["--state", str(tmp_path / "s"), "init"]).exit_code == 0
    assert run(tmp_path / "s").exit_code == 0
