"""``fieldkit world`` as it is typed: table, report and document."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fieldkit.cli import main

PLACE = """
title = "Two <lanes>"
duration_s = 90

[[attackers]]
at_m = [3, 2]
tx_power_dbm = 0

[[traffic]]
from_m = [-30, 9]
to_m = [30, 9]
every_s = 5

[[parked]]
at_m = [5, 12]
columns = 3

[[metal]]
from_m = [-1, 3]
to_m = [1, 3]
"""
LANE = """
[[lanes]]
name = "{name}"
terminal_m = [0, {y}]
stop_m = [0, {y}.9]
entry_m = [-26, {y}.9]
exit_m = [26, {y}.9]
arrivals_s = 8
"""


def world(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        main,
        ["world", *arguments, "--report", str(folder / "r.html"), "--json", str(folder / "r.json")],
    )


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    attacked, quiet = tmp_path / "attacked.toml", tmp_path / "quiet.toml"
    attacked.write_text(PLACE + LANE.format(name="A", y=0) + LANE.format(name="B", y=4))
    quiet.write_text('title = "Quiet"\nduration_s = 90\n' + LANE.format(name="A", y=0))
    return str(attacked), str(quiet)


class Tags(HTMLParser):
    """Opened and closed in turn, and nothing from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.links += [
            value for name, value in attrs if value and name in {"href", "src", "xlink:href"}
        ]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_table_report_and_document_tell_the_same(tmp_path: Path, files: tuple[str, str]) -> None:
    ended = world(tmp_path, *files)
    assert ended.exit_code == 0, ended.output
    document = json.loads((tmp_path / "r.json").read_text())
    assert [place["name"] for place in document["scenarios"]] == ["attacked", "quiet"]
    asked = document["all"]["policies"]["shared"]["questions"]
    assert asked == sum(p["policies"]["shared"]["questions"] for p in document["scenarios"]) > 10
    assert re.search(rf"all of them +{asked} ", ended.output)
    assert "What the till is told" in ended.output
    # Margins are judged where nobody attacks.
    quiet = document["scenarios"][1]["policies"]["shared"]["matrix"]["jack"]
    margin = document["all"]["margins"][0]
    assert margin["asked"] == sum(quiet.values())

    page = (tmp_path / "r.html").read_text()
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert {"svg", "table", "figure"} <= tags.seen
    assert "script" not in tags.seen
    assert all(link.startswith("#") for link in tags.links)
    assert "Two &lt;lanes&gt;" in page
    assert "#0102" not in page  # every stand-in has become a colour of the page
    assert "default-src 'none'" in page


def test_the_same_seed_gives_the_same_document(tmp_path: Path, files: tuple[str, str]) -> None:
    documents = []
    for seed in ("5", "5", "6"):
        assert world(tmp_path, files[1], "--seed", seed).exit_code == 0
        documents.append((tmp_path / "r.json").read_text())
    assert documents[0] == documents[1] != documents[2]


def test_all_files_that_are_none_are_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text("title = 1\n")
    refused = world(tmp_path, str(tmp_path / "a.toml"), str(tmp_path / "b.toml"))
    assert refused.exit_code == 1
    assert "a.toml is not a scenario" in refused.output
    assert "b.toml is not a scenario" in refused.output
    assert not (tmp_path / "r.html").exists()


def test_files_or_all_of_them(tmp_path: Path, files: tuple[str, str]) -> None:
    assert world(tmp_path).exit_code == 2
    assert world(tmp_path, "--all", *files).exit_code == 2


def test_a_report_that_cannot_be_written_is_told_first(tmp_path: Path) -> None:
    refused = CliRunner().invoke(
        main, ["world", "--all", "--report", str(tmp_path / "no" / "r.html")]
    )
    assert refused.exit_code == 1
    assert "There is no folder" in refused.output
