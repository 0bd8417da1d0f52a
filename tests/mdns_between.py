"""mDNS over an interface that really goes and comes: this machine, and one that is next to it.

Run in a network of its own, as ``python -m tests.mdns_between SCENARIO``, it says what is found::

    here ─── wlan0 ─── next
    10.77.0.1     10.77.0.2

A listener on the same machine would keep the kernel in the group for all, so the other one is in a
name space of its own.
"""

from __future__ import annotations

import asyncio
import shlex
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Final, Self

from cigarjack.announcement import Announcement, Notice
from phone_agent.jack_finder import JackFinder
from tests.machines import apart

HERE: Final = "10.77.0.1"
ELSEWHERE: Final = "10.77.0.31"
NEXT: Final = "10.77.0.2"
PORT: Final = 4711
_LINK_KEY: Final = bytes(range(32))
_FOUND_S: Final = 20.0
_LOOK_EVERY_S: Final = 0.5
_PLAYED_S: Final = 90.0
_PYTHON: Final = (sys.executable, "-m", "tests.mdns_between")


class Next(AbstractContextManager["Next"]):
    """The other machine, connected to this one: a shell there."""

    def __enter__(self) -> Self:
        line = ["unshare", "--net", "--", "sh"]
        self._shell = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        ip("link set lo up")
        assert self.says("ip link set lo up && echo there") == "there"
        self.plug_in()
        return self

    def __exit__(self, *failure: object) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.wait()

    def plug_in(self) -> None:
        ip(f"link add name wlan0 type veth peer name wlan0 netns {self._shell.pid}")
        ip(f"address add {HERE}/24 dev wlan0", "link set wlan0 up")
        up = f"ip address add {NEXT}/24 dev wlan0 && ip link set wlan0 up && echo up"
        assert self.says(up) == "up"

    def says(self, command: str) -> str:
        """The line that a command of the shell prints."""
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.write(f"{command}\n".encode())
        self._shell.stdin.flush()
        return self._shell.stdout.readline().decode().strip()

    async def finds(self) -> str:
        """What a phone finds there that has just begun to look."""
        return await asyncio.to_thread(self.says, shlex.join([*_PYTHON, "find"]))


def ip(*lines: str) -> None:
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines).encode(), check=True)


def unplug() -> None:
    ip("link delete wlan0")


async def announce_replugged(other: Next) -> str:
    """The interface is another one with the address of the first, and nobody looked meanwhile."""
    async with Announcement("jack", []) as announcement:
        await announcement.tell(Notice(PORT, _LINK_KEY))
        unplug()
        other.plug_in()
        await announcement.follow_addresses()
        return await other.finds()


async def announce_told_meanwhile(other: Next) -> str:
    """The address was away when the jack looked, and back when it had something to tell."""
    async with Announcement("jack", []) as announcement:
        await announcement.tell(Notice(0, None, PORT))
        ip("address flush dev wlan0")
        await announcement.follow_addresses()
        ip(f"address add {HERE}/24 dev wlan0")
        await announcement.tell(Notice(PORT, _LINK_KEY))
        await announcement.follow_addresses()
        return await other.finds()


async def announce_readdressed(other: Next) -> str:
    """The jack's address becomes another."""
    async with Announcement("jack", []) as announcement:
        await announcement.tell(Notice(PORT, _LINK_KEY))
        assert await other.finds() == f"{HERE}:{PORT}"
        ip("address flush dev wlan0", f"address add {ELSEWHERE}/24 dev wlan0")
        await announcement.follow_addresses()
        return await other.finds()


async def announce_late(other: Next) -> str:
    """The address that is asked for is not there when the jack starts."""
    ip("address flush dev wlan0")
    async with Announcement("jack", [HERE]) as announcement:
        await announcement.tell(Notice(PORT, _LINK_KEY))
        await announcement.follow_addresses()
        ip(f"address add {HERE}/24 dev wlan0")
        await announcement.follow_addresses()
        return await other.finds()


async def announce_on_both(other: Next) -> str:
    """Two interfaces have one address; the one on which the jack was is taken away."""
    ip("link set wlan0 name wlan1", "link add name wlan0 type veth peer name other")
    ip("link set wlan1 down", "link set wlan1 up", "link set other up")
    ip(f"address add {HERE}/24 dev wlan0", "link set wlan0 up")
    async with Announcement("jack", [HERE]) as announcement:
        await announcement.tell(Notice(PORT, _LINK_KEY))
        ip("link delete wlan0")
        await announcement.follow_addresses()
        return await other.finds()


async def announce_elsewhere(other: Next) -> str:
    """A network that is not among those asked for; those asked for come and go."""
    ip("link add name lan type veth peer name cable", "link set cable up")
    ip(f"address add {ELSEWHERE}/24 dev lan", "link set lan up")
    async with Announcement("jack", [ELSEWHERE]) as announcement:
        await announcement.tell(Notice(PORT, _LINK_KEY))
        unplug()
        other.plug_in()
        await announcement.follow_addresses()
        found = asyncio.create_task(other.finds())
        ip("address flush dev lan")
        while not found.done():
            await announcement.follow_addresses()
            await asyncio.sleep(_LOOK_EVERY_S)
        return await found


async def find_late(other: Next) -> str:
    """The address at which the phone is to search is not there when it starts."""
    ip("address flush dev wlan0")
    async with JackFinder([HERE]) as finder:
        jack = shlex.join([*_PYTHON, "announce"])
        assert await asyncio.to_thread(other.says, f"{jack} & echo begun") == "begun"
        ip(f"address add {HERE}/24 dev wlan0")
        return await _first_found(finder)


async def find_replugged(other: Next) -> str:
    """The phone's interface is another one with the address of the first."""
    async with JackFinder() as finder:
        unplug()
        other.plug_in()
        jack = shlex.join([*_PYTHON, "announce"])
        assert await asyncio.to_thread(other.says, f"{jack} & echo begun") == "begun"
        return await _first_found(finder)


async def _first_found(finder: JackFinder) -> str:
    async with asyncio.timeout(_FOUND_S):
        while not (found := finder.candidates(_LINK_KEY)):
            await finder.change()
    return "{}:{}".format(*found[0])


def played(scenario: str) -> str:
    """What was found, as ``HOST:PORT``; for tests."""
    line = [*apart(), *_PYTHON, scenario]
    ended = subprocess.run(line, capture_output=True, text=True, check=True, timeout=_PLAYED_S)
    return ended.stdout.strip()


# --- on the machine that is next


async def find() -> str:
    async with JackFinder() as finder:
        return await _first_found(finder)


async def announce() -> str:
    async with Announcement("jack", []) as announcement:
        await announcement.tell(Notice(PORT, _LINK_KEY))
        # It ends with its machine.
        await asyncio.Event().wait()
    return "told"


SCENARIOS: Final[dict[str, Callable[[Next], Awaitable[str]]]] = {
    "announce-replugged": announce_replugged,
    "announce-told-meanwhile": announce_told_meanwhile,
    "announce-readdressed": announce_readdressed,
    "announce-late": announce_late,
    "announce-on-both": announce_on_both,
    "announce-elsewhere": announce_elsewhere,
    "find-late": find_late,
    "find-replugged": find_replugged,
}


async def _main(what: str) -> str:
    if what in SCENARIOS:
        with Next() as other:
            return await SCENARIOS[what](other)
    return await {"find": find, "announce": announce}[what]()


if __name__ == "__main__":
    try:
        print(asyncio.run(_main(sys.argv[1])))
    except TimeoutError:
        print("nothing")
