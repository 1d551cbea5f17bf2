"""Ctrl-C ends whatever a strategy does, in a replay too: one line, exit code 130, nothing of the run left in the temporary folder."""

import os
import signal
import subprocess
import sys
import time

import pytest

LOOPS = """
from replay import State, Strategy, compiled

@compiled
class Loops(Strategy):
    n: int = 1
    m: State[int] = 0

    def on_quote(self, ctx, q):
        while ctx.now > 0:
            self.m += 1
"""
ARMS = """
from replay import Strategy, compiled

@compiled
class Arms(Strategy):
    def on_start(self, ctx):
        ctx.timer(ctx.now)

    def on_quote(self, ctx, q):
        ctx.timer(ctx.now)

    def on_timer(self, ctx, t):
        ctx.timer(ctx.now)
"""
SLEEPS = """
import time
from replay import Strategy

class Sleeps(Strategy):
    def on_quote(self, ctx, q):
        time.sleep(600)
"""


@pytest.mark.parametrize(("text", "command"), [(LOOPS, "run"), (ARMS, "run"), (SLEEPS, "run"), (LOOPS, "sweep")])
def test_ctrl_c_ends_a_run_that_does_not_end(tmp_path, text, command):
    (tmp_path / "s.py").write_text(text)
    (tmp_path / "tmp").mkdir()
    session = os.path.join(os.path.dirname(__file__), "..", "fixtures", "equity-day")
    args = [sys.executable, "-m", "replay", command, session, "-s", "s.py", *(["-p", "n=1:4:1"] if command == "sweep" else [])]
    p = subprocess.Popen(
        args,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # tests may run where it is ignored
    )
    try:
        time.sleep(25)  # to load what is compiled, and be in the loop; interrupted earlier, it ends the same way
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
    finally:
        p.kill()
    assert p.returncode == 130, (p.returncode, out, err)
    assert "Traceback" not in err
