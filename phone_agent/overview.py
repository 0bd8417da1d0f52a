"""What the owner is shown of payments and of the running agent, as text."""

from __future__ import annotations

from typing import Any

from twochannel.console import table
from twochannel.protocol.errors import PROBLEMS, ErrorCode, Problem
from twochannel.protocol.money import Amount, format_minor

_PATHS = {"wifi": "Wi-Fi", "gatt": "Bluetooth"}
_NO_JACK = "No jack is paired: phone-agent pair 'CJ1:…'"


def status_text(answer: dict[str, Any]) -> str:
    """Server, jacks, and what waits for the owner."""
    server = answer["server"]
    rows = [
        (
            jack["jack"],
            "reachable" if jack["reachable"] else "NOT reachable",
            jack["address"] or "",
            f"clock {jack['clock'] or 'unknown'}",
            f"last by {_PATHS[jack['path']]}" if jack["path"] else "",
            f"{jack['signal_dbm']} dBm" if jack["signal_dbm"] is not None else "",
        )
        for jack in answer["jacks"]
    ]
    lines = [
        f"Phone   {answer['phone']}",
        f"Server  {server['url']}  {'connected' if server['connected'] else 'NOT connected'}",
        table(("jack", "Wi-Fi", "address", "", "", ""), rows, _NO_JACK),
        *([f"Bluetooth: {answer['radio_problem']}"] if answer["radio_problem"] else []),
        *(f"Waits for you: {payment}" for payment in answer["waiting"]),
    ]
    return "\n".join(lines)


def payment_row(item: dict[str, Any]) -> tuple[str, ...]:
    """id, merchant, lane, amount, status with what was given back, answer."""
    amount, back_minor = Amount.model_validate(item["amount"]), item["refunded_minor"]
    given_back = f", {format_minor(back_minor, amount.currency)} given back" if back_minor else ""
    answer = f"{item['decision']} by {item['decided_by']}" if item["decision"] else "none"
    return (
        item["id"],
        str((item["merchant"] or {}).get("name", "")),
        str(item["lane"]),
        str(amount),
        f"{item['status']}{given_back}",
        "waits for you" if item["question"] else answer,
    )


def refusal_of(item: dict[str, Any]) -> Problem | None:
    """Why the server did not take the answer to this payment; None: it has, or may yet."""
    kind, _, code = str(item["closed"]).partition(": ")
    return PROBLEMS[ErrorCode(code)] if kind == "refused" else None
