"""What strangers made, made worse: every parser takes it or refuses it in one line, at once and in little memory. A slice of
``python tests/fuzzing/fuzz.py 60``, with mutations by seed."""

import ast
import faulthandler
import random
import resource
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")
sys.path.insert(0, str(Path(__file__).parent / "fuzzing"))
import targets  # noqa: E402
from mutator import mutated  # noqa: E402

from replay.live.recovery import Start  # noqa: E402

NAMES = [
    "plan", "limits", "config", "live config", "manifest", "rows", "archive", "csv", "parquet", "run", "journal", "block header", "head", "start", "mark", "batch",
    "snapshot", "snapshot, checksum made anew", "small snapshot, checksum made anew", "request", "query", "stream message",
]  # fmt: skip
SECONDS = 0.3  #: for each
UNREFUSED = ("query", "stream", "snapshot", "small snapshot")  #: answered, or passed over for an older one
SLOWEST_S = 10.0  #: one input, on a busy machine
MOST_MB = 700  #: more than before


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return {t.name: t for t in targets.targets(tmp_path_factory.mktemp("fuzzing"))}


def test_all_targets_are_here(found):
    assert list(found) == NAMES
    assert [name for name, target in found.items() if not target(target.good)] == []


@pytest.mark.parametrize("name", NAMES)
def test_mutated_input_is_refused_in_one_line(found, name):
    target, rng, refused, n = found[name], random.Random(name), 0, 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    until = time.monotonic() + SECONDS
    faulthandler.dump_traceback_later(60, exit=True)
    try:
        while n < 4000 and (time.monotonic() < until or n < 5):
            data, began = mutated(target.good, rng), time.monotonic()
            try:
                refused += not target(data)
            except Exception as e:
                raise AssertionError(f"{name}, input {n}: {type(e).__name__}: {e} from {data[:400]!r}") from e
            assert time.monotonic() - began < SLOWEST_S, f"{name}, input {n}: {data[:400]!r}"
            n += 1
    finally:
        faulthandler.cancel_dump_traceback_later()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MOST_MB, f"{name}: {n} inputs"
    assert n >= 5 and (refused or n < 40 or name.startswith(UNREFUSED)), "nothing of it was refused"


def test_nothing_is_unpickled_or_evaluated():
    """No module reads what could be code, but the two that load strategies, and the cache of kernels, whose files are this user's own
    and sealed (`test_kernel_cache`)."""
    for path in sorted(Path(Start.__module__.split(".")[0]).resolve().rglob("*.py")):
        if path.parts[-2:] == ("kernel", "cache.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "yaml"} & set(names), path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "compile", "np.load", "numpy.load", "pd.read_pickle", "os.system"), (
                    f"{path}: {called}"
                )
                assert not any(k.arg in ("allow_pickle", "shell") for k in node.keywords), f"{path}: {called}"
