"""``cigarjack-server webhook``, and a whole server that tells a merchant."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from server.cli import main
from server.state import StateFolder
from tests.server.bench import JWT, MERCHANT, copied
from tests.server.devices import Devices
from tests.server.process import challenge_of, client, started, wait_for_end
from tests.server.receiver import receiving


@pytest.fixture
def own(prepared: tuple[StateFolder, Devices], tmp_path: Path) -> tuple[StateFolder, Devices]:
    folder, devices = copied(prepared, tmp_path / "server")
    with (folder.path / "config.toml").open("a", encoding="utf-8") as file:
        file.write("webhook_loopback = true\n")
    return folder, devices


def run(folder: StateFolder, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--state", str(folder.path), "webhook", *arguments])


def said(folder: StateFolder, *arguments: str) -> Any:
    result = run(folder, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def pay(folder: StateFolder, devices: Devices, url: str) -> str:
    with client(folder, url) as http:
        made = http.post("/v1/payments", content=devices.request(), headers=JWT).json()
        payment = str(made["id"])
        confirmation = devices.confirmation(payment, challenge_of(folder, payment))
        path = f"/v1/payments/{payment}/confirmation"
        http.post(path, content=confirmation, headers=JWT)
        assert wait_for_end(http, devices, payment)["status"] == "captured"
    return payment


def test_a_merchant_is_told_by_the_running_server(own: tuple[StateFolder, Devices]) -> None:
    folder, devices = own
    with receiving() as receiver:
        endpoint = said(folder, "add", MERCHANT, receiver.url + "/hooks")
        with started(folder.path) as process:
            payment = pay(folder, devices, process.ready["url"])
            message = receiver.next()
            content = message.verified(endpoint["secret"])
            assert content["data"]["payment"]["id"] == payment
            (delivery,) = said(folder, "deliveries")["items"]
            run(folder, "resend", str(delivery["delivery"]))
            assert receiver.next().body == message.body
            assert process.end() == 0


def test_what_was_being_sent_at_a_sudden_death_is_sent_after_it(
    own: tuple[StateFolder, Devices],
) -> None:
    folder, devices = own
    with receiving() as receiver:
        receiver.will(receiver.hang)
        secret = said(folder, "add", MERCHANT, receiver.url)["secret"]
        with started(folder.path) as process:
            pay(folder, devices, process.ready["url"])
            first = receiver.next()
            process.end(signal.SIGKILL)
        receiver.released.set()
        _let_time_pass(folder)
        with started(folder.path):
            again = receiver.next()
        assert (again.id, again.body) == (first.id, first.body)
        again.verified(secret)


def _let_time_pass(folder: StateFolder) -> None:
    """The try that died is taken for 20 s more; a test does not wait them out."""
    store = folder.open_store()
    store.write_now(lambda c: c.exec_driver_sql("UPDATE webhook_deliveries SET next_at_ms = 1"))
    store.close_now()


def test_endpoints_are_listed_rotated_disabled_and_removed(
    own: tuple[StateFolder, Devices],
) -> None:
    folder, _ = own
    assert "None yet" in run(folder, "list").stderr
    shown = run(folder, "add", "Blue Bottle", "https://shop.example/hooks")
    assert "Secret, shown only now: whsec_" in shown.stdout
    (row,) = said(folder, "list")["items"]
    assert (row["merchant_id"], row["state"]) == (MERCHANT, "enabled")
    assert not [name for name in row if "secret" in name]
    endpoint = row["id"]
    rotated = said(folder, "rotate", endpoint, "--overlap-hours", "1")
    assert rotated["secret"] not in shown.stdout
    assert "signs too until" in run(folder, "rotate", endpoint).stdout
    assert "enabled" in run(folder, "enable", endpoint).stdout
    assert said(folder, "enable", endpoint)["state"] == "enabled"
    assert endpoint in run(folder, "list").stdout
    assert "0 deliveries are dropped" in run(folder, "remove", endpoint).stdout
    assert said(folder, "list")["items"] == []
    gone = run(folder, "rotate", endpoint)
    assert (gone.exit_code, "no endpoint" in gone.stderr) == (1, True)


def test_what_cannot_be_added(own: tuple[StateFolder, Devices]) -> None:
    folder, _ = own
    for merchant, url, words in (
        ("nobody", "https://shop.example/", "no merchant"),
        (MERCHANT, "http://shop.example/", "begins with https"),
    ):
        result = run(folder, "add", merchant, url)
        assert (result.exit_code, words in result.stderr) == (1, True)


def test_deliveries_are_shown_with_their_tries(own: tuple[StateFolder, Devices]) -> None:
    folder, devices = own
    assert "None." in run(folder, "deliveries").stderr
    with receiving() as receiver:
        receiver.will(500)
        endpoint = said(folder, "add", MERCHANT, receiver.url)["id"]
        with started(folder.path) as process:
            pay(folder, devices, process.ready["url"])
            receiver.next()
            asked = ("deliveries", "--endpoint", endpoint, "--state", "queued")
            while said(folder, *asked)["items"][0]["status"] is None:
                pass
            assert process.end() == 0
    (delivery,) = said(folder, *asked)["items"]
    assert (delivery["kind"], delivery["attempts"]) == ("payment.captured", 1)
    assert "payment.captured" in run(folder, "deliveries").stdout
    tries = said(folder, "deliveries", "--tries", str(delivery["delivery"]))["items"]
    assert [(row["number"], row["status"]) for row in tries] == [(1, 500)]
    assert said(folder, "deliveries", "--state", "failed")["items"] == []
    assert said(folder, "remove", endpoint)["dropped"] == 1
