"""``python -m server.client``: what docs/api.md does not show, at a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from server.client_commands import Device
from tests.server.process import DEADLINE_S, command, environment, started
from twochannel.protocol.envelope import unverified_claims


@dataclass
class Site:
    """A server, the folder of a device to be, and the operator's code for it."""

    url: str
    folder: Path
    code: str

    def run(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "server.client", "--device", str(self.folder), *arguments]
        return subprocess.run(
            line,
            input=text,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
            env=environment(),
        )

    def enroll(self, role: str = "phone") -> subprocess.CompletedProcess[str]:
        return self.run("enroll", self.url, self.code, "--role", role)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    state = tmp_path / "server"
    assert command(state, "init", "--port", "0").returncode == 0
    added = command(state, "phones", "add", "Mina", "--json")
    with started(state) as process:
        code = json.loads(added.stdout)["enrolment_code"]
        yield Site(process.ready["url"], tmp_path / "device", code)


def test_a_device_enrols_once_and_is_its_owners_alone(site: Site) -> None:
    answer = json.loads(site.enroll().stdout)
    device = Device(site.folder)
    assert (answer["id"], answer["role"]) == (device.signer.key.kid, "phone")
    assert all(file.stat().st_mode & 0o077 == 0 for file in site.folder.rglob("*.*"))
    again = site.enroll()
    assert (again.returncode, "enrolled already" in again.stderr) == (1, True)


def test_an_enrolment_whose_answer_was_lost_is_sent_again_as_it_was(site: Site) -> None:
    assert site.enroll().returncode == 0
    # As it was when the process died before the answer came.
    device = Device(site.folder)
    (site.folder / "server.json").rename(site.folder / "lost.json")
    assert site.enroll().returncode == 1
    kept = (site.folder / "enrolment.jwt").read_text()
    assert unverified_claims(kept)["iss"] == device.signer.key.kid


def test_what_is_refused_is_a_sentence_with_its_code(site: Site) -> None:
    wrong = site.run("enroll", site.url, site.code[:-1] + "!", "--role", "phone")
    assert wrong.returncode == 1
    assert "[enrolment_code_refused]" in wrong.stderr
    away = site.run("enroll", "https://127.0.0.1:9", site.code, "--role", "phone")
    assert "no server answers" in away.stderr
    none = site.run("sign", "cancel+jwt", text="{}")
    assert "no device" in none.stderr


@pytest.mark.parametrize("text", ["", "[]", "{", '{"sub": 1}', '{"sub": "x", "more": 1}'])
def test_claims_that_no_statement_has_are_not_signed(site: Site, text: str) -> None:
    site.enroll()
    refused = site.run("sign", "method-removal+jwt", text=text)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("Error: ")
    assert "Traceback" not in refused.stderr


def test_the_servers_time_may_be_given(site: Site) -> None:
    site.enroll()
    proof = site.run("proof", "GET", "/v1/jacks", "--now-s", "1700000000").stdout
    claims = unverified_claims(proof)
    assert (claims["iat"], claims["htm"], claims["htu"]) == (1_700_000_000, "GET", "/v1/jacks")


def test_only_what_this_server_has_signed_is_read(site: Site) -> None:
    site.enroll()
    own = site.run("proof", "GET", "/v1/jacks").stdout
    refused = site.run("read", text=own)
    assert refused.returncode == 1
    assert "proof+jwt is no statement of a server" in refused.stderr
