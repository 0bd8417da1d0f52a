"""The command ``fieldkit``: virtual air, demo, measurements."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click


class _LazyGroup(click.Group):
    """Commands whose module is imported only when they are asked for."""

    _MODULES = {  # noqa: RUF012
        "air": ("fieldkit.air", "air_command"),
        "bench": ("fieldkit.bench.commands", "bench"),
        "bundle": ("fieldkit.trials.collect_commands", "bundle_command"),
        "car": ("fieldkit.car.commands", "car"),
        "collect": ("fieldkit.trials.collect_commands", "collect_command"),
        "extract": ("fieldkit.trials.replay_commands", "extract_command"),
        "jack": ("fieldkit.desk_jack", "jack"),
        "replay": ("fieldkit.trials.replay_commands", "replay_command"),
        "report": ("fieldkit.trials.report_commands", "report"),
        "soak": ("fieldkit.soak.command", "soak"),
        "trial": ("fieldkit.trials.commands", "trial"),
        "tune": ("fieldkit.trials.tune_commands", "tune"),
        "world": ("fieldkit.world.commands", "world"),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._MODULES})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._MODULES:
            return super().get_command(ctx, cmd_name)
        from importlib import import_module

        module, name = self._MODULES[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cigarjack")
def main() -> None:
    """The bench of CigarJack: the whole method without hardware, and its measurements."""


@main.command()
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the outcome of every journey to this file.",
)
@click.option("--keep", is_flag=True, help="Leave everything running afterwards, until Ctrl-C.")
@click.option(
    "--report",
    "report_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    default=Path("demo-report.html"),
    show_default=True,
    help="Where the report goes.",
)
@click.option("--seed", type=int, help="Seed of the virtual air, in place of the cast's own.")
@click.option(
    "--cast",
    "cast_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Who takes part (default: seeds/demo.toml).",
)
def demo(
    json_file: Path | None, keep: bool, report_file: Path, seed: int | None, cast_file: Path | None
) -> None:
    """Run server, jack, phone and terminals as separate processes, and six journeys.

    Needs no hardware and no root. Exit code 0 only if every journey ended as it must and the
    auditor found nothing; 3 if one did not; 1 if the demo could not be run.
    """
    from fieldkit.cast import DEMO_CAST, CastError, load
    from fieldkit.demo import DemoFailedError, DemoOptions, begin, run
    from fieldkit.interruption import sigterm_as_ctrl_c

    options = DemoOptions(report_file, json_file, keep, seed)
    try:
        begin(options)
        with sigterm_as_ctrl_c():
            outcome = asyncio.run(run(load(cast_file or DEMO_CAST), options))
    except (CastError, DemoFailedError) as error:
        raise click.ClickException(str(error)) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise click.ClickException("Interrupted; everything was stopped.") from None
    click.echo("\n".join(outcome.lines))
    sys.exit(0 if outcome.result.ok else 3)
