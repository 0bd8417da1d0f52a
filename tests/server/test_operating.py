"""A server as its operator runs it: ready or not, going, behind a proxy, measured, logged."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from server.cli import main
from server.state import StateFolder
from tests.ports import free_port
from tests.postgresql import postgresql_server
from tests.server.bench import JWT, check_problem, copied, make_folder, running
from tests.server.devices import Devices
from tests.server.process import challenge_of, client, started, wait_for_end
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import Role

DEADLINE_S = 20.0


@pytest.fixture
def own(prepared: tuple[StateFolder, Devices], tmp_path: Path) -> tuple[StateFolder, Devices]:
    return copied(prepared, tmp_path / "server")


def configure(folder: StateFolder, *lines: str) -> None:
    with (folder.path / "config.toml").open("a", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))


def figures(port: int) -> dict[str, float]:
    """What Prometheus would read, by name with labels."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


def until(so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not so():
        assert time.monotonic() < deadline_s


async def test_it_is_ready_unless_the_schema_is_another(own: tuple[StateFolder, Devices]) -> None:
    async with running(*own) as bench:
        answer = await bench.http.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"ok": True})
        bench.store.write_now(
            lambda c: c.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        )
        check_problem(await bench.http.get("/readyz"), ErrorCode.NOT_READY)
        assert (await bench.http.get("/healthz")).json() == {"ok": True}


@pytest.mark.postgresql
async def test_it_is_not_ready_while_postgresql_is_away(tmp_path: Path) -> None:
    with postgresql_server() as server:
        url = server.new_database()
        folder = make_folder(tmp_path / "server", database=url)
        async with running(folder, database=url) as bench:
            assert (await bench.http.get("/readyz")).status_code == 200
            await asyncio.to_thread(server.stop)
            check_problem(await bench.http.get("/readyz"), ErrorCode.NOT_READY)
            assert (await bench.http.get("/healthz")).json() == {"ok": True}
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(DEADLINE_S):
                while (await bench.http.get("/readyz")).status_code != 200:
                    pass


def test_it_says_that_it_stops_before_it_does(own: tuple[StateFolder, Devices]) -> None:
    folder, _ = own
    configure(folder, "drain_s = 600")
    with started(folder.path) as process, client(folder, process.ready["url"]) as http:
        assert http.get("/readyz").status_code == 200
        process.popen.send_signal(signal.SIGTERM)
        until(lambda: http.get("/readyz").status_code == 503)
        assert "about to stop" in http.get("/readyz").json()["detail"]
        assert http.get("/healthz").status_code == 200


def test_waits_and_streams_end_when_it_is_told_to_stop(own: tuple[StateFolder, Devices]) -> None:
    """SIGTERM in the middle of a wait: answered with what is known, then the process ends well."""
    folder, devices = own
    port = free_port()
    configure(folder, f"metrics_port = {port}")
    answers: list[dict[str, Any]] = []
    with started(folder.path) as process, client(folder, process.ready["url"]) as http:
        payment = http.post("/v1/payments", content=devices.request(), headers=JWT).json()["id"]

        def wait() -> None:
            with client(folder, process.ready["url"]) as waiting:
                answers.append(wait_for_end(waiting, devices, payment))

        def stream() -> None:
            proof = devices.proof(devices.phone, "GET", "/v1/events")
            headers = {"authorization": f"Bearer {proof}"}
            with client(folder, process.ready["url"]) as waiting:
                answers.append({"stream": waiting.get("/v1/events", headers=headers).text})

        threads = [threading.Thread(target=act) for act in (wait, stream)]
        for thread in threads:
            thread.start()
        until(
            lambda: (
                figures(port)["cigarjack_waits"] == 1
                and figures(port)["cigarjack_event_streams"] == 1
            )
        )
        assert process.end() == 0
        for thread in threads:
            thread.join()
    told = {name: value for answer in answers for name, value in answer.items()}
    assert (told["id"], told["status"]) == (payment, "pending")
    assert "event: challenge" in told["stream"]


def enrol_wrongly(bench: Any, address: str) -> Any:
    devices = bench.devices
    wrong = devices.enrolment(devices.terminal, Role.TERMINAL, "A" * 22)
    return bench.post("/v1/enrolments", wrong, **{"x-forwarded-for": address})


async def test_addresses_behind_a_trusted_proxy_are_told_apart(
    own: tuple[StateFolder, Devices],
) -> None:
    settings: dict[str, Any] = {
        "trusted_proxies": "127.0.0.0/8",
        "failed_enrolments_per_address": 2,
    }
    async with running(*own, **settings) as bench:
        for address in ("203.0.113.1", "203.0.113.1", "203.0.113.2"):
            check_problem(await enrol_wrongly(bench, address), ErrorCode.ENROLMENT_CODE_REFUSED)
        refused = await enrol_wrongly(bench, "203.0.113.1")
        check_problem(refused, ErrorCode.TOO_MANY_ENROLMENTS)
        # What a client has put before the proxy's own word is not believed.
        refused = await enrol_wrongly(bench, "198.51.100.9, 203.0.113.1")
        check_problem(refused, ErrorCode.TOO_MANY_ENROLMENTS)
        subjects = {row[0] for row in bench.rows("SELECT subject FROM failures")}
        assert subjects == {"203.0.113.1", "203.0.113.2"}


async def test_nobody_else_says_where_a_request_comes_from(
    own: tuple[StateFolder, Devices],
) -> None:
    settings: dict[str, Any] = {
        "trusted_proxies": "192.0.2.0/24",
        "failed_enrolments_per_address": 2,
    }
    async with running(*own, **settings) as bench:
        for address in ("203.0.113.1", "203.0.113.2"):
            check_problem(await enrol_wrongly(bench, address), ErrorCode.ENROLMENT_CODE_REFUSED)
        refused = await enrol_wrongly(bench, "203.0.113.3")
        check_problem(refused, ErrorCode.TOO_MANY_ENROLMENTS)
        assert {row[0] for row in bench.rows("SELECT subject FROM failures")} == {"127.0.0.1"}


def test_behind_a_proxy_that_has_its_certificate_it_speaks_plainly(
    own: tuple[StateFolder, Devices],
) -> None:
    folder, _ = own
    configure(folder, "tls = false")
    with started(folder.path) as process:
        url = process.ready["url"]
        assert url.startswith("http://127.0.0.1:")
        known = httpx.get(f"{url}/.well-known/cigarjack", trust_env=False).json()
        assert known["identity"] == folder.identity()


def pay(folder: StateFolder, devices: Devices, url: str) -> tuple[str, httpx.Response]:
    with client(folder, url) as http:
        made = http.post("/v1/payments", content=devices.request(), headers=JWT)
        payment = str(made.json()["id"])
        confirmation = devices.confirmation(payment, challenge_of(folder, payment))
        path = f"/v1/payments/{payment}/confirmation"
        http.post(path, content=confirmation, headers=JWT)
        assert wait_for_end(http, devices, payment)["status"] == "captured"
    return payment, made


def test_figures_for_prometheus(own: tuple[StateFolder, Devices]) -> None:
    folder, devices = own
    port = free_port()
    configure(folder, f"metrics_port = {port}")
    with started(folder.path) as process:
        payment, _ = pay(folder, devices, process.ready["url"])
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        found = figures(port)
        with client(folder, process.ready["url"]) as http:
            assert http.get("/metrics").status_code == 404
            http.get("/no/such/path")
        assert (
            figures(port)['cigarjack_requests_total{method="GET",route="(none)",status="404"}'] >= 2
        )
    routes = 'cigarjack_requests_total{method="POST",route="/v1/payments",status="201"}'
    assert found[routes] == 1
    assert found['cigarjack_payment_changes_total{status="captured"}'] == 1
    assert found['cigarjack_processor_seconds_count{operation="charge",outcome="approved"}'] == 1
    assert found["cigarjack_outbox_oldest_seconds"] == 0
    assert found["cigarjack_database_up"] == 1
    assert {"cigarjack_webhook_queue", "cigarjack_journal_waiting"} <= found.keys()
    for secret in (payment, devices.terminal.key.kid, devices.phone.key.kid):
        assert secret not in text


def test_each_request_has_an_id_that_its_lines_carry(own: tuple[StateFolder, Devices]) -> None:
    folder, devices = own
    configure(folder, "request_log = true")
    with started(folder.path) as process:
        payment, made = pay(folder, devices, process.ready["url"])
        assert process.end() == 0
    lines = [json.loads(line) for line in process.log.read_text().splitlines()]
    request = made.headers["request-id"]
    own_lines = [line for line in lines if line.get("request") == request]
    assert {line["event"] for line in own_lines} >= {"request", "payment_status"}
    (told,) = [line for line in own_lines if line["event"] == "request"]
    assert (told["method"], told["route"], told["status"]) == ("POST", "/v1/payments", 201)
    (changed,) = [line for line in own_lines if line["event"] == "payment_status"]
    assert changed["payment"] == payment


def test_a_person_may_read_the_log(own: tuple[StateFolder, Devices]) -> None:
    folder, _ = own
    configure(folder, 'log_format = "plain"')
    with started(folder.path) as process:
        assert process.end() == 0
    pattern = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d info draining drain_s=0.0"
    assert re.search(pattern, process.log.read_text())


@pytest.mark.parametrize("proxies", ["proxy.example", "10.0.0.1/8", "127.0.0.1, x"])
def test_proxies_are_addresses_or_networks(own: tuple[StateFolder, Devices], proxies: str) -> None:
    folder, _ = own
    configure(folder, f'trusted_proxies = "{proxies}"')
    result = CliRunner().invoke(main, ["--state", str(folder.path), "run"])
    assert (result.exit_code, "neither an address nor a network" in result.stderr) == (1, True)
