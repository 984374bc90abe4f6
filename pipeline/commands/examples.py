"""Commands whose help ends with lines that a reader can copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence


class CommandWithExamples(click.Command):
    """``@click.command(cls=CommandWithExamples, examples=("penstock ...",))``."""

    def __init__(self, *args: Any, examples: Sequence[str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click.Command."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Examples" if len(self.examples) > 1 else "Example"), formatter.indentation():
            for example in self.examples:
                formatter.write(f"{'':>{formatter.current_indent - formatter.indent_increment}}{example}\n")
