"""The command line. One file a group of commands; results on stdout, progress and errors on stderr.

Anything wrong is one line ``error: ...`` and exit code 2. What a command needs is imported inside it, so that ``--help`` is fast.
"""

from replay.cli import bench, check, collect, data, explain, fuzz, live, new, run, serve, sweep  # noqa: F401  (each registers its commands)
from replay.cli.app import main

__all__ = ["main"]
