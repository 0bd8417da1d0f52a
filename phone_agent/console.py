"""What every command of the phone shares: its settings, its wallet, the agent that runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from twochannel.control import ControlError, ask
from twochannel.state_folder import make

if TYPE_CHECKING:
    from phone_agent.config import PhoneSettings
    from phone_agent.database import Database
    from phone_agent.wallet import Wallet

AGENT: Final = "phone-agent"
PREFIX: Final = "PHONE_AGENT"


def settings_of(state: Path, **flags: object) -> PhoneSettings:
    from phone_agent.config import PhoneSettings
    from twochannel.settings import load

    return load(
        PhoneSettings,
        file=state / "config.toml",
        environment=os.environ,
        prefix=PREFIX,
        flags=flags,
    )


@contextmanager
def open_wallet(state: Path) -> Iterator[tuple[Database, Wallet]]:
    from phone_agent.database import FILE_NAME, Database
    from phone_agent.wallet import Wallet

    make(state)
    with Database.open(state / FILE_NAME) as database:
        yield database, Wallet(database)


def tell_agent(state: Path) -> None:
    """A running agent takes the wallet's change in now; otherwise at its start."""
    try:
        ask(state, "POST", "/v1/refresh", agent=AGENT)
    except ControlError:
        return
