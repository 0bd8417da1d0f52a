"""The parts of documents that the code writes.

docs/protocol.md: statements, life cycle, limits, errors. docs/evidence.md: the journal's example.
docs/doctor.md: checks, known-bad pairs. docs/trial-report.md: causes. docs/metrics.md: metrics.

``python -m fieldkit.docs`` rewrites them in place; ``--check`` fails when they are out of date.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from fieldkit.specimens import NOW_S, Specimens
from fieldkit.trials.causes import FAILURES, SLOWNESS
from server.confirmations import accept_confirmation
from server.couplings import couple, uncouple
from server.members import remove_member
from server.operations import accept_order
from server.payment_methods import choose_default
from server.refunds import accept_refund
from server.releases import release_jack
from server.requests import accept_request
from twochannel.doctor.catalogue import CHECKS
from twochannel.doctor.known_bad import KNOWN_BAD
from twochannel.metrics.catalogue import LEGS, METRICS
from twochannel.protocol import limits
from twochannel.protocol.envelope import Statement, digest
from twochannel.protocol.errors import PROBLEMS
from twochannel.protocol.instructions import (
    Coupling,
    MemberRemoval,
    MethodDefault,
    MethodRemoval,
    Release,
    Uncoupling,
)
from twochannel.protocol.journal import Entry, link, link_lines, origin
from twochannel.protocol.payment import (
    FINAL,
    INITIAL,
    REFUND_FINAL,
    REFUND_INITIAL,
    REFUND_TRANSITIONS,
    TRANSITIONS,
)
from twochannel.protocol.statements import (
    Cancel,
    Capture,
    Challenge,
    Confirmation,
    PaymentRequest,
    Refund,
)
from twochannel.protocol.wire import from_base64url

S = TypeVar("S", bound=str)
E = TypeVar("E", bound=str)

_DOCS = Path(__file__).parent.parent / "docs"
PROTOCOL = _DOCS / "protocol.md"
EVIDENCE = _DOCS / "evidence.md"
DOCTOR = _DOCS / "doctor.md"
METRICS_PAGE = _DOCS / "metrics.md"
TRIAL_REPORT = _DOCS / "trial-report.md"
#: What begins with one of these is a command.
_PROGRAMS = {"bluetoothctl", "rfkill", "sudo"}


def statements_section() -> str:
    """Every statement: who signs it, its claims with types, an example and its hash input."""
    specimens = Specimens()
    return "\n".join(
        _statement(type(specimen.statement), specimen.party, specimen.compact)
        for specimen in specimens.by_typ.values()
    )


def _statement(model: type[Statement], party: str, compact: str) -> str:
    specimen_claims = json.loads(_payload(compact))
    example = json.dumps(_shortened(specimen_claims), indent=2)
    summary = " ".join((model.__doc__ or "").split())
    schema = model.model_json_schema()
    rows = "\n".join(
        f"| `{name}` | {_kind(part, schema)} | {'yes' if name in schema['required'] else 'no'} |"
        for name, part in schema["properties"].items()
    )
    return (
        f"### `{model.TYP}`\n\n{summary} The example is signed by the {party}.\n\n"
        f"| claim | type | required |\n|---|---|---|\n{rows}\n\n"
        f"```json\n{example}\n```\n\n"
        f"<details><summary>the same, signed</summary>\n\n"
        f"```\n{textwrap.fill(compact, 96, break_on_hyphens=False)}\n```\n\n</details>\n"
    )


def _payload(compact: str) -> bytes:
    return from_base64url(compact.split(".")[1])


def _shortened(value: Any) -> Any:
    """Nested statements by their first characters: they are shown whole on their own."""
    if isinstance(value, dict):
        return {name: _shortened(part) for name, part in value.items()}
    return f"{value[:24]}…" if isinstance(value, str) and len(value) > 100 else value


def _kind(part: dict[str, Any], schema: dict[str, Any]) -> str:
    if "$ref" in part:
        return _kind(schema["$defs"][part["$ref"].rsplit("/", 1)[1]], schema)
    if "anyOf" in part:
        return " or ".join(_kind(choice, schema) for choice in part["anyOf"])
    if "enum" in part:
        return " or ".join(f"`{value}`" for value in part["enum"])
    if "const" in part:
        return f"`{part['const']}`"
    if part.get("type") == "object":
        return "object: " + ", ".join(f"`{name}`" for name in part["properties"])
    return str(part.get("type", "any")) + _bounds(part)


def _bounds(part: dict[str, Any]) -> str:
    if "pattern" in part:
        return f" `{part['pattern']}`".replace("|", "\\|") + _length(part)
    low = part.get("minimum", part.get("exclusiveMinimum"))
    high = part.get("maximum", part.get("exclusiveMaximum"))
    if low is not None or high is not None:
        return f" {'>' if 'exclusiveMinimum' in part else '≥'} {low}" + (
            f", {'<' if 'exclusiveMaximum' in part else '≤'} {high}" if high is not None else ""
        )
    return _length(part)


def _length(part: dict[str, Any]) -> str:
    if "maxLength" not in part:
        return ""
    if "pattern" not in part:
        return f" of at most {part['maxLength']} characters"
    least = f"{part['minLength']} to " if "minLength" in part else "at most "
    return f", {least}{part['maxLength']} characters"


def journal_section() -> str:
    """Two entries of a journal, the lines that are hashed, and their links."""
    specimens = Specimens()
    before, shown = origin(specimens.server), []
    models: tuple[type[Statement], ...] = (PaymentRequest, Challenge)
    for seq, model in enumerate(models, start=1):
        request = specimens[PaymentRequest].statement.claims()
        entry = Entry(seq, str(request["sub"]), digest(specimens[model].compact), NOW_S * 1000)
        lines = link_lines(before, entry)
        before = link(before, entry)
        shown.append(f"```\n{chr(10).join(lines)}\n```\n\nLink of entry {seq}: `{before}`\n")
    return f"Before the first: `{origin(specimens.server)}`\n\n" + "\n".join(shown)


def life_cycle_section() -> str:
    """The transition table of a payment."""
    return _life_cycle(TRANSITIONS, INITIAL, FINAL)


def refund_life_cycle_section() -> str:
    """The transition table of a refund."""
    return _life_cycle(REFUND_TRANSITIONS, REFUND_INITIAL, REFUND_FINAL)


def _life_cycle(transitions: Mapping[tuple[S, E], S], initial: str, final: Iterable[str]) -> str:
    """A transition table as a Mermaid state diagram and as a table."""
    arrows = [f"    {state} --> {to}: {event}" for (state, event), to in transitions.items()]
    ends = [f"    {state} --> [*]" for state in sorted(final)]
    diagram = "\n".join(["stateDiagram-v2", f"    [*] --> {initial}", *arrows, *ends])
    rows = "\n".join(
        f"| `{state}` | `{event}` | `{to}` |" for (state, event), to in transitions.items()
    )
    return f"```mermaid\n{diagram}\n```\n\n| state | event | next |\n|---|---|---|\n{rows}\n"


def refusals_section() -> str:
    """In which order each statement of a payment is judged: the lists that the code shows."""
    judges: dict[type[Statement], Callable[..., object]] = {
        PaymentRequest: accept_request,
        Confirmation: accept_confirmation,
        Capture: accept_order,
        Refund: accept_refund,
        MethodDefault: choose_default,
        Coupling: couple,
        Uncoupling: uncouple,
        Release: release_jack,
        MemberRemoval: remove_member,
    }
    return "\n".join(f"`{model.TYP}`{_also(model)}\n\n{_steps(j)}" for model, j in judges.items())


#: What is judged in the same order as another.
_LIKE: dict[type[Statement], type[Statement]] = {Capture: Cancel, MethodDefault: MethodRemoval}


def _also(model: type[Statement]) -> str:
    return f", `{_LIKE[model].TYP}`" if model in _LIKE else ""


def _steps(judge: Callable[..., object]) -> str:
    """The numbered list in the function's docstring."""
    text = inspect.getdoc(judge) or ""
    listed = text[text.index("1. ") :].split("\n\n")[0]
    return listed.replace("``", "`") + "\n"


def limits_section() -> str:
    """Each limit with its value and the reason that stands above it in the code."""
    source = Path(limits.__file__).read_text(encoding="utf-8")
    entries = re.findall(r"((?:#: .*\n)+)([A-Z_]+): Final", source)
    rows = "\n".join(
        f"| `{name}` | {getattr(limits, name)} | {_sentence(comment)} |"
        for comment, name in entries
    )
    return f"| limit | value | why |\n|---|---|---|\n{rows}\n"


def _sentence(comment: str) -> str:
    return " ".join(line.removeprefix("#:").strip() for line in comment.splitlines())


def errors_section() -> str:
    """Every code with HTTP status, title and what to do next."""
    rows = "\n".join(
        f"| `{code}` | {problem.status} | {problem.title}. | {problem.next_step} |"
        for code, problem in PROBLEMS.items()
    )
    return f"| code | status | meaning | what to do |\n|---|---|---|---|\n{rows}\n"


def checks_section() -> str:
    """Every check of the doctor: what it looks at and expects, why, and what to do."""
    return "\n".join(
        f"### `{check.name}`: {check.title}\n\n"
        f"- Looked at: {check.looked_at}{f' ({check.unit})' if check.unit else ''}.\n"
        f"- Expected: {check.expected}.\n"
        f"- Why: {check.means}\n"
        f"- What to do, unless the row knows better: {_as_typed(check.do)}\n"
        for check in CHECKS
    )


def _as_typed(do: str) -> str:
    """A command as code, which leaves its characters alone."""
    return f"`{do}`" if do.partition(" ")[0] in _PROGRAMS else f"{do}."


def known_bad_section() -> str:
    """Kernels and BlueZ releases that do not work."""
    rows = "\n".join(
        f"| {', '.join(map(str, bad.kernels))} | {bad.bluez} | {bad.state} "
        f"| {bad.what} | {bad.do} | {bad.source} |"
        for bad in KNOWN_BAD
    )
    titles = "| kernel | BlueZ | state | what happens | what to do | reported |"
    return f"{titles}\n{'|---' * 6}|\n{rows}\n"


def causes_section() -> str:
    """The rules by which a trial's report finds causes."""
    heads = "| cause | what is in the traces |\n|---|---|\n"
    parts = [
        heads + "".join(f"| {rule.title} | {rule.seen} |\n" for rule in rules)
        for rules in (FAILURES, SLOWNESS)
    ]
    return "\n".join(parts)


def metrics_section() -> str:
    """Every metric of jack, phone and terminal, and who serves it."""
    rows = "\n".join(
        f"| `{metric.full_name}` | {metric.kind} | {_codes(metric.labels)} | {metric.unit} "
        f"| {', '.join(metric.parties)}{' with a radio' if metric.radio else ''} | {metric.told} |"
        for metric in METRICS
    )
    return f"| name | kind | labels | unit | agents | what |\n{'|---' * 6}|\n{rows}\n"


def legs_section() -> str:
    """The parts of a payment that each agent times."""
    rows = "\n".join(
        f"| {party} | `{leg.name}` | `{leg.begins}` | `{leg.ends}` |"
        for party, legs in LEGS.items()
        for leg in legs
    )
    return f"| agent | leg | from | to |\n|---|---|---|---|\n{rows}\n"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


#: What each document has, by the name between its markers.
_SECTIONS: dict[Path, dict[str, Callable[[], str]]] = {
    PROTOCOL: {
        "statements": statements_section,
        "life-cycle": life_cycle_section,
        "refund-life-cycle": refund_life_cycle_section,
        "refusals": refusals_section,
        "limits": limits_section,
        "errors": errors_section,
    },
    EVIDENCE: {"journal": journal_section},
    DOCTOR: {"checks": checks_section, "known-bad": known_bad_section},
    METRICS_PAGE: {"metrics": metrics_section, "legs": legs_section},
    TRIAL_REPORT: {"causes": causes_section},
}


def written(text: str, document: Path = PROTOCOL) -> str:
    """``text`` of a document with its generated sections as the code has them."""
    for name, section in _SECTIONS[document].items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        head, _, rest = text.partition(begin)
        _, _, tail = rest.partition(end)
        text = f"{head}{begin}\n{section()}{end}{tail}"
    return text


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; fail if a document is out of date.")
def main(check: bool) -> None:
    """Write the generated sections of the documents that have some."""
    for document in _SECTIONS:
        _write(document, check=check)


def _write(document: Path, *, check: bool) -> None:
    name = f"docs/{document.name}"
    text = document.read_text(encoding="utf-8")
    if written(text, document) == text:
        click.echo(f"{name} is up to date")
    elif check:
        raise click.ClickException(f"{name} is out of date; run: python -m fieldkit.docs")
    else:
        document.write_text(written(text, document), encoding="utf-8")
        click.echo(f"{name} rewritten")


if __name__ == "__main__":
    main()
