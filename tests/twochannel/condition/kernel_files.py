"""A /proc and a /sys as kernels lay them out, in a folder."""

from __future__ import annotations

from pathlib import Path


def lay(root: Path, **files: str) -> None:
    """Files of a kernel, which end with a newline. In the names ``__`` stands for ``/``."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
