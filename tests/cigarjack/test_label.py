"""The label reads back as it was printed; nothing else is a label."""

from __future__ import annotations

import pytest

from cigarjack.label import Label, LabelError, parse_label

THUMBPRINT = "Ab-_" * 10 + "Abc"
SECRET = "s" * 22


def test_a_label_reads_back() -> None:
    label = parse_label(f"  CJ1:{THUMBPRINT}:{SECRET}\n")
    assert label == Label(THUMBPRINT, SECRET)
    assert str(label) == f"CJ1:{THUMBPRINT}:{SECRET}"


def test_a_label_does_not_show_its_secret_in_a_log() -> None:
    assert SECRET not in repr(Label(THUMBPRINT, SECRET))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "CJ1",
        f"CJ2:{THUMBPRINT}:{SECRET}",
        f"CJ1:{THUMBPRINT}",
        f"CJ1:{THUMBPRINT}:{SECRET}x",
        f"CJ1:{THUMBPRINT[1:]}:{SECRET}",
        f"CJ1:{THUMBPRINT}:{SECRET}:",
        f"CJ1:{THUMBPRINT[1:]}+:{SECRET}",
        f"cj1:{THUMBPRINT}:{SECRET}",
    ],
)
def test_anything_else_is_not_a_label(text: str) -> None:
    with pytest.raises(LabelError, match="CJ1:"):
        parse_label(text)
