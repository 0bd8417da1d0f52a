"""Pictures for a page, drawn by matplotlib as SVG that takes the page's colours.

Colours are drawn as stand-ins and then replaced by the custom properties of the page's style
sheet, so that one drawing serves light, dark and print. Text stays text.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Stand-in and custom property of each colour.
COLORS: Final = {
    "ink": "#010203",
    "soft": "#010204",
    "line": "#010205",
    "good": "#010206",
    "bad": "#010207",
    "amber": "#010208",
    "quiet": "#010209",
    "s0": "#01020b",
    "s1": "#01020c",
    "s2": "#01020d",
    "s3": "#01020e",
    "s5": "#01020f",
}
#: Inches; at 72 points each as wide as a column of the page, and hardly wider than a phone.
WIDTH: Final = 4.7
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": COLORS["line"],
    "axes.labelcolor": COLORS["soft"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": COLORS["ink"],
    "xtick.color": COLORS["line"],
    "ytick.color": COLORS["line"],
    "xtick.labelcolor": COLORS["soft"],
    "ytick.labelcolor": COLORS["soft"],
    "grid.color": COLORS["line"],
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


class Drawing:
    """One picture: draw on ``axes``, then read ``svg``."""

    def __init__(self, height: float, width: float) -> None:
        self._figure = Figure(figsize=(width, height), layout="constrained")
        self.axes: Axes = self._figure.add_subplot()
        self.svg = ""

    def finish(self, salt: str) -> None:
        buffer = io.StringIO()
        # The salt keeps the ids of one picture apart from those of the others in the page.
        with mpl.rc_context({"svg.hashsalt": salt}):
            metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
            self._figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
        self.svg = _for_the_page(buffer.getvalue())


@contextmanager
def drawing(salt: str, height: float = 3.1, width: float = WIDTH) -> Iterator[Drawing]:
    with mpl.rc_context(_STYLE):
        picture = Drawing(height, width)
        yield picture
        picture.finish(salt)


def _for_the_page(svg: str) -> str:
    """Only the picture itself, in the colours and the type of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1">', svg, count=1)
    svg = re.sub(r"font: ([\d.]+)px[^;\"]*", r"font-size: \1px", svg)
    for name, stand_in in COLORS.items():
        svg = svg.replace(stand_in, f"var(--{name})")
    return svg
