"""Parts of the journal: what they prove, and that nothing of one can be changed or left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.evidence_file import EvidenceError, write
from server.issuer import Issuer
from server.journal import Journal, sign_checkpoint
from server.journal_export import JournalError, checkpoint_now, part_of_payment, part_of_period
from server.journal_file import JournalPart, Run
from server.journal_proof import verify_journal
from server.schema.tables import metadata
from server.store import Store
from tests.server.devices import new_id, new_signer
from tests.server.evidence_bench import with_a_changed_byte
from tests.server.world import World
from twochannel.protocol.errors import PaymentError
from twochannel.protocol.payment import CaptureMode, Event
from twochannel.protocol.statements import Decision

FOREVER = (0, 2**50)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('journal') / 'server.sqlite3'}")
    metadata.create_all(store.engine)
    world = World(store)
    coffee = buy(world)
    enter(world)
    world.now_ms += 3_600_000
    # A payment between the purchase and its refund, so that the coffee's entries are two runs.
    declined = world.request()
    world.confirm(declined, Decision.DECLINE, heard=False)
    enter(world)
    world.now_ms += 3_600_000
    world.refund(coffee, 100)
    enter(world)
    yield world
    store.close_now()


def buy(world: World) -> str:
    payment = world.request(450, CaptureMode.AUTOMATIC)
    world.confirm(payment)
    world.settle(payment, Event.CAPTURE)
    return payment


def payments(world: World) -> list[object]:
    """The coffee, then what was declined."""
    return [row["id"] for row in world.rows("SELECT id FROM payments ORDER BY created_ms")]


def enter(world: World) -> None:
    Journal(world.store, world.issuer, lambda: world.now_ms).catch_up()


def period(world: World, period_ms: tuple[int, int] = FOREVER) -> JournalPart:
    return world.store.read_now(
        lambda c: part_of_period(c, world.issuer, world.identity, period_ms, world.now_ms)
    )


def of_payment(world: World, payment: object) -> JournalPart:
    return world.store.read_now(
        lambda c: part_of_payment(c, world.issuer, world.identity, str(payment), world.now_ms)
    )


def refusal(part: JournalPart, kept: str | None = None) -> str:
    with pytest.raises(EvidenceError) as error:
        verify_journal(write(part), kept=kept)
    return str(error.value)


@pytest.fixture(scope="module")
def whole(world: World) -> JournalPart:
    return period(world)


@pytest.fixture(scope="module")
def coffee(world: World) -> JournalPart:
    return of_payment(world, payments(world)[0])


def changed_run(part: JournalPart, number: int, **changes: object) -> JournalPart:
    runs = [*part.runs]
    runs[number] = runs[number].model_copy(update=changes)
    return part.model_copy(update={"runs": runs})


def test_a_period_is_proven_in_plain_words(world: World, whole: JournalPart) -> None:
    verdict = verify_journal(write(whole), world.server.key.kid)
    assert (verdict.first, verdict.last, verdict.entries) == (1, 11, 11)
    assert [p.payment for p in verdict.payments] == payments(world)
    told = " ".join(step.text for step in verdict.steps)
    assert "Entries 1 to 11" in told
    assert "from its very beginning" in told
    assert not any(step.warning for step in verdict.steps)


def test_a_payment_is_shown_in_its_places(world: World, coffee: JournalPart) -> None:
    assert [(run.first, len(run.entries)) for run in coffee.runs] == [(1, 5), (11, 1)]
    verdict = verify_journal(write(coffee), world.server.key.kid)
    assert (verdict.entries, verdict.last) == (6, 11)
    (payment,) = verdict.payments
    assert payment.payment == payments(world)[0]


def test_a_period_in_the_middle_says_what_it_has_not(world: World) -> None:
    part = period(world, (world.now_ms - 3_600_000, world.now_ms))
    (run,) = part.runs
    assert run.first == 6
    assert len(part.payments) == 1
    late = period(world, (world.now_ms, world.now_ms + 1))
    verdict = verify_journal(write(late))
    assert "5 statements of these payments have no entry in this file" in verdict.steps[-1].text


def test_a_period_of_nothing_and_a_payment_that_is_not_there(world: World) -> None:
    with pytest.raises(JournalError, match="no entries"):
        period(world, (0, 1))
    with pytest.raises(PaymentError):
        of_payment(world, new_id())


def test_every_changed_byte_is_found(world: World, coffee: JournalPart) -> None:
    document = write(coffee)
    verify_journal(document)
    for forged in with_a_changed_byte(document):
        with pytest.raises(EvidenceError):
            verify_journal(forged)


def test_every_changed_byte_of_its_own_parts_is_found(whole: JournalPart) -> None:
    """Names, numbers, times, digests, links and checkpoints: all bytes before the payments."""
    document = write(whole)
    for position in range(document.index(b'"payments"')):
        for letter in b"A1":
            if document[position] == letter:
                continue
            forged = bytearray(document)
            forged[position] = letter
            with pytest.raises(EvidenceError):
                verify_journal(bytes(forged))


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_every_random_change_is_found(whole: JournalPart, data: st.DataObject) -> None:
    document = bytearray(write(whole))
    position = data.draw(st.integers(0, len(document) - 1))
    document[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(EvidenceError):
        verify_journal(bytes(document))


def test_entries_that_are_left_out_are_missed(whole: JournalPart) -> None:
    entries = whole.runs[0].entries
    for number in range(len(entries)):
        shorter = [*entries[:number], *entries[number + 1 :]]
        assert "run 1 of the journal" in refusal(changed_run(whole, 0, entries=shorter))


def test_the_tail_cannot_be_cut_off(world: World, whole: JournalPart) -> None:
    """Neither with the old signature nor, against a checkpoint that was kept, with a new one."""
    kept = world.store.read_now(lambda c: checkpoint_now(c, world.issuer, world.now_ms))
    verdict = verify_journal(write(whole), kept=kept)
    assert "checkpoint that you kept" in verdict.steps[2].text
    run = whole.runs[0]
    shorter = changed_run(whole, 0, entries=run.entries[:-1])
    assert "another entry than its last" in refusal(shorter)
    links = verify_journal(write(period(world, (0, world.now_ms))))
    signed = sign_checkpoint(world.issuer, links.last, links.last_link, world.now_ms)
    resigned = changed_run(shorter, 0, checkpoint=signed)
    verify_journal(write(resigned))
    assert "may have been cut off" in refusal(resigned, kept)


def test_a_journal_that_was_written_anew_does_not_agree_with_what_was_kept(
    world: World, whole: JournalPart
) -> None:
    kept = sign_checkpoint(world.issuer, 7, whole.runs[0].entries[3].statement, world.now_ms)
    assert "was another one" in refusal(whole, kept)
    stranger = new_signer()
    issuer = Issuer(stranger.key.kid, stranger, new_id)
    other = sign_checkpoint(issuer, 7, "A" * 43, world.now_ms)
    assert "the checkpoint that you kept" in refusal(whole, other)
    assert "the checkpoint that you kept" in refusal(whole, "not a statement")


def reverse(run: Run) -> dict[str, object]:
    return {"entries": run.entries[::-1]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda run: {"first": 2}, "another entry than its last"),
        (lambda run: {"before": "A" * 43}, "does not follow"),
        (lambda run: {"checkpoint": run.checkpoint[:-8] + "AAAAAAAA"}, "run 1"),
        (reverse, "run 1"),
    ],
)
def test_a_run_that_was_changed(
    whole: JournalPart, change: Callable[[Run], dict[str, object]], words: str
) -> None:
    assert words in refusal(changed_run(whole, 0, **change(whole.runs[0])))


def test_a_run_that_stands_there_twice(coffee: JournalPart) -> None:
    twice = coffee.model_copy(update={"runs": [*coffee.runs, coffee.runs[1]]})
    assert "not after those of the run before" in refusal(twice)


def test_payments_that_do_not_fit_their_entries(whole: JournalPart, coffee: JournalPart) -> None:
    first, second = whole.payments
    for payments, words in (
        ([first], "its statement is not here"),
        ([second, first], "the order of their entries"),
        ([first, first, second], "stands there twice"),
    ):
        assert words in refusal(whole.model_copy(update={"payments": payments}))
    more = coffee.model_copy(update={"payments": [*coffee.payments, second]})
    assert "the order of their entries" in refusal(more)
    shorter = first.model_copy(update={"statements": first.statements[:-1]})
    assert "entry 11" in refusal(whole.model_copy(update={"payments": [shorter, second]}))


def test_another_server_convinces_nobody_who_knows_the_true_one(whole: JournalPart) -> None:
    with pytest.raises(EvidenceError, match="another server"):
        verify_journal(write(whole), new_signer().key.kid)


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_journal_or_the_documented_error(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        verify_journal(data)


def test_other_layouts_are_refused(whole: JournalPart) -> None:
    compact = json.dumps(whole.model_dump(mode="json")).encode()
    with pytest.raises(EvidenceError, match="one way"):
        verify_journal(compact)
