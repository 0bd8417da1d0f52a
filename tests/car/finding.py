"""Runs on the phone's machine: says where a jack with an open pairing window is announced."""

from __future__ import annotations

import asyncio
import json
import sys

from phone_agent.jack_finder import JackFinder

DEADLINE_S = 40.0


async def main(own_address: str) -> None:
    async with asyncio.timeout(DEADLINE_S), JackFinder([own_address]) as finder:
        print("browsing", flush=True)
        while not (found := finder.pairing_candidates()):
            await finder.change()
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
