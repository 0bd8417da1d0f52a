"""A stranger in the Wi-Fi: takes up the name and the hint of the jack that is announced there.

``python -m tests.car.spoofing OWN-ADDRESS`` says ``announced`` once he announces them at his own
address, again and again, and ``turned away`` each time somebody has begun TLS with him and found
that his certificate is not the jack's.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
import sys
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from phone_agent.jack_finder import SERVICE_TYPE
from twochannel import tls

DEADLINE_S: Final = 60.0
_AGAIN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Stranger:
    """At an address and port of his own."""

    address: str
    port: int

    def service(self, name: str, hint: str, number: int) -> AsyncServiceInfo:
        """The jack's service as he has it; ``number`` makes each announcement news."""
        return AsyncServiceInfo(
            SERVICE_TYPE,
            name,
            port=self.port,
            properties={"v": "1", "h": hint, "n": str(number)},
            server="stranger.local.",
            parsed_addresses=[self.address],
        )


async def jack_on(zeroconf: AsyncZeroconf) -> tuple[str, str]:
    """Name and hint of the paired jack that is announced."""
    names: asyncio.Queue[str] = asyncio.Queue()

    def heard(
        zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        names.put_nowait(name)

    browser = AsyncServiceBrowser(zeroconf.zeroconf, SERVICE_TYPE, handlers=[heard])
    while True:
        info = AsyncServiceInfo(SERVICE_TYPE, await names.get())
        await info.async_request(zeroconf.zeroconf, DEADLINE_S * 1000)
        if hint := info.decoded_properties.get("h"):
            await browser.async_cancel()
            return info.name, hint


def context() -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    return tls.server_context(tls.make_certificate(key, "jack", 1), key)


async def main(address: str) -> None:
    own = context()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await writer.start_tls(own)
            print("taken for the jack", flush=True)
        except (OSError, ssl.SSLError) as error:
            print(f"turned away: {error}", flush=True)
        finally:
            writer.close()

    server = await asyncio.start_server(meet, address, 0)
    stranger = Stranger(address, server.sockets[0].getsockname()[1])
    zeroconf = AsyncZeroconf(interfaces=[address], ip_version=IPVersion.V4Only)
    name, hint = await jack_on(zeroconf)
    await zeroconf.async_register_service(
        stranger.service(name, hint, 0), cooperating_responders=True
    )
    print("announced", flush=True)
    for number in itertools.count(1):
        await asyncio.sleep(_AGAIN_S)
        await zeroconf.async_update_service(stranger.service(name, hint, number))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
