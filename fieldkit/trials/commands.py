"""``fieldkit trial``: field trials, recorded in the field or played here."""

from __future__ import annotations

import click

from fieldkit.trials import marking
from fieldkit.trials.play_command import play
from twochannel.console import AgentCommands


@click.group(
    "trial",
    cls=AgentCommands,
    failures=dict,
    context_settings={"help_option_names": ["-h", "--help"]},
)
def trial() -> None:
    """Field trials: real ones with marks and recordings, and virtual ones with the truth."""


for command in (*marking.COMMANDS, play):
    trial.add_command(command)
