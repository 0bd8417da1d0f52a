"""The commands of the owner's screen: ``page`` opens it in a browser, ``watch`` shows it here."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from twochannel.console import json_option, qr_text, say
from twochannel.control import ask

_AGENT: Final = "phone-agent"
#: A person does not see less; the agent answers from memory.
_LOOK_S: Final = 0.3


@click.command()
@json_option
@click.pass_obj
def page(state: Path, as_json: bool) -> None:
    """Print a link, and its QR code, that opens the owner's pages in one browser.

    It works once, within five minutes: on the machine where the agent runs, or with page_host in
    the settings also on others of its network, such as a telephone in the same car.
    """
    answer = ask(state, "POST", "/v1/page", agent=_AGENT)
    text = f"{qr_text(answer['url'])}\n{answer['url']}"
    if (sha256 := answer["certificate_sha256"]) is not None:
        text += "\n\n" + certificate_advice(sha256)
    say(answer, text, as_json=as_json)


def certificate_advice(sha256: str) -> str:
    """What to do about a browser's warning. ``sha256``: of the certificate, as hex."""
    pairs = [sha256[place : place + 2].upper() for place in range(0, len(sha256), 2)]
    half = len(pairs) // 2
    return (
        "A browser that does not know the certificate warns, once. Go on only if the\n"
        "certificate that it shows has this SHA-256 fingerprint (some browsers leave out\n"
        "the colons):\n"
        f"{':'.join(pairs[:half])}:\n{':'.join(pairs[half:])}"
    )


@click.command()
@json_option
@click.pass_obj
def watch(state: Path, as_json: bool) -> None:
    """Show payments as they come and go: what asks for you, and what became of it.

    Answer with `phone-agent approve ID` or `decline ID` in another terminal. End it with Ctrl-C.
    With --json each change of a payment is one line.
    """
    seen: list[dict[str, Any]] | None = None
    while True:
        items = ask(state, "GET", "/v1/payments", agent=_AGENT)["items"]
        news = changed(items, seen or [])
        if as_json:
            for item in news:
                click.echo(json.dumps(item))
        elif lines := told(items, news, first=seen is None):
            click.echo("\n".join(lines))
        seen = items
        time.sleep(_LOOK_S)


def changed(
    items: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """The payments that are not as they were, the oldest first."""
    return [item for item in reversed(items) if item not in before]


def told(
    items: Sequence[Mapping[str, Any]], news: Sequence[Mapping[str, Any]], *, first: bool
) -> list[str]:
    """What to print: outcomes that are news, and the line of questions if it has changed.

    One question is shown in full, those behind it are counted: as on the page.
    """
    lines = [] if first else [_outcome(item) for item in news if not item["question"]]
    asked = [item for item in reversed(items) if item["question"]]
    if not asked:
        return ["Nothing waits for you. Watching …"] if first else lines
    if any(item["question"] for item in news) or lines:
        front, *behind = asked
        lines += ["", front["question"], f"Answer: phone-agent approve|decline {front['id']}"]
        counts = Counter(item["merchant"]["name"] for item in behind)
        lines += [f"Behind it: {name} × {number}" for name, number in counts.items()]
    return lines


def _outcome(item: Mapping[str, Any]) -> str:
    from phone_agent.overview import payment_row

    ident, merchant, lane, amount, status, answer = payment_row(dict(item))
    return f"{status}  {amount}  {merchant}, {lane}  ({answer})  {ident}"
