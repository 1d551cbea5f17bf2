"""The application the commands register with, and how it ends."""

from __future__ import annotations

import contextlib
import sys

import typer

from replay.cli.interrupt import interruptible
from replay.errors import ReplayError
from replay.terminal import never_fail

#: commands that answer signals themselves, and may take their time about it
ENDS_ITSELF = {"paper", "serve", "record", "download"}

app = typer.Typer(
    help="Deterministic event replay for trading.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def main() -> None:
    """The entry point: runs the command, turns what went wrong into one line and an exit code."""
    never_fail()
    try:
        with contextlib.nullcontext() if set(sys.argv[1:2]) & ENDS_ITSELF else interruptible():
            code = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except ReplayError as e:
        code = _error(e)
    except BrokenPipeError:  # the reader of our output has gone
        sys.stdout = None
        code = 1
    except MemoryError as e:
        code = _error(f"not enough memory: {e or 'choose less'}")
    except OSError as e:
        code = _error(e)
    except Exception as e:
        if not hasattr(e, "format_message"):  # not the command line's own: a fault of ours, to be seen whole
            raise
        code = _error(e.format_message())
    sys.exit(code if isinstance(code, int) else 0)


def _error(what: object) -> int:
    sys.stdout.flush()
    print("error:", " ".join(str(what).split()), file=sys.stderr)
    return 2
