"""The command line. Each command is a file in `kdbench/cli/commands`."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import click

from kdbench import __version__
from kdbench.cli import commands
from kdbench.cli.strict_group import StrictGroup
from kdbench.core.errors import UserError
from kdbench.core.plain_text import take_every_character, without_control
from kdbench.core.safe_path import leave_empty_entries


class Commands(StrictGroup):
    """The group of all commands. It imports their files from `kdbench/cli/commands` when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, from the names of their files."""
        names = (module.name for module in pkgutil.iter_modules(commands.__path__) if module.name[0] != "_")
        return sorted(name.replace("_", "-") for name in names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the file of a command and return its `command`; None where there is no such file."""
        if cmd_name not in self.list_commands(ctx):
            return None
        found: click.Command = importlib.import_module(f"kdbench.cli.commands.{cmd_name.replace('-', '_')}").command
        return found


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="kdbench")
def app() -> None:
    """Compare knowledge-distillation methods for text classification.

    \b
    kdbench run --methods all --tasks glue        train everything; repeat the command to resume
    kdbench run --data FILE --methods kd,lgtm     train on data of your own
    kdbench run ... --executor slurm              submit the same to a cluster's queue
    kdbench status --watch                        show which runs are done, running, queued or failed
    kdbench retry --failed                        train failed runs again, with the same settings
    kdbench table 1 --format latex                print the paper's Table 1 from your results
    kdbench figure 4 --out fig4.pdf               draw the paper's Figure 4 from your results
    kdbench report                                write all results as one HTML file
    kdbench compare kd lgtm                       is one better, and how many seeds would show it?
    kdbench measure all                           how fast and large are the networks?
    kdbench probe kd --data FILE                  score trained networks on other data
    kdbench export RUN --format onnx              write a network for use without kdbench
    kdbench collect NAME                          write a small folder for git that gives the same tables
    kdbench glue export lgtm                      write the zip for GLUE's test server
    kdbench new-method NAME                       write a starting file for a method of your own
    kdbench check-method NAME                     check that a method follows the rules for methods
    """


def main() -> None:
    """Run the command line. Bad input ends with one sentence on standard error and exit code 2."""
    leave_empty_entries()
    try:
        sys.exit(app(standalone_mode=False, prog_name="kdbench") or 0)
    except (UserError, click.ClickException) as error:
        _complain(str(error) if isinstance(error, UserError) else _sentence(error))
        sys.exit(2)
    except OSError as error:
        _complain(f"{error.strerror or error}: {error.filename or 'no file named'}")
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        _complain("stopped.")
        sys.exit(130)


def _sentence(error: click.ClickException) -> str:
    """Return what click says of a wrong command line, and where its right form stands."""
    text, where = error.format_message(), getattr(error, "ctx", None)
    return f"{text.rstrip('.')}; see {where.command_path} --help." if where else text


def _complain(text: str) -> None:
    """Print an error to standard error, without control characters: messages may hold names from anybody."""
    take_every_character(sys.stderr)
    print(f"kdbench: {without_control(text)}", file=sys.stderr)
