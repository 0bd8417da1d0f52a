"""What a soak concludes from its samples, payments and audit."""

from __future__ import annotations

from collections.abc import Callable

from fieldkit.results import AuditCheck
from fieldkit.soak.page import render
from fieldkit.soak.plan import STRETCH, stretches
from fieldkit.soak.samples import Sample
from fieldkit.soak.soak import Bounds, Outcome, Paid
from fieldkit.trials import steps
from fieldkit.trials.scenario import SCENARIOS_FOLDER, load

CLEAN = AuditCheck("one charge for each payment", 3, ())
SCENARIO = load(SCENARIOS_FOLDER / "soak.toml")


def outcome(
    rss_mib: Callable[[float], float] = lambda _at_s: 80.0,
    descriptors: Callable[[float], int] = lambda _at_s: 30,
) -> Outcome:
    """Two hours of two agents, of which the jack is as told."""
    found = Outcome(1, Bounds(), audit=[CLEAN], lasted_s=7200.0)
    for at_s in map(float, range(0, 7200, 20)):
        found.samples.taken += [
            Sample("mina-jack", 7, at_s, rss_mib(at_s), 40.0, descriptors(at_s)),
            Sample("server", 8, at_s, 120.0, 90.0, 60),
        ]
    found.paid = [Paid(10.0, 512.0, "captured"), Paid(600.0, 5100.0, "declined")]
    found.faults = [{"name": "wifi_lost", "machine": "x", "from_s": 5.0, "to_s": 9.0}]
    return found


def test_all_is_well_if_nothing_grows_and_the_audit_is_clean() -> None:
    found = outcome()
    assert found.problems == []
    assert found.to_json()["ok"] is True
    assert "All well for 2.0 hours" in render(found)


def test_a_leak_of_memory_or_descriptors_is_a_problem() -> None:
    (problem,) = outcome(rss_mib=lambda at_s: 80 + at_s / 300).problems
    assert problem.startswith("mina-jack: memory (MiB) grow by 1")
    (problem,) = outcome(descriptors=lambda at_s: 30 + round(at_s / 100)).problems
    assert problem.startswith("mina-jack: descriptors grow by 3")
    assert "1 problem in 2.0 hours" in render(outcome(rss_mib=lambda at_s: 80 + at_s / 300))


def test_an_audit_with_findings_or_none_at_all_is_a_problem() -> None:
    found = outcome()
    found.audit = [AuditCheck("one charge for each payment", 3, ("charged twice: x",))]
    assert found.problems == ["Audit: charged twice: x"]
    found.audit = None
    assert found.problems == ["The audit was not made."]


def test_a_report_is_drawn_even_of_nothing() -> None:
    page = render(Outcome(1, Bounds(), failures=["the server did not start"]))
    assert "the server did not start" in page


def test_stretches_are_made_by_the_seed_and_hold_every_kind_of_fault() -> None:
    made = stretches(SCENARIO, seed=2)
    many = [next(made) for _ in range(200)]
    again = stretches(SCENARIO, seed=2)
    assert many == [next(again) for _ in range(200)]
    assert all(steps.payments(stretch) == STRETCH for stretch in many)
    kinds = {step.do for stretch in many for step in stretch}
    assert {"wifi_lost", "radio_restarted", "set_clock", "power_cut", "server_restarted"} <= kinds
    cut = {step.car for stretch in many for step in stretch if isinstance(step, steps.PowerCut)}
    assert cut == {"joon"}
