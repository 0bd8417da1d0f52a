"""What the dashboard's pages show, at a real server with real payments."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import Connection, insert, update

from server.dashboard.figures import percentile
from server.dashboard.payments_shown import PAGE
from server.evidence_chain import verify_document
from server.reviews import NEEDS_REVIEW, open_review
from server.schema.orders import outbox
from server.schema.payments import payments, statements
from server.state import StateFolder
from server.succession import rotate
from tests.postgresql import Postgresql
from tests.server.admin_desk import NAME, AdminDesk, dashboard
from tests.server.bench import MERCHANT, copied, make_folder
from tests.server.devices import Devices, new_id, new_signer, seal
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.payment import Status
from twochannel.trace import wall_ms

Prepared = tuple[StateFolder, Devices]


@pytest_asyncio.fixture
async def desk(prepared: Prepared, tmp_path: Path) -> AsyncIterator[AdminDesk]:
    async with dashboard(*copied(prepared, tmp_path / "server")) as desk:
        assert (await desk.log_in()).status_code == 303
        yield desk


def seen(text: str) -> str:
    """What a person reads, without its markup."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text)))


def steps_of(text: str, payment: str) -> list[str]:
    """Which of the five statements of a payment are lit, by the page."""
    _, _, rest = text.partition(f'id="p-{payment}"')
    return re.findall(r'<li class="lit" data-step="([^"]+)"', rest.partition("</ol>")[0])


async def paid(desk: AdminDesk, **changes: str) -> str:
    payment, _, challenge = await desk.bench.pending(**changes)
    confirmation = desk.bench.devices.confirmation(payment, challenge)
    answer = await desk.bench.confirm(payment, confirmation)
    assert answer.json()["status"] == "captured"
    return payment


async def test_statements_light_up_as_they_come(desk: AdminDesk) -> None:
    payment, _, challenge = await desk.bench.pending()
    two = ["payment-request+jwt", "challenge+jwt"]
    page = (await desk.page("/")).text
    assert steps_of(page, payment) == two
    assert "Waiting for the owner" in page
    await desk.bench.confirm(payment, desk.bench.devices.confirmation(payment, challenge))
    page = (await desk.page("/")).text
    five = [*two, "auth-code+jwt", "confirmation+jwt", "receipt+jwt"]
    assert steps_of(page, payment) == five
    assert "€4.50" in page


async def test_an_open_page_is_told_of_each_step(desk: AdminDesk) -> None:
    async with desk.http.stream("GET", "/events") as stream:
        assert stream.status_code == 200
        lines = stream.aiter_lines()

        async def told() -> str:
            async with asyncio.timeout(20):
                return "".join([line async for line in _data(lines)])

        first = await told()
        payment, _, challenge = await desk.bench.pending()
        second = await told()
        await desk.bench.confirm(payment, desk.bench.devices.confirmation(payment, challenge))
        third = await told()
    assert len({first, second, third}) == 3


async def _data(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """The next event's."""
    async for line in lines:
        if line.startswith("data:"):
            yield line
            return


async def test_a_stream_ends_with_its_session(desk: AdminDesk) -> None:
    async with desk.http.stream("GET", "/events") as stream:
        lines = stream.aiter_lines()
        assert [line async for line in _data(lines)]
        store = desk.bench.store
        store.write_now(lambda c: c.exec_driver_sql("DELETE FROM admin_sessions"))
        async with asyncio.timeout(20):
            assert not [line async for line in lines if line.startswith("data:")]


async def test_the_evidence_of_a_payment(desk: AdminDesk) -> None:
    payment = await paid(desk)
    page = seen((await desk.page(f"/payments/{payment}")).text)
    assert "Every signature, link and amount was verified just now" in page
    assert "both signed that they belong together" in page
    assert "4.50 EUR captured of 4.50 authorised" in page
    for name in ("Payment request", "Challenge", "Auth code", "Confirmation", "Receipt"):
        assert name in page
    download = await desk.page(f"/payments/{payment}/evidence.json")
    assert f"evidence-{payment}.json" in download.headers["content-disposition"]
    key = desk.bench.folder.keys.signer("signing").key.kid
    assert verify_document(download.content, key).status is Status.CAPTURED


async def test_evidence_of_a_key_that_was_replaced_holds(desk: AdminDesk) -> None:
    payment = await paid(desk)
    at_s = wall_ms() // 1000
    rotate(desk.bench.folder, new_id, (at_s, at_s, at_s + 3600))
    async with asyncio.timeout(20):
        while "Its key was replaced" not in (
            page := (await desk.page(f"/payments/{payment}")).text
        ):
            await desk.bench.http.get("/healthz")
    assert "Every signature, link and amount was verified just now" in page


async def test_evidence_that_does_not_hold_is_said_so(desk: AdminDesk) -> None:
    payment = await paid(desk)
    receipt = statements.c.typ == "receipt+jwt"
    other = desk.bench.statement(payment, "challenge+jwt")
    query = update(statements).where(statements.c.payment_id == payment, receipt)
    desk.bench.store.write_now(lambda c: c.execute(query.values(compact=other)))
    page = seen((await desk.page(f"/payments/{payment}")).text)
    assert "The evidence does not hold. statement 4" in page
    assert "was verified just now" not in page


async def test_what_is_not_there_is_said_plainly(desk: AdminDesk) -> None:
    for path in (
        "/payments/none",
        "/payments/%00",
        "/payments/01a217a6-c6cb-7658-a97e-1a3fcb6b2f9b",
        "/payments/none/evidence.json",
        "/nowhere",
    ):
        answer = await desk.http.get(path)
        assert answer.status_code == 404
        assert "That was not possible" in answer.text
    for before in ("x", "-1", "9" * 16):
        assert (await desk.http.get(f"/?before={before}")).status_code == 400


async def test_search(desk: AdminDesk) -> None:
    payment = await paid(desk, reference="order-4711")
    other = await paid(desk, reference="order-4712")
    devices = desk.bench.devices
    both = {payment, other}
    asked = {
        payment: {payment},
        payment.upper(): {payment},
        "order-4712": {other},
        "order-47": set(),
        "blue bot": both,
        MERCHANT: both,
        devices.terminal.key.kid: both,
        devices.phone.key.kid[:8]: both,
        devices.jack.key.kid: both,
        "%": set(),
        "_" * 6: set(),
        "' OR 1=1 --": set(),
        "\0": both,
        "<script>alert(1)</script>": set(),
    }
    for text, expected in asked.items():
        page = (await desk.http.get("/", params={"q": text})).text
        assert set(re.findall(r'id="p-([0-9a-f-]+)"', page)) == expected, text
        assert "<script>alert" not in page


async def test_pages_of_payments(desk: AdminDesk) -> None:
    made = await paid(desk)
    row = desk.bench.rows("SELECT * FROM payments WHERE id = ?", made)[0]
    copies = [f"00000000-0000-7000-8000-{n:012d}" for n in range(PAGE + 5)]

    def fill(connection: Connection) -> None:
        for payment in copies:
            values = dict(row._mapping) | {"id": payment, "lane_digest": payment}
            connection.execute(insert(payments).values(values))
            signed = {"jti": payment, "digest": payment, "compact": "", "kid": "", "typ": "x"}
            connection.execute(insert(statements).values(payment_id=payment, position=1, **signed))

    desk.bench.store.write_now(fill)
    first = (await desk.page("/")).text
    listed = re.findall(r'id="p-([0-9a-f-]+)"', first)
    assert listed == copies[: -PAGE - 1 : -1]
    older = re.search(r'href="(/\?before=\d+)"', first)
    assert older is not None
    rest = re.findall(r'id="p-([0-9a-f-]+)"', (await desk.page(older[1])).text)
    assert rest == [*copies[4::-1], made]


async def test_devices_and_how_they_are(desk: AdminDesk) -> None:
    await paid(desk)
    devices = desk.bench.devices
    page = seen((await desk.page("/devices")).text)
    assert "Blue Bottle" in page
    assert page.count("1 known, 0 revoked") == 3
    assert "Not connected here" in page
    path = "/v1/events"
    proof = devices.proof(devices.phone, "GET", path)
    headers = {"authorization": f"Bearer {proof}"}
    async with desk.bench.http.stream("GET", path, headers=headers) as stream:
        assert stream.status_code == 200
        assert "Listens here now" in seen((await desk.page("/devices")).text)
    desk.bench.store.write_now(
        lambda c: c.exec_driver_sql(f"UPDATE terminals SET revoked_ms = {wall_ms()}")
    )
    page = seen((await desk.page("/devices")).text)
    assert "Revoked 20" in page
    assert "1 known, 1 revoked" in page


def cells(page: str, device: str) -> dict[str, str]:
    """Of the row of a device, by the names of its columns."""
    row = next(row for row in page.split("<tr>") if f'/?q={device}"' in row)
    found = re.findall(r'<td data-label="([^"]+)">(.*?)</td>', row, re.DOTALL)
    return {name: seen(told).strip() for name, told in found}


async def test_what_was_heard_of_devices_and_what_they_were_refused_for(desk: AdminDesk) -> None:
    bench, devices = desk.bench, desk.bench.devices
    ids = [device.key.kid for device in (devices.terminal, devices.phone, devices.jack)]
    silent = (await desk.page("/devices")).text
    forged = seal(devices.request_claims(), new_signer(), "payment-request+jwt", kid=ids[0])
    await bench.refused("/v1/payments", forged, ErrorCode.SIGNATURE_INVALID)
    for page in (silent, (await desk.page("/devices")).text):
        assert [cells(page, device)["Heard here"] for device in ids] == ["not yet"] * 3
    await bench.refused("/v1/payments", devices.request(code="0" * 16), ErrorCode.CODE_UNKNOWN)
    page = (await desk.page("/devices")).text
    assert cells(page, ids[0])["Refused"] == "1 of 10000"
    assert cells(page, ids[0])["Heard here"].endswith("s ago")
    assert cells(page, ids[1])["Heard here"] == "not yet"
    payment, _, challenge = await bench.pending()
    wrong = devices.confirmation(payment, challenge, auth={"epoch": 9})
    await bench.refused(f"/v1/payments/{payment}/confirmation", wrong, ErrorCode.EPOCH_OUTDATED)
    page = (await desk.page("/devices")).text
    assert cells(page, ids[1])["Refused"] == "1 of 10000"
    assert all(cells(page, device)["Heard here"].endswith("s ago") for device in ids)


async def test_how_long_the_legs_take(desk: AdminDesk) -> None:
    assert "0 – – – –" in seen((await desk.page("/timing")).text)
    await paid(desk)
    await desk.bench.held()
    page = seen((await desk.page("/timing")).text)
    assert re.search(r"Request and challenge → confirmed 2 \d", page)
    assert re.search(r"Confirmed → authorised 1 \d", page)
    assert re.search(r"Confirmed → captured at once 1 \d", page)
    assert re.search(r"Authorised → captured 0 –", page)


def test_percentiles_are_of_the_nearest_rank() -> None:
    assert [percentile(range(1, 101), share) for share in (50, 90, 99, 100)] == [50, 90, 99, 100]
    assert [percentile([7], share) for share in (50, 99)] == [7, 7]
    assert percentile([1, 2, 3], 50) == 2
    assert percentile([], 50) == 0


async def open_a_review(desk: AdminDesk) -> tuple[str, int]:
    """A charge that nobody knows the outcome of."""
    payment = await paid(desk)

    def lose(connection: Connection) -> None:
        run = connection.execute
        row_id = int(run(outbox.select().where(outbox.c.payment_id == payment)).one().id)
        run(
            update(outbox)
            .where(outbox.c.id == row_id)
            .values(state="unknown", outcome=None, done_ms=None, reason=NEEDS_REVIEW)
        )
        values = {"status": "unknown", "captured_minor": 0, "authorized_minor": 0}
        run(update(payments).where(payments.c.id == payment).values(values))
        open_review(connection, row_id, "the answer is about pi_9", wall_ms())

    desk.bench.store.write_now(lose)
    return payment, int(desk.bench.rows("SELECT id FROM reviews")[0][0])


async def test_a_review_is_settled_by_the_admins_name(desk: AdminDesk) -> None:
    payment, review = await open_a_review(desk)
    assert "the answer is about pi_9" in (await desk.page("/reviews")).text
    path, token = f"/reviews/{review}/settle", await desk.token()
    form = {"token": token, "decision": "not_carried_out", "why": "it is not there"}
    for wrong in ({"why": " "}, {"decision": "noted"}, {"reference": "x"}, {"decision": "?"}):
        assert (await desk.post(path, form | wrong)).status_code == 400
    assert (await desk.post(path, form | {"token": "0"})).status_code == 403
    assert desk.bench.rows("SELECT decision FROM reviews") == [(None,)]
    assert (await desk.post(path, form)).status_code == 303
    assert (await desk.bench.payment(payment))["status"] == "refused"
    assert desk.bench.rows("SELECT decision, decided_by, why FROM reviews") == [
        ("not_carried_out", NAME, "it is not there")
    ]
    page = seen((await desk.page("/record")).text)
    assert f"{NAME} not carried out review {review} of {payment} it is not there" in page
    again = await desk.post(path, form)
    assert (again.status_code, "was decided by ada already" in again.text) == (400, True)


@pytest.mark.postgresql
async def test_another_server_of_the_database_knows_the_session_and_the_payment(
    tmp_path: Path, postgresql: Postgresql
) -> None:
    url = postgresql.new_database()
    folder = make_folder(tmp_path / "a", database=url)
    async with dashboard(folder, database=url) as desk:
        await desk.bench.enrol()
        await desk.log_in()
        other_folder = copied((folder, desk.bench.devices), tmp_path / "b")[0]
        async with dashboard(other_folder, admin=False, database=url) as other:
            other.http.cookies.update(desk.http.cookies)
            async with other.http.stream("GET", "/events") as stream:
                lines = stream.aiter_lines()
                assert [line async for line in _data(lines)]
                payment = await paid(desk)
                async with asyncio.timeout(20):
                    assert [line async for line in _data(lines)]
            page = seen((await other.page(f"/payments/{payment}")).text)
            assert "4.50 EUR captured" in page
            assert "Request → captured 1" in seen((await other.page("/timing")).text)
            assert payment[:8] in (await other.page(f"/?q={payment}")).text
            assert "1 known" in seen((await other.page("/devices")).text)
            for path in ("/payments/%00", "/?q=%00"):
                assert (await other.http.get(path)).status_code in (200, 404)
            assert (await other.log_in(name="a\0b", code="123456")).status_code == 401
