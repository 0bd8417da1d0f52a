"""The real ``phone-agent`` as a process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

DEADLINE_S = 30.0


@asynccontextmanager
async def started(
    state: Path, stdin: int = subprocess.DEVNULL, stderr: int = subprocess.PIPE
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`phone-agent run`, ready; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "phone_agent", "--state", str(state), "run"),
        env=os.environ | {"PHONE_AGENT_INTERFACES": "127.0.0.1"},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            ready = json.loads(await process.stdout.readline())
            assert ready["event"] == "ready"
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def running(state: Path, stdin: int = subprocess.DEVNULL) -> AsyncIterator[None]:
    """The same, stopped by SIGTERM, which must end it well."""
    async with started(state, stdin) as process:
        yield
        process.send_signal(signal.SIGTERM)
        rest, log = await process.communicate()
        assert (process.returncode, rest) == (0, b""), log.decode()
        for line in log.splitlines():
            assert json.loads(line)["event"]
