"""The command line of the terminal.

A till may start ``charge`` for every customer, so this module loads nothing but click. Commands
that talk to the running agent use the standard library; the rest is imported where it is needed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from twochannel.console import (
    AgentCommands,
    Failures,
    json_option,
    listed,
    say,
    state_option,
    tell_ready,
)
from twochannel.doctor.command import doctor_options, run_doctor

if TYPE_CHECKING:
    from payment_device.config import TerminalSettings

COMMAND: Final = "payment-device"
NOT_PAID: Final = 3
#: One look at a payment is held back by the agent for at most this long.
_WAIT_S: Final = 50


def failures() -> Failures:
    """The terminal's own errors whose text says what to do next."""
    from payment_device.calibration import CalibrationError
    from payment_device.enrolment import EnrolmentError
    from server.client import ServerUnreachableError

    return {
        CalibrationError: "not_calibrated",
        EnrolmentError: "enrolment_unusable",
        ServerUnreachableError: "server_unreachable",
    }


@click.group(cls=AgentCommands, failures=failures)
@state_option(COMMAND)
@click.version_option(package_name="cigarjack")
@click.pass_context
def main(context: click.Context, state: Path) -> None:
    """The terminal at a lane: hears the jack of a car and charges it.

    Begin with `payment-device enroll`, then keep `payment-device run` running; then `charge`.
    """
    context.obj = state


def ask(
    state: Path, method: str, path: str, body: dict[str, object] | None = None
) -> dict[str, Any]:
    """One request to the running terminal."""
    from twochannel import control

    return control.ask(state, method, path, body, agent=COMMAND)


@main.command()
@click.argument("url")
@click.argument("code")
@json_option
@click.pass_obj
def enroll(state: Path, url: str, code: str, as_json: bool) -> None:
    """Enrol at the server at URL with the one-time CODE of its operator."""
    import asyncio

    from payment_device.agent import new_id
    from payment_device.enrolment import enrol
    from server.client import EnrolmentCode
    from twochannel import state_folder
    from twochannel.trace import wall_ms

    with state_folder.held(state):
        keys = read_settings(state, {}).keys
        parsed = EnrolmentCode.parse(code)
        enrolled = asyncio.run(enrol(state, url, parsed, new_id, wall_ms, keys))
    answer = {
        "terminal": enrolled.terminal,
        "server": enrolled.pin.server,
        "lane": enrolled.lane,
        "merchant": enrolled.merchant.model_dump(),
    }
    who = f"{enrolled.lane} of {enrolled.merchant.name}"
    say(answer, f"Enrolled as {who}.\nNow start: {COMMAND} run", as_json=as_json)


@main.command()
@click.option("--radio", help="Adapter, for example bumble:usb:0 or bumble:tcp-client:HOST:PORT.")
@click.option("--min-rssi", "min_rssi_dbm", type=float, help="A weaker jack is not at the lane.")
@click.option("--margin", "margin_db", type=float, help="Lead over the next jack that is needed.")
@click.pass_obj
def run(state: Path, /, **flags: Any) -> None:
    """Run the terminal in the foreground; stop it with Ctrl-C or SIGTERM.

    Settings come from config.toml in the state folder, then from PAYMENT_DEVICE_… variables, then
    from these flags. Prints one line of JSON once it is ready; logs go to standard error.
    """
    import asyncio

    from payment_device import agent
    from twochannel import logs

    settings = read_settings(state, flags)
    logs.configure(settings.log_level)
    asyncio.run(agent.run(settings, state, tell_ready))


@main.command(context_settings={"show_default": True})
@click.option("--radio", help="Adapter, as for `run`.")
@click.option("--here", type=click.IntRange(1, 20), default=3, help="Places here.")
@click.option("--away", type=click.IntRange(0, 20), default=2, help="Places away from here.")
@click.option("--seconds", type=click.FloatRange(2, 120), default=10, help="At each place.")
@click.option("--dry-run", is_flag=True, help="Tell the thresholds and change no setting.")
@json_option
@click.pass_obj
def calibrate(
    state: Path,
    /,
    radio: str | None,
    here: int,
    away: int,
    seconds: float,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Measure this lane with a car and set its thresholds; the terminal must not be running.

    Asks for a car with a jack at one marked place after the other: first here, where customers
    stand, then away, where a car must not be charged: the next lane, the next in the queue. Each
    is measured for --seconds. Writes min_rssi_dbm and margin_db into config.toml of the state
    folder, and says how often they will be wrong. docs/lane-decision.md tells how to choose the
    places.
    """
    from payment_device import calibrating
    from twochannel import state_folder

    with state_folder.locked(state):
        settings = read_settings(state, {"radio": radio})
        found = calibrating.measure(settings.radio, here, away, seconds)
        if not dry_run:
            calibrating.write(found, state / "config.toml")
    answer = calibrating.members(found) | {"written": not dry_run}
    say(answer, calibrating.told(found, None if dry_run else state), as_json=as_json)


def read_settings(state: Path, flags: dict[str, Any]) -> TerminalSettings:
    """The settings from file, environment and flags. Raises SettingsError."""
    from payment_device.config import ENVIRONMENT_PREFIX, TerminalSettings
    from twochannel.settings import load

    return load(
        TerminalSettings,
        file=state / "config.toml",
        environment=os.environ,
        prefix=ENVIRONMENT_PREFIX,
        flags=flags,
    )


@main.command()
@click.argument("amount")
@click.argument("currency")
@click.option("--reference", required=True, help="The till's own name for this payment.")
@click.option("--description", default="", help="What is paid for, for the owner to read.")
@click.option("--manual", is_flag=True, help="Only hold the amount; take it with `capture`.")
@click.option("--jack", help="Handle of the jack to charge, as `jacks` lists it.")
@click.option("--wait/--no-wait", default=True, help="Wait for the outcome, or only until sent.")
@json_option
@click.pass_obj
def charge(
    state: Path,
    /,
    amount: str,
    currency: str,
    reference: str,
    description: str,
    manual: bool,
    jack: str | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Charge the jack at this lane: AMOUNT as in 4.50, CURRENCY as in EUR.

    The same reference is never charged twice: after a power cut simply charge again. Exit code 0:
    paid (or held, with --manual); 3: declined, expired or refused by the card; 1: not asked.
    """
    body: dict[str, object] = {
        "amount": {"amount": amount, "currency": currency},
        "capture": "manual" if manual else "automatic",
        "reference": reference,
        "description": description,
        "jack": jack,
        "wait_s": _WAIT_S if wait else 0,
        "wait_for": "answer",
    }
    payment = ask(state, "POST", "/v1/payments", body)
    if wait and _is_open(payment) and not as_json:
        click.echo(_waiting(payment))
    while wait and _is_open(payment):
        payment = ask(state, "GET", f"/v1/payments/{payment['id']}?wait_s={_WAIT_S}")
    say(payment, _told(payment), as_json=as_json)
    if not payment["paid"] and (wait or not _is_open(payment)):
        raise SystemExit(NOT_PAID)


@main.command()
@click.argument("payment")
@click.argument("amount")
@click.argument("currency")
@json_option
@click.pass_obj
def capture(state: Path, payment: str, amount: str, currency: str, as_json: bool) -> None:
    """Take AMOUNT of a held PAYMENT, at most what was held; the rest is released."""
    body: dict[str, object] = {"amount": {"amount": amount, "currency": currency}}
    answer = ask(state, "POST", f"/v1/payments/{payment}/captures", body)
    say(answer, _told(answer), as_json=as_json)
    if answer["status"] != "captured":
        raise SystemExit(NOT_PAID)


@main.command()
@click.argument("payment")
@click.option("--reason", default="", help="For the records.")
@json_option
@click.pass_obj
def cancel(state: Path, payment: str, reason: str, as_json: bool) -> None:
    """End a pending PAYMENT, or release a held one."""
    answer = ask(state, "POST", f"/v1/payments/{payment}/cancellation", {"reason": reason})
    say(answer, _told(answer), as_json=as_json)
    if answer["status"] not in ("canceled", "voided") and answer["phase"] != "lapsed":
        raise SystemExit(NOT_PAID)


@main.command()
@click.argument("payment")
@click.argument("amount")
@click.argument("currency")
@click.option("--reference", help="The till's own name for this refund.  [default: refund-AMOUNT]")
@click.option("--reason", default="", help="For the records.")
@json_option
@click.pass_obj
def refund(
    state: Path,
    payment: str,
    amount: str,
    currency: str,
    reference: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Give AMOUNT of a captured PAYMENT back: all of it, or a part, several times.

    The same reference is never given back twice: after a power cut simply ask again. To give the
    same amount of the same payment back once more, name a reference of its own.
    """
    body: dict[str, object] = {
        "amount": {"amount": amount, "currency": currency},
        "reference": reference,
        "reason": reason,
    }
    answer = ask(state, "POST", f"/v1/payments/{payment}/refunds", body)
    given_back = answer["refund"]
    told = {"done": "refunded", "stored": "refund under way"}[given_back["phase"]]
    line = f"{told}  {given_back['amount_text']}  refund {given_back['id']}"
    say(answer, f"{line}\n{_told(answer)}", as_json=as_json)
    if given_back["phase"] != "done":
        raise SystemExit(NOT_PAID)


@main.command("payment")
@click.argument("payment")
@json_option
@click.pass_obj
def show_payment(state: Path, payment: str, as_json: bool) -> None:
    """Show one PAYMENT."""
    answer = ask(state, "GET", f"/v1/payments/{payment}")
    say(answer, _told(answer), as_json=as_json)


@main.command()
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True)
@click.option("--reference", help="Only those that the till calls so.")
@click.option("--active", is_flag=True, help="Only those that are not over.")
@json_option
@click.pass_obj
def payments(state: Path, limit: int, reference: str | None, active: bool, as_json: bool) -> None:
    """List the newest payments of this terminal."""
    from urllib.parse import urlencode

    query = {"limit": str(limit)}
    query |= {"reference": reference} if reference is not None else {}
    query |= {"active": "true"} if active else {}
    answer = ask(state, "GET", f"/v1/payments?{urlencode(query)}")
    lines = [
        f"{item['id']}  {_status(item):10}  {item['amount_text']:>12}  {item['reference']}"
        for item in answer["items"]
    ]
    say(answer, "\n".join(lines) or "No payments yet.", as_json=as_json)


@main.command()
@json_option
@click.pass_obj
def jacks(state: Path, as_json: bool) -> None:
    """List the jacks that are heard now, the nearest first."""
    answer = ask(state, "GET", "/v1/jacks")
    rows = [f"{'JACK':6}{'LEVEL':>9}{'AGE':>9}  STATE"]
    rows += [
        f"{item['handle']:6}{item['rssi_dbm']:>5} dBm{item['age_ms']:>6} ms  {item['state']}"
        for item in answer["items"]
    ]
    if answer["reason"]:
        rows.append(f"No jack is chosen: {answer['reason'].replace('_', ' ')}.")
    say(answer, "\n".join(rows), as_json=as_json)


@main.command()
@json_option
@click.pass_obj
def status(state: Path, as_json: bool) -> None:
    """Show the running terminal: lane, server, radio, open payment."""
    answer = ask(state, "GET", "/v1/status")
    say(answer, listed(answer), as_json=as_json)


@main.command()
@doctor_options("its radio, its server, its clock, voltage and disk", "about 15 s")
@click.option("--radio", help="Adapter to examine instead of the one in the settings.")
@click.pass_obj
def doctor(state: Path, radio: str | None, quick: bool, as_json: bool) -> None:
    from payment_device.doctor import examine

    settings = read_settings(state, {"radio": radio})
    run_doctor(
        COMMAND,
        lambda progress: examine(settings, state, progress, quick=quick),
        as_json=as_json,
    )


def _is_open(payment: dict[str, Any]) -> bool:
    return payment["phase"] in ("stored", "pending", "processing")


def _waiting(payment: dict[str, Any]) -> str:
    code = payment.get("match_code")
    if code is None:
        return f"Payment {payment['id']}: asking the server …"
    return f"Match code {code}: the owner's phone shows the same. Waiting for the owner …"


def _status(payment: dict[str, Any]) -> str:
    """The server's word once it is proven; before that, how far the payment is from here."""
    return str(payment["status"] if payment["phase"] == "settled" else payment["phase"])


def _told(payment: dict[str, Any]) -> str:
    lines = [f"{_status(payment)}  {payment['amount_text']}  payment {payment['id']}"]
    if payment["phase"] == "settled" and payment.get("reason"):
        lines.append(f"Reason: {payment['reason'].replace('_', ' ')}.")
    if payment["code"]:
        lines.append(f"It came to nothing: {payment['code'].replace('_', ' ')}.")
    if back_minor := payment.get("refunded_minor"):
        lines.append(f"Given back: {_minor(back_minor, payment)}.")
    if match_code := payment.get("match_code"):
        lines.append(f"Match code {match_code}.")
    if total_ms := payment["legs"].get("total"):
        lines.append(f"It took {total_ms:.0f} ms.")
    return "\n".join(lines)


def _minor(value: int, payment: dict[str, Any]) -> str:
    from twochannel.protocol.money import format_minor

    currency = payment["amount"]["currency"]
    return f"{format_minor(value, currency)} {currency}"
