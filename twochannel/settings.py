"""Settings of an agent: a TOML file, then the environment, then flags; later ones win.

One frozen model per party; all problems are told at once.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from twochannel.broker_address import BrokerAddress
from twochannel.ring import USUAL, Keep


class SettingsError(Exception):
    """The settings cannot be used. The text lists every problem, one a line, and where it is."""


class Settings(BaseModel):
    """Base of every party's settings. Unknown names are refused: a typing error must show."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _broker(address: str) -> str:
    if address:
        BrokerAddress.parse(address)
    return address


class AgentSettings(Settings):
    """What every agent may be told."""

    #: How much of the trace stays on disk, in MiB.
    trace_mib: Annotated[int, Field(ge=1, le=1_048_576)] = USUAL.mib
    #: For how long.
    trace_days: Annotated[int, Field(ge=1, le=36_500)] = USUAL.days

    #: The same for recorded adverts; days are those of the trace.
    adverts_mib: Annotated[int, Field(ge=1, le=1_048_576)] = USUAL.mib

    #: A broker that is told live: "mqtts://user@host:8883/prefix"; empty: none (docs/mqtt.md).
    mqtt: Annotated[str, AfterValidator(_broker)] = ""
    #: A file with the password of that user alone.
    mqtt_password_file: Path | None = None
    #: Certificates to trust there instead of the machine's own (PEM).
    mqtt_ca: Path | None = None
    #: This agent in the topics; empty: the machine's name.
    mqtt_name: Annotated[str, StringConstraints(pattern=r"^[^/+#\x00]*$", max_length=64)] = ""

    @property
    def trace_keep(self) -> Keep:
        return Keep(self.trace_mib, self.trace_days)

    @property
    def adverts_keep(self) -> Keep:
        return Keep(self.adverts_mib, self.trace_days)


class DeviceSettings(AgentSettings):
    """What jack, phone and terminal may be told."""

    #: Where figures are served for Prometheus (docs/metrics.md), with the extra ``metrics``.
    metrics_host: str = "127.0.0.1"
    #: None: nowhere. 0: a free one, which the log names.
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None


M = TypeVar("M", bound=Settings)


def load(
    model: type[M],
    *,
    file: Path | None,
    environment: Mapping[str, str],
    prefix: str,
    flags: Mapping[str, object],
) -> M:
    """Build ``model`` from ``file`` (absent is fine), ``PREFIX_NAME`` variables and ``flags``.

    Flags that are None were not given. Raises SettingsError.
    """
    values: dict[str, object] = dict(_read(file)) if file and file.exists() else {}
    places = dict.fromkeys(values, str(file))
    for name in model.model_fields:
        variable = f"{prefix}_{name.upper()}"
        if variable in environment:
            values[name], places[name] = environment[variable], variable
    given = {name: value for name, value in flags.items() if value is not None}
    places |= dict.fromkeys(given, "command line")
    try:
        return model.model_validate(values | given)
    except ValidationError as error:
        problems = (_told(model, problem, places) for problem in error.errors())
        raise SettingsError("\n".join(problems)) from None


def _told(model: type[Settings], problem: Mapping[str, Any], places: Mapping[str, str]) -> str:
    """Where it was set, what it is called, and what is wrong with it."""
    name = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        what = f"there is no such setting; there are: {', '.join(model.model_fields)}"
    else:
        what = str(problem["msg"])
    place = places.get(str(problem["loc"][0])) if problem["loc"] else None
    return ": ".join(part for part in (place, name, what) if part)


def _read(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not TOML in UTF-8: {error}") from None
