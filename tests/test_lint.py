"""Each rule of the determinism lint has a case it must find and one it must leave alone; the real tree is clean."""

import pytest

from replay.lint import ALLOWED, CORE, PACKAGE, core_files, is_compiled_strategy, lint_core, lint_source

CASES = [
    ("D001", "import time\nt = time.time()", "t = event.time"),
    ("D001", "from datetime import datetime\nt = datetime.now()", "from datetime import datetime\nt = datetime(2024, 1, 2)"),
    ("D001", "import pandas as pd\nt = pd.Timestamp.now()", "t = clock.now"),
    ("D001", "from time import perf_counter as tick", "from timeline import tick"),
    ("D002", "import random", "from replay.kernel.rng import draw"),
    ("D002", "import numpy as np\nx = np.random.rand()", "import numpy as np\nx = np.zeros(3)"),
    ("D002", "from numpy import random as r", "from numpy import zeros as r"),
    ("D002", "import os\nx = os.urandom(8)", "import os\nx = os.path"),
    ("D002", "import uuid, secrets", "x = 'uuid'"),
    ("D003", "import os\nx = os.environ['A']", "x = config['A']"),
    ("D003", "from os import getenv", "from os import path"),
    ("D003", "import sys\nx = sys.argv", "import sys\nx = sys.maxsize"),
    ("D004", "import threading", "thread = 1"),
    ("D004", "from concurrent.futures import ThreadPoolExecutor", "from functools import lru_cache"),
    ("D004", "import asyncio", "x = 'asyncio'"),
    ("D004", "async def f(): ...", "def f(): ..."),
    ("D005", "f = open('x')", "f = book.open"),
    ("D005", "print(x)", "report.print_count = 1"),
    ("D005", "x = path.read_text()", "x = path.name"),
    ("D006", "for x in {1, 2}: ...", "for x in (1, 2): ..."),
    ("D006", "s = set(xs)\nfor x in s: ...", "s = set(xs)\nfor x in sorted(s): ..."),
    ("D006", "y = [x for x in set(a) | b]", "y = [x for x in a]"),
    ("D006", "def f(a):\n    s = {1}\n    return list(s)", "def f(a):\n    s = {1}\n    return a in s"),
    ("D007", "x = hash('a')", "x = mix(0, 1)"),
    ("D007", "x = id(y)", "x = row.id"),
    ("D008", "y = x ** 2", "y = x * x"),
    ("D008", "x **= 2", "x *= 2"),
    ("D008", "y = pow(x, 2)", "y = power_of_two(2)"),
    ("D009", "import numpy as np\ny = np.sum(x)", "import numpy as np\ny = np.empty(3)"),
    ("D009", "import numpy as np\ny = np.log(x)", "from replay.kernel.fixed import log\ny = log(x)"),
    ("D009", "from numpy import exp\ny = exp(x)", "from replay.kernel.fixed import exp\ny = exp(x)"),
    ("D009", "import math\ny = math.exp(x)", "import math\ny = math.sqrt(x)"),
    ("D009", "from math import log as ln\ny = ln(x)", "from math import sqrt as root\ny = root(x)"),
    ("D009", "y = sum(xs)", "y = 0\nfor x in (1, 2):\n    y += x"),
    ("D009", "y = xs.std()", "y = xs.copy()"),
    ("D009", "y = a @ b", "y = a * b"),
    ("D010", "f = njit(fastmath=True)(g)", "f = njit(fastmath=False)(g)"),
    ("D010", "@njit(parallel=flag)\ndef f(): ...", "@njit(parallel=False)\ndef f(): ..."),
    ("D010", "options = {'fastmath': True}", "options = {'fastmath': False}"),
    ("D011", "def f():\n    global n\n    n = 1", "def f():\n    n = 1"),
    ("D012", "if live: ...", "if alive: ..."),
    ("D012", "x = 1 if self.is_live else 2", "x = self.is_live_name"),
    ("D012", "while mode.paper and x: ...", "while mode.papers: ..."),
    ("D000", "def f(:", "def f(): ..."),
]


@pytest.mark.parametrize(("code", "bad", "good"), CASES)
def test_rule(code, bad, good):
    found = lint_source(bad, "bad.py")
    assert code in {f.code for f in found} and all(f.file == "bad.py" and f.line >= 1 and f.message for f in found)
    assert lint_source(good, "good.py") == []


def test_live_branches_are_the_traders_rule():
    assert lint_source("if live: ...", is_trader=False) == []


def test_findings_read_as_a_line():
    assert str(lint_source("x = 1\ny = x ** 2", "a.py")[0]).startswith("a.py:2: D008 ")


def test_the_real_tree_is_clean():
    assert [str(f) for f in lint_core()] == []


def test_nothing_is_skipped_in_silence():
    names = {name for _, name in core_files()}
    for part in CORE:
        assert {p.relative_to(PACKAGE).as_posix() for p in (PACKAGE / part).rglob("*.py")} <= names
    assert all(codes and reason for codes, reason in ALLOWED.values())


def test_an_allowance_is_needed():
    """An allowance for a rule its file no longer breaks must go."""
    for name, (codes, _) in ALLOWED.items():
        path = PACKAGE / name
        if path.exists():
            assert codes <= {f.code for f in lint_source(path.read_text(), name)}, name


def test_compiled_strategies_are_told_from_plain_ones():
    assert is_compiled_strategy("@replay.compiled\nclass A: ...")
    assert is_compiled_strategy("@strategy(compiled=True)\nclass A: ...")
    assert not is_compiled_strategy("@strategy\nclass A: ...\n@compiled\ndef f(): ...")
