"""What an operator does with the image."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from server.state import StateFolder
from tests.container.conftest import IMAGE, Container, Engine
from twochannel.tls import client_context

#: Whom the image runs as.
_NOBODY = 10001
_SECOND_NS = 10**9
#: Settings that need a library, and what a server says that has it, and nothing to use it on.
_ASKED = {
    'processor = "stripe"': "the processor is Stripe and its key is missing",
    'database = "postgresql+psycopg://nobody@127.0.0.1:1/none"': "PostgreSQL does not answer",
    'mqtt = "mqtts://127.0.0.1"\nmqtt_ca = "/nowhere"': "mqtt_ca: /nowhere",
    'keys = "pkcs11:token=none?module-path=/nowhere.so"': "on token none",
}


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    folder = tmp_path / "volume"
    folder.mkdir(mode=0o700)
    os.chown(folder, _NOBODY, _NOBODY)
    return folder


@pytest.fixture
def container(engine: Engine, volume: Path) -> Iterator[Container]:
    with engine.container(volume) as made:
        yield made


def test_the_server_is_set_up_runs_and_ends_in_order(
    engine: Engine, container: Container, volume: Path, tmp_path: Path
) -> None:
    made = container.command("init", "--host", "127.0.0.1", "--port", "0", "--json")
    assert made.returncode == 0, made.stderr
    added = container.command("merchants", "add", "Blue Bottle", "--json")
    assert added.returncode == 0, added.stderr
    with container.running(tmp_path / "log") as server:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        context = client_context(StateFolder(volume).certificate())
        assert httpx.get(f"{url}/readyz", verify=context, trust_env=False).status_code == 200
        assert _owners(volume) == {_NOBODY}
        _child(server).send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    with engine.container(volume) as another:
        listed = json.loads(another.command("merchants", "list", "--json").stdout)
    assert [merchant["name"] for merchant in listed["items"]] == ["Blue Bottle"]


def test_it_has_the_library_for_whatever_its_settings_ask(
    container: Container, volume: Path
) -> None:
    assert container.command("init").returncode == 0
    for settings, answer in _ASKED.items():
        (volume / "config.toml").write_text(settings)
        said = container.command("run").stderr
        assert (answer in said, "pip install" in said) == (True, False), said
    (volume / "config.toml").write_text("")
    # It gets no password, and looks for the dashboard's packages before it misses that.
    said = container.command("admin", "add", "ada", "--password-stdin").stderr
    assert "a password has 12 to 256 characters" in said


def test_what_its_engine_is_told(engine: Engine) -> None:
    told = json.loads(engine("inspect", "--type", "image", IMAGE))["OCIv1"]["config"]
    assert told["User"] == f"{_NOBODY}:{_NOBODY}"
    assert (told["Entrypoint"], told["Cmd"]) == (["cigarjack-server"], ["run"])
    assert set(told["Volumes"]) == {"/var/lib/cigarjack-server"}
    assert told["StopSignal"] == "SIGTERM"


def test_its_check_of_health_is_told_too(engine: Engine) -> None:
    """Docker's format has one. OCI's has none, and is what engines make unless asked."""
    told = json.loads(engine("inspect", "--type", "image", IMAGE))["Docker"]["config"]
    assert told["Healthcheck"] == {
        "Test": ["CMD", "cigarjack-server", "ready"],
        "Interval": 10 * _SECOND_NS,
        "Timeout": 5 * _SECOND_NS,
        "StartPeriod": 60 * _SECOND_NS,
    }


def _child(engine: subprocess.Popen[str]) -> psutil.Process:
    """The server itself, below the engine's own processes."""
    below = psutil.Process(engine.pid).children(recursive=True)
    (server,) = [each for each in below if each.uids().real == _NOBODY and not each.children()]
    return server


def _owners(volume: Path) -> set[int]:
    return {path.stat().st_uid for path in volume.rglob("*")}
