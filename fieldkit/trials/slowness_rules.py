"""What makes a payment slow, and how it shows in the traces. Pure.

Each function is a rule of ``causes``; its docstring is what the documentation says of it.
"""

from __future__ import annotations

from typing import Final

from fieldkit.trials.finding import Finding
from fieldkit.trials.scene import Scene
from fieldkit.trials.timeline import Happening

_NS_PER_MS: Final = 1_000_000
#: What is worth naming as the cause of a slow payment.
_LONG_MS: Final = 1_000
#: A jack waits so long for the lane nonce (docs/protocol.md), less what a busy one rounds.
_PRESENCE_MS: Final = 1_500


def restarted(scene: Scene) -> Finding | None:
    """A party's `agent_started` between the question and the outcome."""
    for party in ("terminal", "server", "phone", "jack"):
        restart = scene.restart_between(party)
        if restart is not None:
            what = "machine" if restart.machine_too else "agent"
            at = scene.timeline.clock_text(restart.first.at_ns)
            text = f"The {party}'s {what} was restarted in between and was back at {at}."
            return Finding(text, (restart.last, restart.first))
    return None


def over_gatt(scene: Scene) -> Finding | None:
    """`auth_code_received` over gatt, a second or more after `auth_code_asked`."""
    asked = scene.attempt.first("phone", "auth_code_asked")
    received = scene.has("phone", "auth_code_received", path="gatt")
    if asked is None or received is None or _ms(asked, received) < _LONG_MS:
        return None
    lost = scene.lacking("phone", "jack_lost", "jack_found")
    tried = scene.has("phone", "gatt_tried")
    return Finding(
        f"Wi-Fi did not answer, so the auth code came over Bluetooth, {_seconds(asked, received)} "
        "after it was asked for.",
        tuple(h for h in (lost, tried, received) if h),
    )


def wifi_back(scene: Scene) -> Finding | None:
    """`auth_code_received` over wifi a second or more after it was asked for; `jack_lost` noted."""
    asked = scene.attempt.first("phone", "auth_code_asked")
    received = scene.has("phone", "auth_code_received", path="wifi")
    lost = scene.lacking("phone", "jack_lost", "jack_found")
    if asked is None or received is None or lost is None or _ms(asked, received) < _LONG_MS:
        return None
    return Finding(
        "The jack was not reached over Wi-Fi at first: the auth code came "
        f"{_seconds(asked, received)} after it was asked for.",
        (lost, received),
    )


def presence(scene: Scene) -> Finding | None:
    """Jack `auth_code_signed` 1.5 s or more after its `challenge_received`."""
    came = scene.attempt.first("jack", "challenge_received")
    signed = scene.attempt.first("jack", "auth_code_signed")
    if came is None or signed is None or _ms(came, signed) < _PRESENCE_MS:
        return None
    end = "heard it late" if signed.field("presence") else "did not hear it"
    return Finding(
        f"The jack waited {_seconds(came, signed)} for the lane's nonce and {end}.", (came, signed)
    )


def choice(scene: Scene) -> Finding | None:
    """A second or more from `charge_asked` to `jack_chosen`."""
    heard_ms = scene.attempt.legs.legs_ms["heard"]
    if heard_ms is None or heard_ms < _LONG_MS:
        return None
    decisions = scene.noted("terminal", ("lane_decision",))
    unsure = next((d for d in decisions if d.field("outcome") != "chosen"), None)
    reason = unsure.field("reason") if unsure else None
    why = f": {str(reason).replace('_', ' ')}" if reason else ""
    text = f"It took {heard_ms / 1000:.1f} s until it was clear which jack was at the lane{why}."
    return Finding(text, (unsure,) if unsure else ())


def request_again(scene: Scene) -> Finding | None:
    """Terminal `request_sent` more than once, a second or more apart."""
    sent = [h for h in scene.attempt.own if h.name == "request_sent"]
    if len(sent) < 2 or _ms(sent[0], sent[-1]) < _LONG_MS:
        return None
    return Finding(
        f"The terminal had to send its request {len(sent)} times, over "
        f"{_seconds(sent[0], sent[-1])}.",
        (sent[0], sent[-1]),
    )


def phone_back(scene: Scene) -> Finding | None:
    """`challenge_received` a second or more after `challenge_issued`; `server_lost` before it."""
    issued = scene.has("server", "challenge_issued")
    received = scene.attempt.first("phone", "challenge_received")
    if issued is None or received is None or _ms(issued, received) < _LONG_MS:
        return None
    lost = scene.lacking("phone", "server_lost", "server_connected")
    if lost is None:
        return None
    text = (
        "The phone's connection to the server was lost: the challenge came "
        f"{_seconds(issued, received)} late."
    )
    return Finding(text, (lost, received))


def confirmation_again(scene: Scene) -> Finding | None:
    """Phone `confirmation_sent` more than once, a second or more apart."""
    sent = [h for h in scene.attempt.own if h.name == "confirmation_sent"]
    if len(sent) < 2 or _ms(sent[0], sent[-1]) < _LONG_MS:
        return None
    text = f"The phone had to send its confirmation {len(sent)} times."
    return Finding(text, (sent[0], sent[-1]))


def processor(scene: Scene) -> Finding | None:
    """A second or more from the first `processor_called` to the last `processor_answered`."""
    called = scene.attempt.first("server", "processor_called")
    settled_ns = scene.attempt.ended_ns
    answered = [
        h for h in scene.attempt.own if h.name == "processor_answered" and h.at_ns <= settled_ns
    ]
    if called is None or not answered or _ms(called, answered[-1]) < _LONG_MS:
        return None
    tries = f", after {len(answered)} tries" if len(answered) > 1 else ""
    return Finding(
        f"The card processor took {_seconds(called, answered[-1])}{tries}.", (called, answered[-1])
    )


def slowest_leg(scene: Scene) -> str:
    """Which leg took most, in words."""
    legs_ms = {leg: ms for leg, ms in scene.attempt.legs.legs_ms.items() if leg != "total" and ms}
    if not legs_ms:
        return "no leg is known"
    leg = max(legs_ms, key=lambda name: legs_ms[name])
    return f"the leg that took most is {leg.replace('_', ' ')}, with {legs_ms[leg] / 1000:.1f} s"


def _ms(begin: Happening, end: Happening) -> float:
    return (end.at_ns - begin.at_ns) / _NS_PER_MS


def _seconds(begin: Happening, end: Happening) -> str:
    return f"{_ms(begin, end) / 1000:.1f} s"
