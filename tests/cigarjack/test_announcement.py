"""What real zeroconf browsers on loopback learn of a jack."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable

import pytest
from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from cigarjack.announcement import SERVICE_TYPE, Announcement, Notice
from cigarjack.hint import hint
from tests.cigarjack.parties import LOOPBACK, Jack, Phone, Server, served
from tests.mdns_between import ELSEWHERE, HERE, PORT, played

LINK_KEY = bytes(range(32))
Seen = dict[str, AsyncServiceInfo]


class Browser:
    """Keeps what is announced now; ``until`` waits for it."""

    def __init__(self, zeroconf: AsyncZeroconf) -> None:
        self._zeroconf = zeroconf
        self._changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self.seen: Seen = {}
        self._browser = AsyncServiceBrowser(
            zeroconf.zeroconf, SERVICE_TYPE, handlers=[self._on_change]
        )

    def _on_change(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        task = asyncio.create_task(self._take(name, state_change))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take(self, name: str, change: ServiceStateChange) -> None:
        info = AsyncServiceInfo(SERVICE_TYPE, name)
        if change is not ServiceStateChange.Removed:
            await info.async_request(self._zeroconf.zeroconf, 3000)
        async with self._changed:
            if change is ServiceStateChange.Removed:
                self.seen.pop(name, None)
            else:
                self.seen[name] = info
            self._changed.notify_all()

    async def until(self, holds: Callable[[Seen], bool]) -> Seen:
        async with asyncio.timeout(15), self._changed:
            await self._changed.wait_for(lambda: holds(self.seen))
        return self.seen

    async def close(self) -> None:
        await self._browser.async_cancel()
        await asyncio.gather(*self._tasks)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    zeroconf = AsyncZeroconf(interfaces=[LOOPBACK], ip_version=IPVersion.V4Only)
    browser = Browser(zeroconf)
    yield browser
    await browser.close()
    await zeroconf.async_close()


def txt(info: AsyncServiceInfo) -> dict[str, str]:
    return {
        key.decode(): value.decode() for key, value in info.properties.items() if value is not None
    }


async def test_a_notice_is_seen_changed_and_taken_back(browser: Browser) -> None:
    instance = secrets.token_hex(8)
    name = f"{instance}.{SERVICE_TYPE}"
    async with Announcement(instance, [LOOPBACK]) as announcement:
        await announcement.tell(Notice(pairing_port=4711))
        info = (await browser.until(lambda seen: name in seen))[name]
        assert (info.port, txt(info)) == (0, {"v": "1", "p": "4711"})
        assert info.parsed_addresses() == [LOOPBACK]
        await announcement.tell(Notice(4712, LINK_KEY))
        await announcement.tell(Notice(4712, LINK_KEY))
        await announcement.follow_addresses()
        info = (await browser.until(lambda seen: seen[name].port == 4712))[name]
        assert txt(info) == {"v": "1", "h": hint(LINK_KEY, instance)}
    await browser.until(lambda seen: name not in seen)


async def test_the_services_announce_their_window_and_their_pairing(
    browser: Browser, unpaired: Jack, phone: Phone, server: Server
) -> None:
    async with served(unpaired) as (services, _):
        windows = asyncio.create_task(services.close_windows())
        await browser.until(lambda seen: any(txt(i) == {"v": "1"} for i in seen.values()))
        label = await services.open_pairing()
        port = services.pairing_port
        assert port is not None
        await browser.until(lambda seen: any(txt(i).get("p") == str(port) for i in seen.values()))
        paired = await phone.pair(port, str(label), server)

        def finds_its_jack(seen: Seen) -> bool:
            return any(
                txt(info) == {"v": "1", "h": hint(paired.pin.link_key, name.partition(".")[0])}
                and info.port == paired.port
                for name, info in seen.items()
            )

        await browser.until(finds_its_jack)
        assert services.pairing_port is None
        windows.cancel()


@pytest.mark.machines
@pytest.mark.parametrize(
    "scenario",
    ["announce-replugged", "announce-told-meanwhile", "announce-late", "announce-on-both"],
)
def test_a_jack_is_found_again_after_its_interface(scenario: str) -> None:
    assert played(scenario) == f"{HERE}:{PORT}"


@pytest.mark.machines
def test_a_jack_whose_address_is_another_is_found_there() -> None:
    assert played("announce-readdressed") == f"{ELSEWHERE}:{PORT}"


@pytest.mark.machines
def test_a_jack_is_not_announced_where_it_is_not_to_be() -> None:
    """Another network comes, and later the one that was asked for goes."""
    assert played("announce-elsewhere") == "nothing"
