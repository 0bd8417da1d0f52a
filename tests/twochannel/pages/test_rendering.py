"""What an agent whose pages nobody opens does without."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("agent", ["payment_device.agent", "phone_agent.agent"])
def test_the_template_engine_is_loaded_with_the_first_page(agent: str) -> None:
    script = f"import sys, {agent}; sys.exit('jinja2' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
