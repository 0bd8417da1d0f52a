"""Templates to pages: a party's own, with the layout, the style and the words of all."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from twochannel.pages.access import form_token
from twochannel.pages.door import STATIC, session_of
from twochannel.pages.words import LANGUAGES, Words, choose

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE: Final = Path(__file__).parent
LANGUAGE_COOKIE: Final = "language"


def static_files() -> Mount:
    """Stylesheet and script of every page."""
    return Mount(STATIC.rstrip("/"), StaticFiles(directory=_HERE / "static"))


def words_for(request: Request) -> Words:
    return choose(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", ""))


class Pages:
    """Renders the templates in ``folder``; they extend ``layout.html``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def _environment(self) -> Environment:
        # Most agents run for weeks without a page being opened: 2 MiB less until then.
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        return Environment(
            loader=FileSystemLoader([self._folder, _HERE / "templates"]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def render(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        """A page in the reader's language."""
        return HTMLResponse(self.text(request, template, status=status, **values), status)

    def text(self, request: Request, template: str, **values: Any) -> str:
        """HTML in the reader's language. In it: ``_``, ``money``, ``moment``, ``token``."""
        words = words_for(request)
        return self._environment.get_template(template).render(
            _=words.say,
            gettext=words.say,
            ngettext=words.count,
            money=words.money,
            moment=words.moment,
            language=words.language,
            languages=LANGUAGES,
            token=form_token(session_of(request)),
            path=request.scope["path"],
            **values,
        )
