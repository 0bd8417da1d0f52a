"""From challenge to confirmation: one flow for each payment, resumed after a restart.

::

    challenge -> verified, kept -> auth code from the jack -> policy -> (owner) -> answer kept
              -> sent until the server has answered

What the answer is, ``phone_agent.consent`` decides; that there is one answer, the ledger.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

from phone_agent import consent
from phone_agent.challenges import kept_challenge, read_challenge
from phone_agent.confirmations import Confirmations
from phone_agent.consent import Answer, Reason
from phone_agent.fallback import Path
from phone_agent.jack_care import JackCare
from phone_agent.ledger import KeptPayment, Ledger, check_unanswered
from phone_agent.screen import Screen
from phone_agent.waiting_line import Asked
from phone_agent.wallet import Wallet
from server.client import ServerClient, ServerEvent, ServerUnreachableError
from twochannel.protocol.chain import presence_proven
from twochannel.protocol.envelope import unverified_claims
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
from twochannel.protocol.payment import Status
from twochannel.protocol.statements import AuthCode, Challenge, Decision
from twochannel.trace import Trace

#: How long a command of the owner waits to learn what the server says.
_OWNER_WAIT_S: Final = 10.0
#: The jack may refuse because of something that passes (its clock, its disk).
_JACK_RETRY_S: Final = 1.0
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Question:
    """A payment without an answer. ``reason``: why the owner is asked, None if it is not.

    ``ends_s``: when it is declined (the server's time), ``limit_s`` from its beginning.
    ``granted``: approved by the policy, and about to be kept.
    """

    challenge: Challenge
    compact: str
    owner: asyncio.Future[Answer]
    auth_code: str | None = None
    presence: bool = False
    reason: Reason | None = None
    ends_s: float = 0.0
    limit_s: float = 0.0
    granted: bool = False
    answered: asyncio.Event = field(default_factory=asyncio.Event)


class Approvals:
    """All payments of this phone. ``phone``: its id; ``prompt_s``: see config."""

    def __init__(
        self,
        *,
        phone: str,
        server: ServerClient,
        wallet: Wallet,
        ledger: Ledger,
        jacks: JackCare,
        confirmations: Confirmations,
        trace: Trace,
        prompt_s: float,
    ) -> None:
        self._phone = phone
        self._server = server
        self._wallet = wallet
        self._ledger = ledger
        self._jacks = jacks
        self._confirmations = confirmations
        self._trace = trace
        self._prompt_s = prompt_s
        self._screens: list[Screen] = []
        self._flows: dict[str, asyncio.Task[None]] = {}
        self._rereading: set[asyncio.Task[None]] = set()
        self._questions: dict[str, _Question] = {}

    def show_on(self, screen: Screen) -> None:
        """Where the owner is asked too, from now on."""
        self._screens.append(screen)

    async def close(self) -> None:
        """Stop all flows; each is resumed from the ledger at the next start."""
        tasks = [*self._flows.values(), *self._rereading]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What the server says.

    def connected(self) -> None:
        """The event stream is there: resume what is open, send what waits, at once."""
        self._confirmations.hurry()
        for kept in self._ledger.open_payments():
            if kept.id not in self._flows:
                self._resume(kept)

    def challenged(self, event: ServerEvent) -> None:
        """A ``challenge`` event; one that is not for this phone is dropped and logged."""
        try:
            self._take(event)
        except StatementError as error:
            if error.code is ErrorCode.CLOCK_SKEW:
                again = asyncio.create_task(self._take_again(event), name="challenge")
                self._rereading.add(again)
                again.add_done_callback(self._rereading.discard)
            else:
                self._drop(event, error)

    async def _take_again(self, event: ServerEvent) -> None:
        """The server's clock may have been set: read the challenge by its time of now."""
        try:
            await self._server.synchronise()
            self._take(event)
        except (StatementError, CodedError, ServerUnreachableError) as error:
            self._drop(event, error)

    def _take(self, event: ServerEvent) -> None:
        """Raises StatementError."""
        read = read_challenge(
            event.data,
            pin=self._server.pin,
            phone=self._phone,
            is_paired=self._jacks.is_paired,
            now_s=self._server.now_s(),
        )
        if self._ledger.keep_challenge(
            read.payment,
            read.challenge.aud,
            read.compact,
            received_ms=self._server.now_ms(),
            event_id=event.id,
        ):
            self._trace.event("challenge_received", read.challenge.sub)
            self._begin(self._ledger.payment(read.challenge.sub))

    def _drop(self, event: ServerEvent, error: Exception) -> None:
        _log.warning("challenge_dropped", extra={"reason": str(error)})
        self._ledger.keep_event(event.id)

    def shown(self, event: ServerEvent) -> None:
        """A ``payment`` event: its status as the server has it."""
        payment = event.data.get("payment")
        if not isinstance(payment, dict):
            _log.warning("event_malformed", extra={"kind": event.kind})
            return
        if self._ledger.keep_shown(payment, event_id=event.id):
            self._learn(str(payment["id"]), Status(payment["status"]))

    def _learn(self, payment: str, status: Status) -> None:
        self._trace.event("payment_known", payment, status=status.value)
        if payment in self._questions and status is not Status.PENDING:
            self._ledger.close_payment(payment, status.value)
            self._flows[payment].cancel()

    # What the owner says.

    def question(self, payment: str) -> str | None:
        """The text that the owner is shown, if the payment waits for the owner."""
        question = self._questions.get(payment)
        if question is None or question.reason is None:
            return None
        return consent.question(
            question.challenge, presence=question.presence, reason=question.reason
        )

    def waiting(self) -> list[Asked]:
        """What has no answer yet, in the order in which it came."""
        return [_asked(question) for question in self._questions.values()]

    async def answer(self, payment: str, decision: Decision) -> KeptPayment:
        """The owner's answer; returns when the server has it, or after a while when not.

        The same answer again is no error. Raises CodedError: ``payment_unknown``,
        ``payment_state`` (answered otherwise, or too late), ``not_ready`` (no auth code yet),
        ``payment_method_unknown`` (nothing to pay with).
        """
        await self.answer_at_once(payment, decision)
        if (flow := self._flows.get(payment)) is not None:
            await asyncio.wait({flow}, timeout=_OWNER_WAIT_S)
        return self._ledger.payment(payment)

    async def answer_at_once(self, payment: str, decision: Decision) -> None:
        """The owner's answer, kept when this returns; the server learns it later.

        The same answer again is no error. Raises CodedError as ``answer`` does.
        """
        question = self._questions.get(payment)
        if question is not None:
            self._take_answer(question, decision)
            await question.answered.wait()
        kept = self._ledger.payment(payment)
        if kept.answer is None or kept.answer.decision is not decision:
            check_unanswered(kept)
            raise CodedError(ErrorCode.NOT_READY, "the agent has no connection to the server yet")

    def answer_on_screen(self, payment: str, decision: Decision) -> str | None:
        """The owner's answer to the question on the screen; what is wrong with it, if anything."""
        try:
            self._take_answer(self._questions[payment], decision)
        except CodedError as error:
            return error.detail
        return None

    def _take_answer(self, question: _Question, decision: Decision) -> None:
        if decision is Decision.APPROVE:
            if question.auth_code is None:
                raise CodedError(
                    ErrorCode.NOT_READY, "your jack has not answered yet; try again in a moment"
                )
            if self._wallet.default_method() is None:
                raise CodedError(
                    ErrorCode.PAYMENT_METHOD_UNKNOWN,
                    "you have no payment method; add one with: phone-agent methods add",
                )
        if not question.owner.done():
            question.owner.set_result(consent.owner_answer(decision))

    # The flow of one payment.

    def _resume(self, kept: KeptPayment) -> None:
        if kept.confirmation is not None:
            self._trace.event("intent_swept", kept.id)
        elif self._server.now_s() >= kept_challenge(kept.challenge).exp:
            self._ledger.close_payment(kept.id, Status.EXPIRED.value)
            return
        self._begin(kept)

    def _begin(self, kept: KeptPayment) -> None:
        flow = asyncio.create_task(self._run(kept), name=f"payment {kept.id}")
        self._flows[kept.id] = flow
        flow.add_done_callback(lambda flow: self._ended(kept.id, flow))

    def _ended(self, payment: str, flow: asyncio.Task[None]) -> None:
        del self._flows[payment]
        if not flow.cancelled() and (error := flow.exception()) is not None:
            _log.error("payment_flow_failed", extra={"payment": payment}, exc_info=error)

    async def _run(self, kept: KeptPayment) -> None:
        if kept.confirmation is None:
            await self._decide(kept)
        shown = await self._confirmations.deliver(kept.id)
        if shown is not None and self._ledger.keep_shown(shown):
            self._learn(kept.id, Status(shown["status"]))

    async def _decide(self, kept: KeptPayment) -> None:
        owner: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        question = _Question(kept_challenge(kept.challenge), kept.challenge, owner)
        self._questions[kept.id] = question
        outcome = "This question is closed."
        try:
            answer = await self._answer_in_time(question)
            self._confirmations.keep(
                question.challenge, question.compact, answer, question.auth_code
            )
            outcome = f"{answer.decision.capitalize()}d. {consent.SENTENCES[answer.reason]}"
        finally:
            del self._questions[kept.id]
            question.answered.set()
            for screen in self._screens:
                screen.withdraw(kept.id, outcome)

    async def _answer_in_time(self, question: _Question) -> Answer:
        now_s = self._server.now_ms() / 1000
        limit_s = consent.answer_time_s(question.challenge, now_s, self._prompt_s)
        question.ends_s, question.limit_s = now_s + limit_s, limit_s
        considering = asyncio.create_task(self._consider(question))
        try:
            done, _ = await asyncio.wait(
                {considering, question.owner},
                timeout=limit_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            considering.cancel()
        if question.owner in done:
            return question.owner.result()
        if considering in done:
            return considering.result()
        return consent.late_answer(has_auth_code=question.auth_code is not None)

    async def _consider(self, question: _Question) -> Answer:
        """The policy's answer, or the owner's if the policy has none."""
        answer = await self._fetch_auth_code(question)
        if answer is not None:
            return answer
        challenge = question.challenge
        verdict = consent.judge(
            challenge,
            presence=question.presence,
            limits_minor=self._wallet.limits_minor(challenge.merchant.id),
            has_method=self._wallet.default_method() is not None,
            rules=self._wallet.rules(),
            spent_minor=self._spent_minor(challenge.amount.currency),
        )
        answer = consent.policy_answer(verdict)
        if answer is not None:
            question.granted = answer.decision is Decision.APPROVE
            return answer
        question.reason = verdict.reason
        self._ask_owner(question)
        return await question.owner

    def _spent_minor(self, currency: str) -> int:
        """Approved without the owner within 24 hours, with what is about to be."""
        since_ms = self._server.now_ms() - consent.DAY_MS
        granted = (q.challenge.amount for q in self._questions.values() if q.granted)
        return self._ledger.approved_alone_minor(currency, since_ms) + sum(
            amount.value for amount in granted if amount.currency == currency
        )

    async def _fetch_auth_code(self, question: _Question) -> Answer | None:
        """Put the auth code into the question, or return the answer to a final refusal."""
        challenge = question.challenge
        self._trace.event("auth_code_asked", challenge.sub)
        path: Path | None = None
        while question.auth_code is None:
            try:
                question.auth_code, path = await self._jacks.auth_code(
                    challenge.aud, challenge.sub, question.compact
                )
            except CodedError as error:
                _log.warning("jack_refused", extra={"payment": challenge.sub, "reason": str(error)})
                if (answer := consent.refusal_answer(error.code)) is not None:
                    return answer
                await asyncio.sleep(_JACK_RETRY_S)
        auth_code = AuthCode.from_claims(unverified_claims(question.auth_code))
        question.presence = presence_proven(challenge, auth_code)
        self._trace.event(
            "auth_code_received", challenge.sub, presence=question.presence, path=path
        )
        return None

    def _ask_owner(self, question: _Question) -> None:
        payment = question.challenge.sub
        text = self.question(payment)
        if text is not None:
            # Logged first: log and question may share a terminal, and the question comes last.
            _log.info("owner_asked", extra={"payment": payment})
            for screen in self._screens:
                screen.ask(payment, text)
            self._trace.event("prompt_shown", payment)


def _asked(question: _Question) -> Asked:
    return Asked(
        question.challenge,
        question.reason,
        question.presence if question.auth_code is not None else None,
        question.ends_s,
        question.limit_s,
    )
