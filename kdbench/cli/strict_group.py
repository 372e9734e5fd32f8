"""A group of commands that refuse an option given twice, where click alone would take the last and say nothing."""

from __future__ import annotations

from collections import Counter

import click

from kdbench.core.errors import UserError, unknown


class StrictGroup(click.Group):
    """A group whose commands take each option once, but for flags and options that gather several values."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name.

        Raises:
            UserError: there is no such command, or an option is given several times.
        """
        if self.get_command(ctx, args[0]) is None and args[0][0] != "-":
            raise unknown("command", args[0], self.list_commands(ctx))
        name, found, rest = super().resolve_command(ctx, args)
        if found is not None and not ctx.resilient_parsing:  # which completes words and refuses none
            _, _, given = found.make_parser(click.Context(found, ctx, name)).parse_args(list(rest))
            for option, times in Counter(given).items():
                if isinstance(option, click.Option) and times > 1 and not (option.multiple or option.is_flag):
                    commas = "" if option.metavar == "FILE" else ", with commas where it takes several values"
                    raise UserError(f"{option.opts[0]} was given {times} times; give it once{commas}.")
        return name, found, rest
