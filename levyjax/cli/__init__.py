"""The `levyjax` command: arguments, exit status and errors. Each subcommand is a module of this package.

A subcommand's module has `HELP` (one line), `add_arguments(parser)` and `run(args)`, which returns the result as a
mapping or list; it may have `render(result)`, the text shown without `--json`, and `failure(result)`, a sentence if the
result is bad news (exit status 2). Everything heavy is imported inside `run`.
"""

import argparse
import contextlib
import difflib
import gc
import importlib
import io
import os
import sys
import textwrap
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from levyjax import __version__
from levyjax.cli.programs import keep_programs
from levyjax.output import to_json

__all__ = ["COMMANDS", "main"]

COMMANDS = ("predict", "escape", "sweep", "replay", "tails", "train", "plot", "reproduce", "bench", "doctor")

_OPTIONS = ("--help", "-h", "--version")
_LINES, _WIDTH = 4, 118
_TRACEBACK = "LEVYJAX_TRACEBACK"
_OBJECTS = 20_000  # made between two passes of the garbage collector: at 700 they take a tenth of a short run


class _Parser(argparse.ArgumentParser):
    """Raises instead of printing its usage and leaving."""

    def error(self, message: str) -> Any:
        raise ValueError(f"{message}. See `{self.prog} --help`.")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: the arguments; default those of the process.

    Returns:
        The exit status: 0 done; 2 the input was refused, or a file could not be read or written (at most 4 lines on
        stderr); 130 interrupted; 1 anything else (set LEVYJAX_TRACEBACK=1 to see where).
    """
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:  # whoever read the output has gone
        return 1
    except (ValueError, OSError) as error:
        _show_traceback()
        return _fail(_sentence(error), 2)
    except Exception as error:
        _show_traceback()
        return _fail(f"{type(error).__name__}: {str(error)[:200]} (run with {_TRACEBACK}=1 for the traceback)", 1)


def _run(argv: list[str]) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal without Unicode shows escapes
        sys.stdout.reconfigure(errors="backslashreplace")
    _check_command(argv)
    keep_programs()
    gc.set_threshold(_OBJECTS)
    parser, commands = _parser([name for name in COMMANDS if name == argv[0]] or COMMANDS)
    try:
        args, unknown = parser.parse_known_args(argv)
    except SystemExit:  # --help and --version have printed what there is
        _write("")
        return 0
    module, subparser = commands[args.command]
    if unknown:
        raise _unknown_argument(unknown[0], subparser)
    result = module.run(args)
    render = None if getattr(args, "json", False) else getattr(module, "render", None)
    _write((render(result) if render else to_json(result)) + "\n")
    if isinstance(result, dict) and result.get("interrupted"):
        raise KeyboardInterrupt
    failure = module.failure(result) if hasattr(module, "failure") else None
    return _fail(failure, 2) if failure else 0


def _check_command(argv: list[str]) -> None:
    if not argv:
        raise ValueError(f"give a command: {', '.join(COMMANDS)}. See `levyjax --help`.")
    if argv[0].startswith("-") and argv[0] not in _OPTIONS:
        raise ValueError(f"unknown argument {argv[0][:60]!r}: {_nearest(argv[0], _OPTIONS)}See `levyjax --help`.")
    if argv[0] not in COMMANDS + _OPTIONS:
        raise ValueError(
            f"unknown command {argv[0][:60]!r}: {_nearest(argv[0], COMMANDS)}The commands are {', '.join(COMMANDS)}."
        )


def _parser(
    names: Sequence[str] = COMMANDS,
) -> tuple[argparse.ArgumentParser, dict[str, tuple[ModuleType, argparse.ArgumentParser]]]:
    parser = _Parser(
        prog="levyjax",
        description="Lévy-driven SDEs of SGD and Adam: exit rates, exit times, and tail indices of gradient noise.",
        epilog="A run is a TOML file with the tables [landscape], [basin], [dynamics], [noise] and [run].",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"levyjax {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands = {}
    for name in names:
        module = _module(name)
        if module is not None:
            text = getattr(module, "HELP", None) or (module.__doc__ or name).strip().splitlines()[0]
            subparser = subparsers.add_parser(name, help=text, description=text, allow_abbrev=False)
            module.add_arguments(subparser)
            commands[name] = (module, subparser)
    return parser, commands


def _module(name: str) -> ModuleType | None:
    try:
        module = importlib.import_module(f"levyjax.cli.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"levyjax.cli.{name}":
            raise
        return None
    return module if hasattr(module, "add_arguments") else None


def _unknown_argument(given: str, parser: argparse.ArgumentParser) -> ValueError:
    options = [option for action in parser._actions for option in action.option_strings]
    return ValueError(f"unknown argument {given[:60]!r}: {_nearest(given, options)}See `{parser.prog} --help`.")


def _nearest(given: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(given[:100], names, n=1)
    return f"did you mean `{close[0]}`? " if close else ""


def _write(text: str) -> None:
    """Writes to stdout; where it cannot be written the error comes now, and not once more when Python ends."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename!r}" if error.filename else "")
    return str(error) or type(error).__name__


def _fail(message: str, status: int) -> int:
    text = " ".join(f"levyjax: error: {message}".split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    lines = textwrap.wrap(text, _WIDTH, max_lines=_LINES, placeholder=" ...", break_on_hyphens=False)
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print("\n".join(lines), file=sys.stderr)
    return status


def _show_traceback() -> None:
    if os.environ.get(_TRACEBACK):
        traceback.print_exc()
