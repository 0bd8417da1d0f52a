"""Runs on the phone's machine, as the phone: asks the jack one thing over Wi-Fi and over GATT.

``python -m tests.car.asking PHONE-STATE SERVER-STATE RADIO HOST PORT`` prints both auth codes that
the jack gave for one challenge, which the server has signed: its key is at hand in the car.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from cigarjack.client import JackClient, JackClientError, JackPin, wifi_channel
from phone_agent import identity
from phone_agent.database import FILE_NAME, Database
from phone_agent.jack_radio import listening, unnoted
from phone_agent.wallet import Wallet
from server.state import StateFolder
from tests.cigarjack.parties import Server
from twochannel.trace import wall_ms

DEADLINE_S = 150.0
#: A request that waits 2 s for a lane which is not there, emulated.
_ANSWER_S = 15.0


def now_s() -> int:
    return wall_ms() // 1000


async def over_wifi(
    phone: identity.PhoneIdentity, pin: JackPin, challenge: str, host: str, port: int
) -> str:
    channel = wifi_channel(host, port, pin, phone.certificate, phone.tls_key)
    async with JackClient(channel, pin, timeout_s=_ANSWER_S) as jack:
        return await jack.auth_code(challenge)


async def over_gatt(radio: str, pin: JackPin, challenge: str) -> str:
    """As often as it takes: one attempt in three is in vain where everything is emulated."""
    async with listening(unnoted(radio), now_s) as bluetooth:
        assert bluetooth is not None
        while True:
            try:
                return await bluetooth.call(pin, lambda jack: jack.auth_code(challenge))
            except JackClientError as error:
                print(error, file=sys.stderr, flush=True)
                await asyncio.sleep(1)


async def main(state: Path, servers: Path, radio: str, host: str, port: int) -> None:
    phone = identity.load(state)
    with Database.open(state / FILE_NAME) as database:
        (kept,) = Wallet(database).jacks()
    server = Server(signer=StateFolder(servers).keys.signer("signing"))
    began_s = now_s()
    challenge = server.signed_challenge(
        kept.pin.jack, phone.phone, iat=began_s, exp=began_s + int(DEADLINE_S)
    )
    async with asyncio.timeout(DEADLINE_S):
        gatt = await over_gatt(radio, kept.pin, challenge)
        wifi = await over_wifi(phone, kept.pin, challenge, host, port)
    print(json.dumps({"gatt": gatt, "wifi": wifi}), flush=True)


if __name__ == "__main__":
    _, phone_state, server_state, radio_name, jacks_host, jacks_port = sys.argv
    asyncio.run(
        main(Path(phone_state), Path(server_state), radio_name, jacks_host, int(jacks_port))
    )
