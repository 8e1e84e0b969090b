"""The command line: finds the commands, and turns errors into one line and an exit code."""

from __future__ import annotations

import importlib
import io
import os
import pkgutil
import sys
from typing import Annotated, Any

import typer

from veravox import __version__
from veravox.apps import commands
from veravox.apps.help import GroupedCommand, SummarisedGroup
from veravox.errors import VeravoxError

GROUPS = {
    "protocol": "Make, mix and check lists of trials.",
    "recipe": "List and show named experiments.",
}

EXIT_PARTLY, EXIT_WRONG, EXIT_INTERRUPTED, EXIT_READER_GONE = 1, 2, 130, 141


class _Stopped(BaseException):
    """Ends a command past typer, which would turn an interrupt and a closed pipe into exit codes of its own."""

    def __init__(self, code: int) -> None:
        self.code = code


class _Commands(SummarisedGroup):
    def invoke(self, context: Any) -> Any:
        try:
            try:
                return super().invoke(context)
            finally:
                sys.stdout.flush()  # a reader that went away is noticed here, not at the interpreter's end
        except KeyboardInterrupt:
            raise _Stopped(EXIT_INTERRUPTED) from None
        except BrokenPipeError:
            raise _Stopped(EXIT_READER_GONE) from None


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"veravox {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Speech deepfake detection: is this voice human (bona fide) or made by a machine (spoof)?"""


def build() -> typer.Typer:
    """The application with every command found in `apps/commands`."""
    app = typer.Typer(
        cls=_Commands,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    groups: dict[str, typer.Typer] = {}
    for module in pkgutil.iter_modules(commands.__path__):
        function = importlib.import_module(f"{commands.__name__}.{module.name}").command
        group, _, name = module.name.partition("_")
        if group in GROUPS and name:
            if group not in groups:
                groups[group] = typer.Typer(
                    cls=SummarisedGroup, no_args_is_help=True, help=GROUPS[group], rich_markup_mode=None
                )
                app.add_typer(groups[group], name=group)
            groups[group].command(name.replace("_", "-"), cls=GroupedCommand)(function)
        else:
            app.command(module.name.replace("_", "-"), cls=GroupedCommand)(function)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 some inputs failed, 2 the request is wrong."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a dash or a file name that the locale cannot show
    try:
        result: Any = build()(args=arguments, standalone_mode=True)
        sys.exit(result or 0)
    except VeravoxError as error:
        print(f"veravox: {error}", file=sys.stderr)
        sys.exit(EXIT_WRONG)
    except (_Stopped, KeyboardInterrupt) as stopped:
        code = stopped.code if isinstance(stopped, _Stopped) else EXIT_INTERRUPTED
        if code == EXIT_INTERRUPTED:
            print("veravox: interrupted; no partial files were written", file=sys.stderr)
        else:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(code)
