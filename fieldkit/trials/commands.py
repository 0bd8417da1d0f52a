"""``fieldkit trial``: field trials, recorded in the field or played here."""

from __future__ import annotations

import click

from fieldkit.trials.play_command import play


@click.group("trial", context_settings={"help_option_names": ["-h", "--help"]})
def trial() -> None:
    """Field trials: real ones with marks and recordings, and virtual ones with the truth."""


trial.add_command(play)
