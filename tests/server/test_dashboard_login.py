"""Who comes into the dashboard, who does not, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import update

from server.dashboard.admins import (
    list_admins,
    make_credentials,
    password_holds,
    recent_actions,
    remove_admin,
    reset_admin,
    step_of,
)
from server.dashboard.sessions import IDLE_MS, KNOWN_MS, LIFETIME_MS
from server.registry import RegistryError
from server.schema.admins import admin_browsers, admin_sessions
from server.state import StateFolder
from tests.server.admin_desk import NAME, PASSWORD, AdminDesk, dashboard
from tests.server.bench import copied
from tests.server.devices import Devices
from twochannel.trace import wall_ms

Prepared = tuple[StateFolder, Devices]


@pytest.fixture
def own(prepared: Prepared, tmp_path: Path) -> Prepared:
    return copied(prepared, tmp_path / "server")


@pytest_asyncio.fixture
async def desk(own: Prepared) -> AsyncIterator[AdminDesk]:
    async with dashboard(*own, failed_logins=3) as desk:
        yield desk


async def test_it_stays_closed_until_there_is_an_admin(own: Prepared) -> None:
    async with dashboard(*own, admin=False) as desk:
        for path in ("/", "/login", "/devices", "/events"):
            answer = await desk.http.get(path)
            assert answer.status_code == 503
            assert "cigarjack-server admin add" in answer.text


async def test_password_and_code_open_a_session(desk: AdminDesk) -> None:
    first = await desk.http.get("/devices")
    assert (first.status_code, first.headers["location"]) == (303, "/login")
    answer = await desk.log_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-session=")
    for part in ("HttpOnly", "Secure", "SameSite=strict", "Path=/"):
        assert part in cookie
    assert "Domain" not in cookie
    assert "No payment yet" in (await desk.page("/")).text
    (kept,) = desk.bench.rows("SELECT digest FROM admin_sessions")
    assert kept[0] not in cookie
    actions = desk.bench.store.read_now(lambda c: recent_actions(c, 9))
    assert [(a.admin, a.action, a.detail) for a in actions] == [(NAME, "log in", "from 127.0.0.1")]


async def test_a_code_counts_once(desk: AdminDesk) -> None:
    code = desk.code()
    assert (await desk.log_in(code=code)).status_code == 303
    desk.http.cookies.clear()
    assert (await desk.log_in(code=code)).status_code == 401
    assert (await desk.log_in()).status_code == 303


async def test_one_code_sent_twice_at_once_opens_one_session(desk: AdminDesk) -> None:
    code = desk.code()
    answers = await asyncio.gather(desk.log_in(code=code), desk.log_in(code=code))
    assert sorted(answer.status_code for answer in answers) == [303, 401]


@pytest.mark.parametrize(
    "changes", [{"password": "wrong horse battery"}, {"code": "000000"}, {"name": "eve"}]
)
async def test_whatever_is_wrong_the_answer_is_the_same(
    desk: AdminDesk, changes: dict[str, str]
) -> None:
    answer = await desk.log_in(**changes)
    assert answer.status_code == 401
    assert "That did not fit. Check name and password, and use a new code." in answer.text
    assert "set-cookie" not in answer.headers


async def test_guessing_is_limited_by_name_and_by_address(desk: AdminDesk) -> None:
    for _ in range(3):
        assert (await desk.log_in(password="wrong horse battery", code="123456")).status_code == 401
    blocked = await desk.log_in()
    assert blocked.status_code == 429
    assert 0 < int(blocked.headers["retry-after"]) <= 600
    # The right password is of no use meanwhile, nor is another name from there.
    assert (await desk.log_in(name="bob", code="123456")).status_code == 429
    kinds = desk.bench.rows("SELECT DISTINCT kind, subject FROM failures ORDER BY subject")
    assert kinds == [("login", "admin-from:127.0.0.1"), (("login"), f"admin:{NAME}")]


async def test_a_stranger_does_not_keep_an_admin_out_of_a_known_browser(desk: AdminDesk) -> None:
    await desk.log_in()
    known = dict(desk.http.cookies)
    desk.http.cookies.clear()
    while (await desk.log_in(password="wrong horse battery", code="1")).status_code != 429:
        pass
    desk.http.cookies.update({"__Host-browser": known["__Host-browser"]})
    assert (await desk.log_in()).status_code == 303
    # The cookie changes with each login, and is of no use at another name.
    desk.http.cookies.clear()
    desk.http.cookies.update({"__Host-browser": known["__Host-browser"]})
    assert (await desk.log_in()).status_code == 429
    assert (await desk.log_in(name="bob", code="1")).status_code == 429


async def test_guessing_in_a_known_browser_is_limited_too(desk: AdminDesk) -> None:
    await desk.log_in()
    for _ in range(3):
        assert (await desk.log_in(password="wrong horse battery", code="1")).status_code == 401
    assert (await desk.log_in()).status_code == 429
    (subject,) = desk.bench.rows("SELECT DISTINCT subject FROM failures")
    assert subject[0].startswith("admin-browser:")


async def test_a_browser_is_forgotten_in_time_and_with_a_reset(desk: AdminDesk) -> None:
    await desk.log_in()
    old = {"known_ms": wall_ms() - KNOWN_MS}
    desk.bench.store.write_now(lambda c: c.execute(update(admin_browsers).values(old)))
    for _ in range(3):
        await desk.log_in(password="wrong horse battery", code="1")
    subjects = desk.bench.rows("SELECT DISTINCT subject FROM failures ORDER BY subject")
    assert [subject for (subject,) in subjects] == ["admin-from:127.0.0.1", f"admin:{NAME}"]
    credentials = make_credentials("another long one")
    desk.bench.store.write_now(lambda c: reset_admin(c, NAME, credentials))
    assert desk.bench.rows("SELECT * FROM admin_browsers") == []


async def test_a_login_clears_what_had_failed(desk: AdminDesk) -> None:
    await desk.log_in(password="wrong horse battery", code="123456")
    assert (await desk.log_in()).status_code == 303
    assert desk.bench.rows("SELECT * FROM failures") == []


@pytest.mark.parametrize(("column", "limit_ms"), [("seen_ms", IDLE_MS), ("opened_ms", LIFETIME_MS)])
async def test_a_session_ends_by_itself(desk: AdminDesk, column: str, limit_ms: int) -> None:
    await desk.log_in()
    for spare_ms, status in ((60_000, 200), (0, 303)):
        await shift(desk, column, limit_ms - spare_ms)
        assert (await desk.http.get("/")).status_code == status


async def shift(desk: AdminDesk, column: str, age_ms: int) -> None:
    """Let it be that old."""
    value = {column: wall_ms() - age_ms}
    desk.bench.store.write_now(lambda c: c.execute(update(admin_sessions).values(value)))


async def test_pages_that_fetch_themselves_keep_no_session_open(desk: AdminDesk) -> None:
    await desk.log_in()
    await shift(desk, "seen_ms", IDLE_MS - 60_000)
    (before,) = desk.bench.rows("SELECT seen_ms FROM admin_sessions")
    assert (await desk.http.get("/", headers={"x-live": "1"})).status_code == 200
    assert desk.bench.rows("SELECT seen_ms FROM admin_sessions") == [before]
    await desk.page("/")
    (after,) = desk.bench.rows("SELECT seen_ms FROM admin_sessions")
    assert after[0] > before[0]


async def test_logging_out_ends_the_session_at_the_server(desk: AdminDesk) -> None:
    await desk.log_in()
    cookie = desk.http.cookies["__Host-session"]
    token = await desk.token()
    assert (await desk.post("/logout", {"token": token})).status_code == 303
    answer = await desk.http.get("/", headers={"cookie": f"__Host-session={cookie}"})
    assert answer.status_code == 303


async def test_forms_of_others_are_not_looked_at(desk: AdminDesk) -> None:
    form = {"name": NAME, "password": PASSWORD, "code": "123456"}
    for headers in ({"origin": "https://evil.example"}, {"origin": "null"}):
        assert (await desk.post("/login", form, **headers)).status_code == 403
    assert (await desk.http.post("/login", data=form)).status_code == 403
    await desk.log_in()
    token = await desk.token()
    assert (await desk.post("/logout", {"token": "0" * 64})).status_code == 403
    assert (await desk.post("/logout", {})).status_code == 403
    bad = {"origin": "https://evil.example"}
    assert (await desk.post("/logout", {"token": token}, **bad)).status_code == 403
    assert (await desk.page("/")).status_code == 200


async def test_a_host_header_opens_no_page(desk: AdminDesk) -> None:
    """Some versions of Starlette paste it into the URL, in front of the path."""
    for host in ("x/static/", "x/style/", "x/login?"):
        answer = await desk.http.get("/devices", headers={"host": host})
        assert answer.status_code in {303, 400}


async def test_every_answer_forbids_what_pages_do_not_use(desk: AdminDesk) -> None:
    await desk.log_in()
    for path in ("/", "/login", "/devices", "/nowhere", "/style/dashboard.css"):
        headers = (await desk.http.get(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"


async def test_reset_and_remove_end_sessions_at_once(desk: AdminDesk) -> None:
    await desk.log_in()
    store = desk.bench.store
    store.write_now(lambda c: reset_admin(c, NAME, make_credentials("another long one")))
    assert (await desk.http.get("/")).status_code == 303
    assert (await desk.log_in()).status_code == 401
    store.write_now(lambda c: remove_admin(c, NAME))
    assert store.read_now(list_admins) == []


async def test_nonsense_is_refused(desk: AdminDesk) -> None:
    many = "&".join(f"a{n}=1" for n in range(60))
    answer = await desk.http.post("/login", content=many, headers={"origin": desk.url})
    assert answer.status_code == 400
    answer = await desk.http.post("/login", content=b"\xff\x00", headers={"origin": desk.url})
    assert answer.status_code == 401
    assert (await desk.log_in(name="x" * 5000, password="y" * 5000)).status_code == 401
    assert (await desk.log_in(name="a\0b", code="123456")).status_code == 401


async def test_digits_of_other_scripts_are_no_code(desk: AdminDesk) -> None:
    assert (await desk.log_in(code="１２３４５６")).status_code == 401


def test_passwords_are_kept_as_argon2id() -> None:
    made = make_credentials(PASSWORD)
    assert made.password.startswith("$argon2id$")
    assert password_holds(made.password, PASSWORD)
    assert not password_holds(made.password, PASSWORD + " ")
    assert not password_holds(None, PASSWORD)
    for wrong in ("short", "x" * 257):
        with pytest.raises(RegistryError, match="12 to 256"):
            make_credentials(wrong)


def test_codes_of_the_steps_around_are_known() -> None:
    """RFC 6238, appendix B: the six last digits for SHA-1 at 59 s."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert step_of(secret, "287082", 59) == 1
    assert step_of(secret, "287082", 89) == 1
    assert step_of(secret, "287082", 90) is None
    assert step_of(secret, "", 59) is None
