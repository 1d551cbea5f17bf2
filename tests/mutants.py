"""Change one operator, number or condition of the trader at a time and count how many of the changes the tests notice.

    python tests/mutants.py 200 [--seed 1] [--jobs 2] [--schedules 2000]

A mutant is met by the trader's tests, interpreted; one that lives by random schedules (`replay fuzz`), one that lives still by the whole
suite. Prints a line for each that lives, and the share that was killed: of all, and of those that are not known to change nothing
(`SAME`). Exit code 1 where the latter is below 95 %, where one of `SAME` is killed after all, or its line is not in the source any more.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = ("trader/risk.py", "trader/oms.py", "trader/reports.py", "trader/ledger.py")
LONGEST_S = 3600  #: of one stage: some mutants never end
QUICK = (
    "test_risk.py",
    "test_oms.py",
    "test_stops.py",
    "test_ledger.py",
    "test_groups.py",
    "test_orders.py",
    "test_golden_schedules.py",
)
COMPARE = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult}
RISK, OMS = "trader/risk.py", "trader/oms.py"
#: mutants that change nothing: (file, line, kind, which of that kind on it, from the left) -> why
SAME = {
    (RISK, "longest += worth2(table[k], price2, high) * (1 if high > 0 else -1)", "compare", 0): "no lots are worth 0, whatever the sign",
    (RISK, "longest += worth2(table[k], price2, high) * (1 if high > 0 else -1)", "arithmetic", 0): "every term changes its sign, and abs() is read",
    (RISK, "if (l.max_gross > 0 or l.max_net > 0 or l.max_leverage > 0) and not reducing:", "compare", 0): "works out what no limit asks for",
    (OMS, "return slot if orders(tb, h)[slot].handle == handle else -1", "number", 0): "any number below 0 is no slot",
}  # fmt: skip


def places(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where a tree can be changed: index of the node in `ast.walk`, and how."""
    for k, node in enumerate(ast.walk(tree)):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARE:
            yield k, "compare"
        elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in ARITHMETIC:
            yield k, "arithmetic"
        elif isinstance(node, ast.BoolOp):
            yield k, "and/or"
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            yield k, "number"
        elif isinstance(node, ast.If):
            yield k, "never"
        elif isinstance(node, (ast.Expr, ast.AugAssign)) and not (isinstance(node, ast.Expr) and _said(node)):
            yield k, "left out"


def _said(node: ast.Expr) -> bool:
    """A docstring, or a call that decides nothing."""
    quiet = ("apart", "emit", "emit_seen")
    return isinstance(node.value, ast.Constant) or (
        isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") in quiet
    )


def mutate(text: str, k: int, how: str) -> tuple[str, int]:
    """The changed text, and the line."""
    tree = ast.parse(text)
    node = list(ast.walk(tree))[k]
    if how == "compare":
        node.ops[0] = COMPARE[type(node.ops[0])]()
    elif how == "arithmetic":
        node.op = ARITHMETIC[type(node.op)]()
    elif how == "and/or":
        node.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
    elif how == "number":
        node.value += 1
    elif how == "never":
        node.test = ast.Constant(value=False)
    else:
        for parent in ast.walk(tree):
            for field in ("body", "orelse"):
                body = getattr(parent, field, None)
                if isinstance(body, list) and node in body:
                    body[body.index(node)] = ast.Pass()
    return ast.unparse(ast.fix_missing_locations(tree)), node.lineno


def chosen(n: int, seed: int) -> list[tuple[str, int, str]]:
    """`n` mutants drawn from all there are."""
    every = []
    for file in FILES:
        tree = ast.parse((ROOT / "replay" / file).read_text())
        decorated = [f for f in tree.body if isinstance(f, ast.FunctionDef)]
        inside = {id(x) for f in decorated for s in f.body for x in ast.walk(s)}
        every += [(file, k, how) for k, how in places(tree) if id(list(ast.walk(tree))[k]) in inside]
    return random.Random(seed).sample(every, min(n, len(every)))


def same() -> set[tuple[str, int, str]]:
    """The mutants of `SAME` as `chosen` gives them. Exits where one is stale."""
    out = set()
    for file, line, how, nth in SAME:
        text = (ROOT / "replay" / file).read_text()
        walked = list(ast.walk(ast.parse(text)))
        at = [n for n, t in enumerate(text.splitlines(), 1) if t.strip() == line]
        on_it = sorted((walked[k].col_offset, k) for k, h in places(walked[0]) if h == how and [walked[k].lineno] == at)
        if nth >= len(on_it):
            sys.exit(f"{file} does not have this line once, with such a mutant: {how} {nth}: {line}: correct SAME")
        out.add((file, on_it[nth][1], how))
    return out


def judged(file: str, k: int, how: str, schedules: int) -> tuple[str, str]:
    """(what killed it, or "" where nothing did; where it is)."""
    text = (ROOT / "replay" / file).read_text()
    changed, line = mutate(text, k, how)
    where = f"{file}:{line} {how}: {text.splitlines()[line - 1].strip()}"
    with tempfile.TemporaryDirectory() as folder:
        copy_ = Path(folder)
        for part in ("replay", "strategies", "fixtures", "tests", "docs", "bench", ".ci"):
            shutil.copytree(ROOT / part, copy_ / part, ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("pyproject.toml", "README.md", "ARCHITECTURE.md"):
            shutil.copy(ROOT / part, copy_)
        (copy_ / "replay" / file).write_text(changed)
        environment = os.environ | {"PYTHONPATH": folder, "REPLAY_CACHE": f"{folder}/cache"}
        pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        quick = [f"tests/{name}" for name in QUICK]
        hunt = [sys.executable, "tests/planted.py", "--hunt", "--schedules", str(schedules)]
        for stage, command, more in (
            ("trader's tests", [*pytest, *quick], {"NUMBA_DISABLE_JIT": "1"}),
            ("schedules", hunt, {}),
            ("whole suite", [*pytest, "tests"], {}),
        ):
            try:
                done = subprocess.run(
                    command, cwd=folder, env=environment | more, capture_output=True, text=True, timeout=LONGEST_S
                )
            except subprocess.TimeoutExpired:
                return f"{stage}, which never ended", where
            if done.returncode or (stage == "schedules" and not done.stdout.startswith("[0")):
                return stage, where
    return "", where


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("n", type=int)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--schedules", type=int, default=2000)
    a = p.parse_args()
    started, killed, mutants, known = time.monotonic(), {}, chosen(a.n, a.seed), same()
    wrong, idle = 0, len(known.intersection(mutants))
    with ThreadPoolExecutor(a.jobs) as pool:
        for done, (stage, where) in enumerate(pool.map(lambda m: judged(*m, a.schedules), mutants), 1):
            killed[stage] = killed.get(stage, 0) + 1
            listed = mutants[done - 1] in known
            wrong += listed and bool(stage)
            if listed or not stage:
                print(f"{'same' if not stage else 'not the same'}    {where}" if listed else f"lives    {where}", flush=True)
            if done % 10 == 0:
                print(f"{done} of {len(mutants)}, {time.monotonic() - started:.0f} s: {killed}", flush=True)
    dead, n = len(mutants) - killed.pop("", 0), max(1, len(mutants) - idle)
    print(f"{dead} of {len(mutants)} mutants of seed {a.seed} killed ({100 * dead / len(mutants):.1f} %): {killed}")
    print(f"{dead - wrong} of the {n} that are not known to change nothing ({100 * (dead - wrong) / n:.1f} %)")
    return 0 if dead - wrong >= 0.95 * n and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
