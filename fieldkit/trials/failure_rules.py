"""What makes a payment fail, and how it shows in the traces. Pure.

Each function is a rule of ``causes``; its docstring is what the documentation says of it.
"""

from __future__ import annotations

from typing import Final

from fieldkit.trials.attempts import Outcome
from fieldkit.trials.endings import told_end
from fieldkit.trials.finding import Finding
from fieldkit.trials.scene import Restart, Scene
from fieldkit.trials.timeline import Happening
from payment_device.sightings import Absence, Ambiguity

PARTIES: Final = ("terminal", "server", "phone", "jack")
_SILENCES: Final = {
    "unpaired": "it is paired with no phone",
    "clock_unsynchronised": "it did not know the time yet",
    "clock_out_of_range": "its clock is beyond what codes are made for",
    "storage": "it could not write to its disk",
    "key_store": "it could not use its key",
    "inviting": "it was inviting its phone over Bluetooth",
    "radio_off": "its agent was stopping, or had lost its radio",
    "starting": "it was starting",
}
_AMBIGUITIES: Final = {
    Ambiguity.CROWDED: "more jacks were near than the terminal keeps apart",
    Ambiguity.EQUALLY_NEAR: "two jacks were about equally near",
    Ambiguity.SENT_TWICE: "a code was sent by more than one radio, as a replay is",
    Ambiguity.BETWEEN_LANES: "a jack was heard about as well at another lane",
    Ambiguity.SAME_HANDLE: "two codes had the same short name",
}
_ABSENCES: Final = {
    Absence.NONE_HEARD: "No jack was heard at the lane",
    Absence.STALE: "The jack had not been heard for a second when the till asked",
    Absence.TOO_WEAK: "No jack was heard strongly enough to be at the lane",
    Absence.AT_ANOTHER_LANE: "The jack was heard better at another lane",
    Absence.SETTLING: "The jack had only just been heard when the till asked",
    Absence.LEAVING: "The jack was driving away when the till asked",
}
_OVER_AIR: Final = frozenset({Absence.NONE_HEARD, Absence.STALE, "not_ready"})


def owner_declined(scene: Scene) -> Finding | None:
    """Phone `decision` decline by the owner."""
    decision = scene.has("phone", "decision", decision="decline", decided_by="owner")
    if decision is None:
        return None
    asked = scene.has("phone", "auth_code_received", presence=False)
    told = ", having been told that the jack did not hear the lane" if asked else ""
    return Finding(f"The owner declined{told}.", (decision,))


def canceled(scene: Scene) -> Finding | None:
    """`payment_settled` or server `payment_status` canceled."""
    if scene.attempt.status != "canceled":
        return None
    return Finding("The payment was canceled at the terminal or by the operator.")


def power_cut(scene: Scene) -> Finding | None:
    """A party under a new boot id while the payment needed it, or up to 10 s before; a phone that
    sent no answer, also after it.
    """
    for party in PARTIES:
        restart = scene.restart(party) or _late(scene, party)
        if restart is not None and restart.machine_too and _broke(scene, party):
            return Finding(
                f"The machine of the {party} {told_end(restart.last)}; it was back at "
                f"{scene.timeline.clock_text(restart.first.at_ns)}.",
                (restart.last, restart.first),
            )
    return None


def restarted(scene: Scene) -> Finding | None:
    """A party's `agent_started` while the payment needed it, or up to 10 s before; of a phone that
    sent no answer, also after it.
    """
    for party in PARTIES:
        restart = scene.restart(party) or _late(scene, party)
        if restart is not None and _broke(scene, party):
            return Finding(
                f"The {party}'s agent was restarted at "
                f"{scene.timeline.clock_text(restart.first.at_ns)}.",
                (restart.last, restart.first),
            )
    return None


def _late(scene: Scene, party: str) -> Restart | None:
    """A phone that runs answers before its time is over: one that never did was off till then."""
    return scene.late_restart(party) if party == "phone" else None


def _broke(scene: Scene, party: str) -> bool:
    """Whether the payment needed the party and ended without it; else a restart is no cause."""
    chosen = scene.has("terminal", "jack_not_chosen") is None or _unheard(scene)
    unsettled = chosen and scene.has("terminal", "payment_settled") is None
    match party:
        case "terminal":
            return unsettled
        case "server":
            return unsettled and scene.has("terminal", "request_sent") is not None
        case "phone":
            challenged = scene.has("server", "challenge_issued") is not None
            return challenged and scene.has("phone", "confirmation_sent") is None
        case _:
            asked = scene.has("phone", "auth_code_asked") is not None or _unheard(scene)
            return asked and scene.has("jack", "auth_code_signed") is None


def terminal_radio(scene: Scene) -> Finding | None:
    """`jack_not_chosen` because none was heard, after terminal `radio_lost` not yet recovered."""
    return _without_radio(scene, "terminal")


def jack_radio(scene: Scene) -> Finding | None:
    """`jack_not_chosen` because none was heard, after jack `radio_lost` not yet recovered."""
    return _without_radio(scene, "jack")


def _without_radio(scene: Scene, party: str) -> Finding | None:
    lost = scene.lacking(party, "radio_lost", "radio_recovered")
    if lost is None or not _unheard(scene):
        return None
    why = f" ({_words(lost.field('reason'))})" if lost.field("reason") else ""
    at = scene.timeline.clock_text(lost.at_ns)
    return Finding(f"The {party} had lost its Bluetooth radio at {at}{why}.", (lost,))


def jack_silent(scene: Scene) -> Finding | None:
    """`jack_not_chosen` because none was heard, while the jack's last word is `beacon_silent`."""
    asked_ns = scene.attempt.asked_ns
    shown = scene.latest("jack", asked_ns, ("beacon_rotated", "beacon_silent", "agent_started"))
    if shown is None or shown.name != "beacon_silent" or not _unheard(scene):
        return None
    reason = str(shown.field("reason"))
    why = _SILENCES.get(reason, _words(reason))
    return Finding(f"The jack sent no payable code, for {why}.", (shown,))


def _unheard(scene: Scene) -> bool:
    missed = scene.has("terminal", "jack_not_chosen")
    return missed is not None and missed.field("reason") in _OVER_AIR


def ambiguous(scene: Scene) -> Finding | None:
    """`jack_not_chosen` with a reason of ambiguity."""
    missed = scene.has("terminal", "jack_not_chosen")
    if missed is None or missed.field("reason") not in set(Ambiguity):
        return None
    reason, decided = Ambiguity(missed.field("reason")), _decision(scene, missed)
    named = [
        f"{jack['jack']} with {jack['rssi_dbm']} dBm"
        for decision in decided
        for jack in decision.field("candidates") or ()
    ]
    who = f" ({', '.join(named)})" if named else ""
    return Finding(
        "The lane was ambiguous, and the terminal rightly did not guess: "
        f"{_AMBIGUITIES[reason]}{who}.",
        (missed, *decided),
    )


def no_jack(scene: Scene) -> Finding | None:
    """`jack_not_chosen` with a reason of absence, though nothing was wrong with the radios."""
    missed = scene.has("terminal", "jack_not_chosen")
    if missed is None or missed.field("reason") not in set(Absence):
        return None
    reason = Absence(missed.field("reason"))
    states = ("beacon_rotated", "beacon_silent", "radio_lost", "agent_started")
    shown = scene.latest("jack", missed.at_ns, states)
    on_air = reason in _OVER_AIR and shown is not None and shown.name == "beacon_rotated"
    though = ", although one was sending: it was out of reach" if on_air else ""
    evidence = (missed, *_decision(scene, missed), *((shown,) if on_air and shown else ()))
    return Finding(f"{_ABSENCES[reason]}{though}.", evidence)


def _decision(scene: Scene, missed: Happening) -> tuple[Happening, ...]:
    """What the lane had found when it gave up, if the terminal noted that."""
    found = scene.timeline.latest(missed.agent, missed.at_ns, ("lane_decision",))
    return (found,) if found and found.at_ns >= scene.attempt.asked_ns else ()


def request_refused(scene: Scene) -> Finding | None:
    """Terminal `request_answered` with a code, and no `challenge_issued`."""
    answer = next(
        (h for h in scene.attempt.own if h.name == "request_answered" and h.field("code")), None
    )
    if answer is None or scene.has("server", "challenge_issued"):
        return None
    return Finding(f"The server refused the request: {_words(answer.field('code'))}.", (answer,))


def request_lost(scene: Scene) -> Finding | None:
    """Terminal `request_sent`, and no `request_received` of the server in its record."""
    sent = scene.attempt.first("terminal", "request_sent")
    if sent is None or scene.has("server", "request_received") or not scene.agent("server"):
        return None
    times = sum(h.name == "request_sent" for h in scene.attempt.own)
    tried = f"{times} times" if times > 1 else "once"
    return Finding(f"The server was not reached: the request was sent {tried} in vain.", (sent,))


def phone_offline(scene: Scene) -> Finding | None:
    """Server `challenge_issued`, and no `challenge_received` of the phone; `server_lost` before."""
    issued = scene.has("server", "challenge_issued")
    if issued is None or scene.attempt.first("phone", "challenge_received"):
        return None
    known = scene.latest("phone", scene.to_ns, ("server_connected", "server_lost"))
    if known is not None and known.name == "server_lost":
        since = scene.timeline.clock_text(known.at_ns)
        return Finding(
            f"The challenge did not reach the phone, whose connection to the server was lost at "
            f"{since}.",
            (issued, known),
        )
    return Finding("The challenge did not reach the phone.", (issued,))


def jack_refused(scene: Scene) -> Finding | None:
    """Jack `challenge_refused`, and no auth code after it."""
    refused = scene.has("jack", "challenge_refused")
    if refused is None or scene.attempt.first("phone", "auth_code_received"):
        return None
    return Finding(f"The jack refused the challenge: {_words(refused.field('code'))}.", (refused,))


def jack_unreachable(scene: Scene) -> Finding | None:
    """Phone `auth_code_asked` without `auth_code_received`; with `jack_lost`, `gatt_tried`."""
    asked = scene.attempt.first("phone", "auth_code_asked")
    if asked is None or scene.attempt.first("phone", "auth_code_received"):
        return None
    lost = scene.lacking("phone", "jack_lost", "jack_found")
    tried = scene.has("phone", "gatt_tried")
    signed = scene.attempt.first("jack", "auth_code_signed")
    parts = ["The phone got no auth code from the jack"]
    if lost is not None:
        parts.append(f"Wi-Fi was lost at {scene.timeline.clock_text(lost.at_ns)}")
    if tried is not None:
        parts.append("Bluetooth did not bring it in time either")
    if signed is not None:
        parts.append("the jack had signed one, and the answer was lost")
    text = parts[0] + (": " + ", and ".join(parts[1:]) if parts[1:] else "")
    return Finding(f"{text}.", tuple(h for h in (asked, lost, tried, signed) if h))


def presence(scene: Scene) -> Finding | None:
    """Phone `decision` decline because presence is required; the jack's radio off, if noted."""
    required = scene.has("phone", "decision", reason="presence_required")
    if required is None:
        return None
    lost = scene.lacking("jack", "radio_lost", "radio_recovered") or _radio_off(scene, required)
    why = ", for its radio was off" if lost else ""
    return Finding(
        f"The merchant requires that the jack hears the lane, and it did not{why}.",
        tuple(h for h in (required, lost) if h),
    )


def _radio_off(scene: Scene, until: Happening) -> Happening | None:
    """That the jack has nothing on the air for want of a radio."""
    until_ns = until.at_ns - until.within_ns
    shown = scene.latest("jack", until_ns, ("beacon_rotated", "beacon_silent"))
    off = shown is not None and shown.field("reason") == "radio_off"
    return shown if off else None


def owner_silent(scene: Scene) -> Finding | None:
    """Phone `decision` by time-out after `prompt_shown`."""
    silent = scene.has("phone", "decision", reason="owner_silent")
    if silent is None:
        return None
    shown = scene.has("phone", "prompt_shown")
    waited_s = (silent.at_ns - shown.at_ns) / 1e9 if shown else 0.0
    return Finding(f"The owner did not answer within {waited_s:.0f} s.", (silent,))


def confirmation_lost(scene: Scene) -> Finding | None:
    """Phone `confirmation_sent`, and no `confirmation_received` of the server."""
    sent = scene.attempt.last("phone", "confirmation_sent")
    if sent is None or scene.has("server", "confirmation_received"):
        return None
    lost = scene.latest("phone", scene.to_ns, ("server_connected", "server_lost"))
    gone = lost if lost is not None and lost.name == "server_lost" else None
    why = f", whose connection was lost at {scene.timeline.clock_text(gone.at_ns)}" if gone else ""
    text = f"The phone's confirmation did not reach the server{why}."
    return Finding(text, tuple(h for h in (sent, gone) if h))


def confirmation_refused(scene: Scene) -> Finding | None:
    """Server `confirmation_refused`, or phone `confirmation_answered` with a code, unconfirmed."""
    refused = scene.has("server", "confirmation_refused") or next(
        (h for h in scene.attempt.own if h.name == "confirmation_answered" and h.field("code")),
        None,
    )
    if refused is None or scene.has("server", "payment_confirmed"):
        return None
    code = _words(refused.field("code"))
    return Finding(f"The server refused the confirmation: {code}.", (refused,))


def processor_refused(scene: Scene) -> Finding | None:
    """Server `processor_answered` refused, and the payment is refused."""
    refused = scene.has("server", "processor_answered", outcome="refused")
    if refused is None or scene.attempt.status != "refused":
        return None
    return Finding("The card processor declined the charge.", (refused,))


def processor_unknown(scene: Scene) -> Finding | None:
    """Server `processor_called` without an answer, or answered unknown or busy."""
    called = scene.attempt.last("server", "processor_called")
    answered = scene.attempt.last("server", "processor_answered")
    known = answered is not None and answered.field("outcome") in {"approved", "refused"}
    if called is None or known or scene.attempt.outcome is Outcome.PAID:
        return None
    text = "The card processor did not say what became of the charge."
    return Finding(text, tuple(h for h in (called, answered) if h))


def outcome_lost(scene: Scene) -> Finding | None:
    """The server has an outcome, and the terminal has no `payment_settled`."""
    known = scene.attempt.last("server", "payment_status")
    if known is None or not scene.unfinished or known.field("status") in {"pending", "confirmed"}:
        return None
    return Finding(
        f"The server had it as {known.field('status')}; that did not reach the terminal in the "
        "recording.",
        (known,),
    )


def _words(value: object) -> str:
    return str(value).replace("_", " ")
