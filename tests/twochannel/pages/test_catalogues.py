"""Every text that a page may show is in every language, with the same names in it."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from payment_device import attendants_view
from phone_agent import (
    approval_page,
    cards_page,
    consent,
    label_picture,
    owners_view,
    pairing_errand,
    settings_pages,
)
from twochannel import trial_forms, trial_notes
from twochannel.pages.words import FOLDER

ROOT = Path(__file__).parents[3]
TEMPLATES = [
    ROOT / "payment_device" / "templates",
    ROOT / "phone_agent" / "templates",
    ROOT / "twochannel" / "pages" / "templates",
]
#: What templates are given to translate by name.
GIVEN = [
    *consent.SENTENCES.values(),
    *approval_page.PROBLEMS.values(),
    *(text for _, text in owners_view.OUTCOMES.values()),
    *owners_view.BY.values(),
    *pairing_errand.PAIRING_TEXTS.values(),
    *(settings_pages.NOT_AN_AMOUNT, settings_pages.NOT_A_LABEL),
    *(settings_pages.NOT_INVITED, settings_pages.NOT_REMOVED),
    *(cards_page.NOT_TAKEN, cards_page.SENT_LATER, cards_page.NOT_COUPLED),
    *cards_page.COUPLING_PROBLEMS.values(),
    *(label_picture.TOO_LARGE, label_picture.NOT_A_PICTURE, label_picture.NO_CODE),
    *(label_picture.NOT_ITS_LABEL, label_picture.SEVERAL_LABELS),
    *(text for _, text in attendants_view.OUTCOMES.values()),
    *attendants_view.UNDER_WAY.values(),
    *attendants_view.REASONS.values(),
    *attendants_view.PROBLEMS.values(),
    *(text for _, text in attendants_view.PUMP_STATES.values()),
    attendants_view.FUELLING,
    attendants_view.FREE,
    attendants_view.PUMP_LOST,
    attendants_view.ASKING,
    attendants_view.NOTHING,
    attendants_view.TOO_LITTLE,
    attendants_view.UNVERIFIED,
    attendants_view.SOMETHING_ELSE,
    *(trial_notes.UNFIT_NOTE, trial_forms.UNFIT_NAME, trial_forms.OTHERWISE),
    *(text for _, text in owners_view.SIGNALS),
    owners_view.SENDING,
    owners_view.NOBODY_ANSWERED,
    owners_view.NOT_TAKEN,
    owners_view.OTHER_PHONE,
]


def texts() -> set[str | tuple[str, ...]]:
    found: set[str | tuple[str, ...]] = set(GIVEN)
    for folder in TEMPLATES:
        extracted = extract_from_dir(folder, [("**.html", "jinja2")])
        found |= {message for _, _, message, _, _ in extracted}
    return found


def names(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.po")), ids=lambda path: path.stem)
def test_a_catalogue_is_complete_and_has_nothing_else(path: Path) -> None:
    with path.open("rb") as source:
        catalogue = read_po(source)
    messages = {message.id: message for message in catalogue if message.id}
    assert texts() - messages.keys() == set()
    assert messages.keys() - texts() == set()
    for message in messages.values():
        said = [message.string] if isinstance(message.string, str) else list(message.string or ())
        assert said, message.id
        asked = message.id if isinstance(message.id, str) else message.id[0]
        assert all(said), message.id
        assert not message.fuzzy
        for text in said:
            assert names(text) == names(asked), message.id
