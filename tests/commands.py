"""Commands of `replay` run one after another in this process: ``python tests/commands.py``.

Reads a JSON list of arguments a line from stdin, answers each with ``[exit code, stdout, stderr]``, a
traceback included. A process that dies answers nothing more: its parent sees that.
"""

import contextlib
import io
import json
import re
import sys
import traceback

import typer

from replay.cli import main


def without_seal(text):
    """A manifest as a forger leaves it, who may write any seal: without one it is read as it is."""
    return re.sub(r',\s*"seal": "[0-9a-f]{64}"', "", text)


def command(args):
    out, err = io.StringIO(), io.StringIO()
    code = 0
    sys.argv = ["replay", *args]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as e:
            code = e.code
        except BaseException:
            code = -1
            traceback.print_exc()
    return [code, out.getvalue(), err.getvalue()]


if __name__ == "__main__":
    application = sys.modules["replay.cli.app"]
    application.app = typer.main.get_command(application.app)  # built once, not by every command
    answers = sys.stdout
    for line in sys.stdin:
        print(json.dumps(command(json.loads(line))), file=answers, flush=True)
