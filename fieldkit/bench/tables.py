"""The measurements as tables for people. Pure but for rich's own look at the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from fieldkit import legs
from fieldkit.bench.agent_footprint import AgentFigures
from fieldkit.bench.ciba_peer import PeerFigures
from fieldkit.bench.latency import LANE_INTERVAL_MS, LatencyFigures, LatencyFloors
from fieldkit.bench.phone_streams import StreamFigures
from fieldkit.bench.quantiles import Summary
from fieldkit.bench.registered_jacks import JacksFigures
from fieldkit.bench.replay_speed import ReplayFigures
from fieldkit.bench.server_load import EXCHANGES, ServerFigures
from fieldkit.bench.server_profile import Profile

#: The speed and memory that the project set out to reach (docs/measurements.md).
LATENCY_TARGET_MS: Final = 150
FIRST_ADVERT_TARGET_MS: Final = 1000
JACK_RSS_TARGET_MIB: Final = 70
#: Processor time of a payment to that of a flow of the peer.
PEER_TARGET: Final = 0.5

#: What happens in each leg.
_LEGS: Final = {
    "heard": "the terminal chooses the jack it hears",
    "requested": "nonce on the air, request signed and stored, sent, received",
    "challenged": "server verifies, stores, signs; the phone has the challenge",
    "auth_code": "jack hears the lane, counts, signs; the phone has the code",
    "confirmed": "policy, signature, intent stored; server verifies and stores",
    "settled": "processor, receipt, answer to the terminal",
}


def latency_tables(figures: LatencyFigures) -> list[Group]:
    """From charge to capture, its legs, and the floors."""
    return [_latency(figures), _legs(figures), _floors(figures.floors)]


def server_tables(figures: ServerFigures) -> list[Group]:
    """Cost of a payment beside its floors, and what its parties see."""
    tables = [_server_cost(figures), _server_speed(figures), _registry(figures)]
    tables += [_peer(figures, figures.peer)] if figures.peer else []
    return tables + (_profile(figures.profile) if figures.profile else [])


def streams_tables(figures: StreamFigures) -> list[Group]:
    """What connected phones cost the server."""
    return [_streams(figures)]


def agent_tables(figures: AgentFigures) -> list[Group]:
    """Starts, memory, imports."""
    return [_starts(figures), _agent_memory(figures), _imports(figures)]


def jacks_tables(figures: JacksFigures) -> list[Group]:
    """What registered jacks cost the server."""
    return [_index(figures)]


def replay_tables(figures: ReplayFigures) -> list[Group]:
    """How fast a recording is replayed."""
    return [_replay(figures)]


def outcomes_text(outcomes: Mapping[str, int]) -> str:
    """How the payments of a run ended: ``500 captured``."""
    return ", ".join(f"{count} {status}" for status, count in sorted(outcomes.items())) or "none"


# --- shapes


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _judged(value: float | None, target: float, unit: str) -> str:
    """Whether ``value`` is under its target; said, not coloured alone."""
    if value is None:
        return "not measured"
    return f"{'under' if value < target else 'OVER'} {target:g} {unit}"


def _titled(title: str, table: Table) -> Group:
    """Above the table: as its title it would be folded to the table's width."""
    return Group(Text(title, style="bold"), table)


def _table(first: str, *figures: str) -> Table:
    table = Table()
    table.add_column(first)
    for name in figures:
        table.add_column(name, justify="right")
    return table


def _distribution(summary: Summary) -> tuple[str, str, str]:
    return _number(summary.median), _number(summary.p90), _number(summary.most)


# --- latency


def _latency(figures: LatencyFigures) -> Group:
    captured = outcomes_text(figures.outcomes)
    title = f"Charge to capture: {captured}, {figures.with_presence} with presence proven (ms)"
    table = _table("what", "median", "90 %", "most", "target")
    command = figures.command_ms
    table.add_row(
        "payment-device charge, spawn to exit",
        *_distribution(command),
        _judged(command.median, LATENCY_TARGET_MS, "ms"),
    )
    for what, taken in (
        ("  the agents: charge_asked to payment_settled", figures.agents_ms),
        ("  the rest: the command's own start and exit", figures.around_ms),
        ("charge_asked to the lane frame on the air", figures.lane_on_air_ms),
        ("from there to the jack hearing it", figures.lane_heard_ms),
    ):
        table.add_row(what, *_distribution(taken), "")
    return _titled(title, table)


def _legs(figures: LatencyFigures) -> Group:
    table = _table("leg", "median", "90 %", "most", "share")
    table.add_column("what happens")
    for leg in legs.ENDS:
        share = f"{figures.leg_shares[leg]:.1%}"
        table.add_row(leg, *_distribution(figures.legs_ms[leg]), share, _LEGS[leg])
    return _titled("Legs (ms)", table)


def _floors(floors: LatencyFloors) -> Group:
    table = _table("floor", "ms")
    table.add_column("why", overflow="fold")
    delivered = f"{floors.lane_delivered:.1%}"
    table.add_row(
        "wait for the lane frame, mean",
        _number(floors.lane_wait_mean_ms),
        f"the first is sent at once, {delivered} arrive, the next comes after "
        f"{LANE_INTERVAL_MS} ms and a random 0 to 10 ms",
    )
    table.add_row(
        "the same, 99 %", _number(floors.lane_wait_p99_ms), "one lost, or several in a row"
    )
    table.add_row(
        "the same, half the scan window",
        _number(floors.lane_wait_half_duty_ms),
        "mean for a scanner that listens 30 of 60 ms; here it never sleeps",
    )
    table.add_row(
        "one lane frame on the air",
        _number(floors.advert_air_time_ms, 3),
        "47 bytes at 1 Mbit/s; the virtual air takes no time for it",
    )
    table.add_row(
        "all signatures of all parties",
        _number(floors.crypto_ms, 2),
        "5 made and 7 verified one after the other, on this processor",
    )
    table.add_row(
        "one commit to this disk, median",
        _number(floors.commit_ms.median, 2),
        "terminal, jack, phone and server each wait for some",
    )
    table.add_row(
        "an empty Python process, median",
        _number(floors.interpreter_ms.median),
        "in the typed command alone",
    )
    table.add_row(
        "a car that arrives: first beacon",
        _number(floors.beacon_first_heard_ms),
        "mean; not in a payment, for a car stands before it is charged",
    )
    return _titled("What no software can save (ms)", table)


# --- server


def _server_cost(figures: ServerFigures) -> Group:
    title = f"Server processor time: {outcomes_text(figures.outcomes)}"
    table = _table("what", "ms", "payment is")
    table.add_row("one whole payment", _number(figures.cpu_per_payment_ms, 2), "")
    table.add_row("  of it in user space", _number(figures.cpu_user_ms, 2), "")
    table.add_row("  of it in the kernel", _number(figures.cpu_system_ms, 2), "")
    table.add_row(
        "crypto floor: 3 verified, 2 signed",
        _number(figures.crypto_floor_ms, 2),
        _times(figures.cpu_to_crypto_floor),
    )
    table.add_row(
        "the same as whole statements",
        _number(figures.statements_floor_ms, 2),
        _times(figures.cpu_to_statements_floor),
    )
    table.add_row(
        f"{EXCHANGES} bare requests (GET /healthz)",
        _number(EXCHANGES * figures.healthz_cpu_ms, 2),
        _times(figures.cpu_to_bare_exchanges),
    )
    return _titled(title, table)


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1f} x"


def _server_speed(figures: ServerFigures) -> Group:
    title = (
        f"{figures.payments_per_s:.1f} payments/s on {figures.concurrency} lanes, "
        "every commit on disk"
    )
    table = _table("milliseconds", "median", "90 %", "95 %", "most")
    for name, text in (
        ("payment", "request to outcome (terminal)"),
        ("challenge", "request to challenge (phone)"),
        ("confirmation", "confirmation to answer (phone)"),
    ):
        seen = figures.latency_ms[name]
        quantiles = (seen.median, seen.p90, seen.p95, seen.most)
        table.add_row(text, *map(_number, quantiles))
    beside = (
        f"Cores used: server {figures.server_busy:.2f}, bench {figures.bench_busy:.2f}. "
        f"Written per payment: {figures.written_kib_per_payment:.0f} KiB."
    )
    return Group(_titled(title, table), Text(beside))


def _registry(figures: ServerFigures) -> Group:
    registry = figures.registry
    columns = ("ready in s", "MiB when ready", "MiB after payments", "slots begun")
    table = _table("jacks", *columns)
    table.add_row(
        f"{registry.jacks:,}",
        _number(registry.ready_s),
        _number(registry.ready_memory.rss_mib),
        _number(figures.server_memory.rss_mib),
        str(registry.slots_begun),
    )
    return _titled("The server with its registered jacks: start, and resident memory", table)


def _peer(figures: ServerFigures, peer: PeerFigures) -> Group:
    title = f"The peer: {peer.name} {peer.version}, OpenID CIBA in poll mode, nothing on disk"
    table = _table("what", "processor ms", "in a second", "own core", "bench's core")
    table.add_row(
        "one flow of the peer",
        _number(peer.cpu_per_flow_ms, 2),
        _number(peer.flows_per_s),
        _number(peer.peer_busy, 2),
        _number(peer.bench_busy, 2),
    )
    table.add_row(
        "one whole payment",
        _number(figures.cpu_per_payment_ms, 2),
        _number(figures.payments_per_s),
        _number(figures.server_busy, 2),
        _number(figures.bench_busy, 2),
    )
    text = f"A payment is {_times(figures.cpu_to_peer)} a flow; the target is {PEER_TARGET:g} x."
    return Group(_titled(title, table), Text(text))


def _profile(profile: Profile) -> list[Group]:
    title = f"Where the server's time goes: {profile.samples} samples of threads at work"
    layers = _table("layer", "%")
    for layer, percent in profile.layers.items():
        layers.add_row(layer, _number(percent))
    functions = _table("function, with the C that it calls", "%", "file")
    for spent in profile.functions:
        functions.add_row(spent.function, _number(spent.percent), spent.file)
    return [_titled(title, layers), _titled("… by function", functions)]


# --- streams


def _streams(figures: StreamFigures) -> Group:
    table = _table(
        "phones", "resident MiB", "KiB a phone", "idle: share of a core", "connects in s"
    )
    table.add_row("none", _number(figures.before.rss_mib), "", "", "")
    table.add_row(
        f"{figures.phones:,}",
        _number(figures.after.rss_mib),
        _number(figures.kib_per_phone),
        _number(figures.idle_busy, 3),
        _number(figures.connected_s),
    )
    told = figures.told_ms
    text = f"A challenge reaches one of them in {_number(told.median)} ms (median of {told.count})."
    return Group(_titled("Phones that listen for events", table), Text(text))


# --- agents


def _starts(figures: AgentFigures) -> Group:
    title = (
        f"Starts (ms): {figures.restarts} each; the jack was heard {figures.restarts_heard} times, "
        f"its clock restored {figures.clocks_restored} times"
    )
    table = _table("from spawn to", "median", "90 %", "most", "target")
    advert = figures.first_advert_ms
    table.add_row(
        "jack: first advert on the air",
        *_distribution(advert),
        _judged(advert.median, FIRST_ADVERT_TARGET_MS, "ms"),
    )
    for kind, ready in figures.ready_ms.items():
        table.add_row(f"{kind}: ready", *_distribution(ready), "")
    return _titled(title, table)


def _agent_memory(figures: AgentFigures) -> Group:
    title = f"Memory after {figures.payments} payments (MiB): {outcomes_text(figures.outcomes)}"
    table = _table("agent", "resident", "proportional", "peak", "at first", "target")
    for kind, held in figures.memory_mib.items():
        target = _judged(held.rss_mib, JACK_RSS_TARGET_MIB, "MiB") if kind == "jack" else ""
        amounts = (held.rss_mib, held.pss_mib, held.peak_mib, figures.fresh_mib[kind].rss_mib)
        table.add_row(kind, *map(_number, amounts), target)
    return _titled(title, table)


def _imports(figures: AgentFigures) -> Group:
    imports = figures.jack_imports
    title = f"Imports of the jack: {imports.modules} modules, {imports.total_ms:.0f} ms"
    table = _table("package", "modules", "ms")
    for found in imports.slowest:
        table.add_row(found.package, str(found.modules), _number(found.self_ms))
    return _titled(title, table)


# --- registered jacks


def _index(figures: JacksFigures) -> Group:
    columns = ("a slot (ms)", "a code (us)", "longest step (ms)", "a jack (bytes)")
    table = _table("jacks", *columns, "known (us)", "unknown (us)")
    table.columns[0].no_wrap = True
    for size in figures.sizes:
        table.add_row(
            f"{size.jacks:,}",
            _number(size.slot_ms, 2),
            _number(size.code_us, 2),
            _number(size.step_ms.most, 2),
            _number(size.bytes_per_jack, 0),
            _number(size.look_up_us.median),
            _number(size.unknown_us.median),
        )
    once = (
        f"Taken in once, at the start or when paired: {figures.identity_key_us.median} us a jack."
    )
    title = "Registered jacks: codes of one slot, memory with all slots, look-up of a code"
    return Group(_titled(title, table), Text(once))


# --- replay


def _replay(figures: ReplayFigures) -> Group:
    title = (
        f"Replay of {figures.lanes} lanes ({figures.scenario}): {figures.adverts:,} adverts, "
        f"{figures.decisions:,} decisions, {figures.recorded_s:,.0f} s of hearing"
    )
    table = _table("what", "least", "median", "most")
    for name, told in (
        ("adverts a second", figures.adverts_per_s),
        ("times as fast as heard", figures.times_real),
    ):
        table.add_row(name, *(_number(value, 0) for value in (told.least, told.median, told.most)))
    return _titled(title, table)
