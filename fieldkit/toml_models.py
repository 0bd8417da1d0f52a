"""What people write in TOML, as models; what is wrong with it is told in lines."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

_Model = TypeVar("_Model", bound=BaseModel)
#: An error by its text.
Wrong = Callable[[str], Exception]


def parsed(model: type[_Model], text: str, wrong: Wrong, *, whole: str, **members: Any) -> _Model:
    """The model in TOML ``text``, with ``members`` beside. Raises what ``wrong`` makes.

    ``whole``: what it is called where no single member is to blame.
    """
    try:
        return model.model_validate(tomllib.loads(text) | members)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        lines = (f"{'.'.join(map(str, p['loc'])) or whole}: {p['msg']}" for p in problems)
        raise wrong("\n".join(lines)) from None
    except tomllib.TOMLDecodeError as error:
        raise wrong(f"not TOML: {error}") from None


def text_of(file: Path, wrong: Wrong) -> str:
    """What is in ``file``. Raises what ``wrong`` makes."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise wrong(f"{file} cannot be read: {error}") from None
