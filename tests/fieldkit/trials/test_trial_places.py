"""The lanes of the trial that ships, as places where rules are tried."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner

from fieldkit.cli import main
from fieldkit.trials.archive import Trial
from fieldkit.trials.trial_places import places
from fieldkit.world.tally import Outcome

EXAMPLE = Path(__file__).parents[3] / "seeds" / "trials" / "example.trial"


def test_who_stood_there_is_known_for_every_charge() -> None:
    found = places(Trial.open(EXAMPLE))
    assert {place.recording.lane for place in found} == {"lane-1", "pump-3"}
    questions = [question for place in found for question in place.questions]
    assert len(questions) >= 5
    assert {question.group for question in questions} == {
        "first-day: mina-jack",
        "first-day: joon-jack",
    }
    usual = Counter(one.outcome for place in found for one in place.play([place.usual]))
    assert usual == {Outcome.RIGHT: len(questions) - 1, Outcome.AMBIGUOUS: 1}
    for place in found:
        (deaf,) = {one.outcome for one in place.play([replace(place.usual, min_rssi_dbm=-30.0)])}
        assert deaf is Outcome.NONE


def test_without_marks_or_truth_there_is_nothing_to_judge_by(tmp_path: Path) -> None:
    with zipfile.ZipFile(EXAMPLE) as opened:
        opened.extractall(tmp_path)
    manifest = json.loads((tmp_path / "trial.json").read_text()) | {"truth": None, "files": {}}
    (tmp_path / "trial.json").write_text(json.dumps(manifest))
    for trace in tmp_path.rglob("trace*.jsonl"):
        lines = trace.read_text().splitlines()
        trace.write_text("\n".join(line for line in lines if "trial_marked" not in line) + "\n")
    result = CliRunner().invoke(main, ["tune", str(tmp_path)])
    assert result.exit_code == 1
    assert "fieldkit trial mark TEXT --at-lane LANE --jack JACK" in " ".join(result.output.split())


def test_rules_are_tuned_on_a_trial(tmp_path: Path) -> None:
    figures, rules = tmp_path / "tune.json", tmp_path / "rules.toml"
    options = ["--folds", "2", "--halvings", "0", "--json", str(figures), "--write", str(rules)]
    result = CliRunner().invoke(main, ["tune", str(EXAMPLE), *options])
    assert result.exit_code == 0, result.output
    assert "min_rssi_dbm" in rules.read_text()
    assert "Record more before you rely on this" in " ".join(result.output.split())
