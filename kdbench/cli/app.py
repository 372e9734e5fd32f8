"""The command line. Each command is a file in `kdbench/cli/commands`."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import click

from kdbench import __version__
from kdbench.cli import commands
from kdbench.core.errors import UserError
from kdbench.core.plain_text import take_every_character, without_control
from kdbench.core.safe_path import leave_empty_entries


class Commands(click.Group):
    """The files of `kdbench/cli/commands`, imported when asked for; each defines `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        names = (module.name for module in pkgutil.iter_modules(commands.__path__) if module.name[0] != "_")
        return sorted(name.replace("_", "-") for name in names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        found: click.Command = importlib.import_module(f"kdbench.cli.commands.{cmd_name.replace('-', '_')}").command
        return found


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="kdbench")
def app() -> None:
    """Compare knowledge-distillation methods for text classification.

    \b
    kdbench run --methods all --tasks glue        train everything, resumable
    kdbench run ... --executor slurm              the same on a cluster, and leave
    kdbench status --watch                        what is done, running, queued, failed
    kdbench retry --failed                        once more, with the same settings
    kdbench table 1 --format latex                the paper's Table 1 from your results
    kdbench figure 4 --out fig4.pdf               the paper's Figure 4, the same way
    kdbench report                                one HTML file with everything, to look at or hand on
    kdbench compare kd lgtm                       is one better, and with how many seeds would it show?
    kdbench collect NAME                          a small folder for git that shows the same tables
    kdbench glue export lgtm                      the zip for GLUE's test server
    kdbench new-method NAME                       a file to write a method of your own into
    kdbench check-method NAME                     does it do what a method must?
    """


def main() -> None:
    """Entry point. Bad input ends in one sentence and exit code 2."""
    leave_empty_entries()
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except (UserError, click.ClickException) as error:
        text = error.format_message() if isinstance(error, click.ClickException) else str(error)
        _complain(text)
        sys.exit(2)
    except OSError as error:
        _complain(f"{error.strerror or error}: {error.filename or 'no file named'}")
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        _complain("stopped.")
        sys.exit(130)


def _complain(text: str) -> None:
    """Print to stderr what went wrong; names and messages in it may come from anybody."""
    take_every_character(sys.stderr)
    print(f"kdbench: {without_control(text)}", file=sys.stderr)
