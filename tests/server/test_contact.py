"""First contact with an address that a person typed."""

from __future__ import annotations

import socket

import pytest

from server.contact import EnrolmentCode, ServerUnreachableError, meet

CODE = EnrolmentCode("B" * 43, "A" * 22)


@pytest.mark.parametrize("url", ["127.0.0.1:8443", "http://127.0.0.1:8443", ""])
async def test_how_an_address_is_written_is_told(url: str) -> None:
    with pytest.raises(ServerUnreachableError, match="write it as https://HOST:PORT"):
        await meet(url, CODE)


async def test_silence_is_told_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"https://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(ServerUnreachableError) as silence:
        await meet(url, CODE)
    told = f"no server answers at {url} (All connection attempts failed);"
    assert str(silence.value) == f"{told} check the address and that it runs"
