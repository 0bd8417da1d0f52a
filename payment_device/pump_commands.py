"""``payment-device pump``: a simulated pump, what its driver does, and fuelling from the till."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import click

from payment_device.payment_commands import ask
from twochannel.console import json_option, say, tell_ready

_PUMP: Final = "payment-device pump"
_MOST_LITRES: Final = 2000


@click.group("pump", invoke_without_command=True)
@click.option("--flow", "flow_l_min", type=click.FloatRange(1, 6000), default=36, show_default=True,
              help="Litres a minute with the trigger pulled.")  # fmt: skip
@click.pass_context
def pump(context: click.Context, flow_l_min: float) -> None:
    """Run a simulated pump in the foreground; stop it with Ctrl-C or SIGTERM.

    It stands beside the running terminal, which needs the price of a litre in its settings
    (pump_price = "1.799 EUR"). In further terminals: `lift`, `fuel` and `hang-up` are what its
    driver does; `prepay` and `postpay` begin a fuelling, as the lane page does too.
    """
    if context.invoked_subcommand is not None:
        return
    import asyncio

    from payment_device import simulated_pump

    state: Path = context.obj
    asyncio.run(simulated_pump.run(state, flow_l_min * 1000 / 60, tell_ready))


def _drive(state: Path, act: str, body: dict[str, object], *, as_json: bool) -> None:
    from payment_device.simulated_pump import FOLDER
    from twochannel import control

    told = control.ask(state / FOLDER, "POST", f"/v1/{act}", body, agent=_PUMP)
    nozzle = "lifted" if told["nozzle_lifted"] else "hung up"
    line = f"The nozzle is {nozzle}; the counter is at {_litres(told['total_ml'])}."
    released = "released" if told["released"] else "locked"
    say(told, f"{line} The pump is {released}.", as_json=as_json)


@pump.command()
@json_option
@click.pass_obj
def lift(state: Path, as_json: bool) -> None:
    """Lift the nozzle of the simulated pump."""
    _drive(state, "lift", {}, as_json=as_json)


@pump.command()
@click.argument("litres")
@json_option
@click.pass_obj
def fuel(state: Path, litres: str, as_json: bool) -> None:
    """Pull the trigger of the simulated pump until LITRES have flowed, or its limit is reached."""
    try:
        volume_ml = int(Decimal(litres) * 1000)
    except (InvalidOperation, ValueError, OverflowError):
        volume_ml = 0
    if not 0 < volume_ml <= _MOST_LITRES * 1000:
        raise click.BadParameter("give litres such as 23.44", param_hint="LITRES")
    _drive(state, "fuel", {"volume_ml": volume_ml}, as_json=as_json)


@pump.command("hang-up")
@json_option
@click.pass_obj
def hang_up(state: Path, as_json: bool) -> None:
    """Hang the nozzle of the simulated pump up again."""
    _drive(state, "hang-up", {}, as_json=as_json)


@pump.command()
@click.argument("amount")
@click.argument("currency")
@click.option("--reference", required=True, help="The till's own name for this fuelling.")
@click.option("--jack", help="Handle of the jack to ask, as `jacks` lists it.")
@json_option
@click.pass_obj
def prepay(
    state: Path, amount: str, currency: str, reference: str, jack: str | None, as_json: bool
) -> None:
    """Hold AMOUNT, then release the pump for it; what is pumped is taken, the rest released."""
    most = {"amount": amount, "currency": currency}
    body: dict[str, object] = {"kind": "prepay", "reference": reference, "most": most, "jack": jack}
    _tell(ask(state, "POST", "/v1/pump/fuellings", body), as_json=as_json)


@pump.command()
@click.option("--reference", required=True, help="The till's own name for this fuelling.")
@click.option("--jack", help="Handle of the jack that stands here, as `jacks` lists it.")
@json_option
@click.pass_obj
def postpay(state: Path, reference: str, jack: str | None, as_json: bool) -> None:
    """Recognise the car at the pump and release it; its owner is asked after fuelling."""
    body: dict[str, object] = {"kind": "postpay", "reference": reference, "jack": jack}
    _tell(ask(state, "POST", "/v1/pump/fuellings", body), as_json=as_json)


@pump.command("status")
@json_option
@click.pass_obj
def show(state: Path, as_json: bool) -> None:
    """Show the pump and who fuels."""
    _tell(ask(state, "GET", "/v1/pump"), as_json=as_json)


@pump.command("ask")
@click.option("--jack", help="Handle of the jack to ask; without, the one at the lane.")
@json_option
@click.pass_obj
def ask_again(state: Path, jack: str | None, as_json: bool) -> None:
    """Ask once more for fuel that nobody has paid for."""
    _tell(ask(state, "POST", "/v1/pump/request", {"jack": jack}), as_json=as_json)


@pump.command()
@json_option
@click.pass_obj
def stop(state: Path, as_json: bool) -> None:
    """Lock the pump now; what was pumped is due."""
    _tell(ask(state, "POST", "/v1/pump/stop", {}), as_json=as_json)


@pump.command()
@json_option
@click.pass_obj
def settle(state: Path, as_json: bool) -> None:
    """Note that fuel which nobody had paid for was paid in another way."""
    _tell(ask(state, "POST", "/v1/pump/settlement", {}), as_json=as_json)


def _tell(told: dict[str, Any], *, as_json: bool) -> None:
    from twochannel.protocol.money import format_minor

    lines = [f"Price   {told['price']} a litre"]
    if told["problem"]:
        lines.append(f"Pump    {told['problem']}")
    if fuelling := told["fuelling"]:
        currency = fuelling["currency"]
        cost = f"{format_minor(fuelling['cost_minor'], currency)} {currency}"
        lines.append(f"{fuelling['phase']}  {_litres(fuelling['pumped_ml'])}  {cost}")
        if fuelling["problem"]:
            lines.append(f"Reason: {fuelling['problem'].replace('_', ' ')}.")
    say(told, "\n".join(lines), as_json=as_json)


def _litres(volume_ml: int) -> str:
    return f"{volume_ml / 1000:.2f} l"
