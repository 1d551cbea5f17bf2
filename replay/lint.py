"""The determinism lint: what must not appear in code that decides, found on its syntax tree.

A decision must be a function of the events. Clocks, randomness, the environment, threads and I/O break that openly; the rest
breaks it in the last bit: `**`, NumPy's and libm's transcendental functions and its sums give other bits compiled than
interpreted, and other bits on another machine (measured). Rules, by code:

=======  ==========================================================================================
D001     a clock: `time`, `datetime.now`, `Timestamp.now`
D002     randomness: `random`, `numpy.random`, `secrets`, `uuid`
D003     the environment: `os.environ`, `os.getenv`, `sys.argv`, `platform`
D004     threads, processes, asyncio, sockets
D005     input or output: `open`, `print`, `input`, files
D006     the order of a set: iterating one
D007     `hash()` and `id()`: other values in another process
D008     `**` and `pow`
D009     float functions whose bits are not ours: `np.sum`, `np.exp`, `math.log`, `sum()`, `@`, ...
D010     `fastmath` or `parallel` other than False
D011     writing a global
D012     a branch on whether this is live: the two plugs of the engine are the only difference
D000     a file that cannot be read as Python
=======  ==========================================================================================

`lint_core` walks the engine's core and the strategies that come with it; what it passes over is in `ALLOWED`, with the reason.

    python -m replay.lint
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parent
CORE = ("kernel", "venue", "trader")

#: What is not held to a rule, and why. Every entry is a file of the core, relative to the package, and the codes it is spared.
ALLOWED: dict[str, tuple[frozenset[str], str]] = {
    "kernel/memory.py": (
        frozenset({"D003", "D005", "D007", "D009"}),
        "sets up compilation before any event: cache folder, CPU name, a view cache keyed by id, integer sums; nothing of it reaches a decision",
    ),
    "kernel/cache.py": (
        frozenset({"D005"}),
        "keeps compiled code in files, before any event",
    ),
    "kernel/ladder.py": (frozenset({"D009"}), "the sum in `check` is of integers, and for tests"),
    "trader/limits.py": (
        frozenset({"D005", "D008"}),
        "Python-side set-up: reads the limits file; powers of ten exact in Decimal",
    ),
    "trader/setup.py": (frozenset({"D009"}), "Python-side set-up: a sum of integers, before the first event"),
    "trader/specs.py": (frozenset({"D008"}), "Python-side set-up: powers of ten in integers, before the first event"),
}


class Finding(NamedTuple):
    """One place where a rule is broken.

    >>> str(Finding("a.py", 3, "D008", "use x * x"))
    'a.py:3: D008 use x * x'
    """

    file: str
    line: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.code} {self.message}"


_MODULES = {
    "time": ("D001", "a clock: use the event's time"),
    "random": ("D002", "randomness: use replay.kernel.rng"),
    "secrets": ("D002", "randomness: use replay.kernel.rng"),
    "uuid": ("D002", "randomness: derive ids from sequence numbers"),
    "numpy.random": ("D002", "randomness: use replay.kernel.rng"),
    "threading": ("D004", "a thread: the core is one function of its events"),
    "asyncio": ("D004", "concurrency: the core is one function of its events"),
    "multiprocessing": ("D004", "a process: the core is one function of its events"),
    "concurrent": ("D004", "concurrency: the core is one function of its events"),
    "subprocess": ("D004", "a process: the core is one function of its events"),
    "socket": ("D004", "a connection: belongs to an adapter"),
    "platform": ("D003", "the machine must not decide"),
}
_ATTRIBUTES = {
    "os.environ": ("D003", "the environment: pass configuration as an event"),
    "os.getenv": ("D003", "the environment: pass configuration as an event"),
    "os.urandom": ("D002", "randomness: use replay.kernel.rng"),
    "sys.argv": ("D003", "the command line: pass configuration as an event"),
}
_CLOCKS = {"now", "utcnow", "today"}
_CLOCK_OWNERS = {"datetime", "date", "Timestamp", "pd", "pandas", "pendulum"}
_IO = {"open", "print", "input", "breakpoint"}
_FILE_METHODS = {"read_text", "read_bytes", "write_text", "write_bytes"}
_NUMPY_FLOAT = {
    "sum",
    "nansum",
    "std",
    "nanstd",
    "var",
    "nanvar",
    "mean",
    "nanmean",
    "average",
    "median",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "power",
    "float_power",
    "dot",
    "vdot",
    "inner",
    "matmul",
    "einsum",
    "cumsum",
    "cumprod",
    "prod",
    "trapezoid",
    "convolve",
    "sin",
    "cos",
    "tan",
    "tanh",
    "sinh",
    "cosh",
    "arctan",
    "arctan2",
    "arcsin",
    "arccos",
    "hypot",
    "cbrt",
}
_MATH_FLOAT = {
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "pow",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "atan2",
    "sinh",
    "cosh",
    "tanh",
    "fsum",
    "sumprod",
    "hypot",
    "dist",
    "cbrt",
    "erf",
    "erfc",
    "gamma",
    "lgamma",
}
_ARRAY_METHODS = {"sum", "mean", "std", "var", "dot", "cumsum", "cumprod", "prod"}
_LIVE = {"live", "is_live", "paper", "is_paper", "backtest", "is_backtest", "live_mode", "paper_mode"}


class _Visitor(ast.NodeVisitor):
    def __init__(self, filename: str, is_trader: bool):
        self.file = filename
        self.is_trader = is_trader
        self.findings: list[Finding] = []
        self.names: dict[str, str] = {}  # local name -> dotted origin
        self.sets: list[dict[str, bool]] = [{}]  # per scope: names bound to a set

    def add(self, node: ast.AST, code: str, message: str) -> None:
        self.findings.append(Finding(self.file, getattr(node, "lineno", 0), code, message))

    # --- names -------------------------------------------------------------------------------------------------------------

    def origin(self, node: ast.AST) -> str:
        """The dotted name behind an expression, through imports; empty where there is none."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            owner = self.origin(node.value)
            return f"{owner}.{node.attr}" if owner else ""
        return ""

    def banned_module(self, node: ast.AST, dotted: str) -> None:
        parts = dotted.split(".")
        for name in (parts[0], ".".join(parts[:2])):
            if name in _MODULES:
                self.add(node, *_MODULES[name])
                return

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.names[alias.asname or alias.name.split(".")[0]] = alias.name if alias.asname else alias.name.split(".")[0]
            self.banned_module(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            dotted = f"{module}.{alias.name}"
            self.names[alias.asname or alias.name] = dotted
            if dotted in _ATTRIBUTES:
                self.add(node, *_ATTRIBUTES[dotted])
            elif node.level == 0:
                self.banned_module(node, dotted)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        dotted = self.origin(node)
        if dotted in _ATTRIBUTES:
            self.add(node, *_ATTRIBUTES[dotted])
        elif dotted == "numpy.random":
            self.add(node, *_MODULES[dotted])
        self.generic_visit(node)

    # --- calls and operators ---------------------------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> None:
        dotted = self.origin(node.func)
        owner, _, last = dotted.rpartition(".")
        if last in _CLOCKS and set(owner.split(".")) & _CLOCK_OWNERS:
            self.add(node, "D001", "a clock: use the event's time")
        elif isinstance(node.func, ast.Name) and dotted == node.func.id:
            self.builtin_call(node, dotted)
        elif owner == "numpy" and last in _NUMPY_FLOAT or owner.startswith("numpy.linalg"):
            self.add(node, "D009", f"{dotted}: other last bits compiled; write the loop, or use replay.kernel.fixed")
        elif owner == "math" and last in _MATH_FLOAT:
            self.add(node, "D009", f"{dotted}: other last bits elsewhere; use replay.kernel.fixed")
        elif isinstance(node.func, ast.Attribute):
            self.method_call(node, node.func.attr, owner)
        for keyword in node.keywords:
            if keyword.arg in ("fastmath", "parallel") and not (
                isinstance(keyword.value, ast.Constant) and not keyword.value.value
            ):
                self.add(node, "D010", f"{keyword.arg} changes bits: leave it False")
        self.generic_visit(node)

    def builtin_call(self, node: ast.Call, name: str) -> None:
        if name in _IO:
            self.add(node, "D005", f"{name}(): the core does no input or output")
        elif name in ("hash", "id"):
            self.add(node, "D007", f"{name}(): another value in another process; use replay.kernel.memory.mix")
        elif name == "pow":
            self.add(node, "D008", "pow(): multiply")
        elif name == "sum":
            self.add(node, "D009", "sum(): compensated since Python 3.12; write the loop")
        elif name in ("list", "tuple", "iter", "enumerate", "map", "zip") and any(self.is_set(a) for a in node.args):
            self.add(node, "D006", "the order of a set: sort it")

    def method_call(self, node: ast.Call, name: str, owner: str) -> None:
        if name in _FILE_METHODS:
            self.add(node, "D005", f".{name}(): the core does no input or output")
        elif name in _ARRAY_METHODS and owner != "math":
            self.add(node, "D009", f".{name}(): other last bits compiled; write the loop")

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Pow):
            self.add(node, "D008", "**: other last bits compiled; multiply")
        elif isinstance(node.op, ast.MatMult):
            self.add(node, "D009", "@: other last bits by library; write the loop")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.op, ast.Pow):
            self.add(node, "D008", "**=: other last bits compiled; multiply")
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            is_option = isinstance(key, ast.Constant) and key.value in ("fastmath", "parallel")
            if is_option and not (isinstance(value, ast.Constant) and not value.value):
                self.add(node, "D010", f"{key.value} changes bits: leave it False")
        self.generic_visit(node)

    # --- sets ----------------------------------------------------------------------------------------------------------------------

    def is_set(self, node: ast.AST) -> bool:
        if isinstance(node, (ast.Set, ast.SetComp)):
            return True
        if isinstance(node, ast.Call):
            return self.origin(node.func) in ("set", "frozenset")
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)):
            return self.is_set(node.left) or self.is_set(node.right)
        if isinstance(node, ast.Name):
            return next((scope[node.id] for scope in reversed(self.sets) if node.id in scope), False)
        return False

    def bind(self, target: ast.AST, value: ast.AST | None) -> None:
        if isinstance(target, ast.Name) and value is not None:
            self.sets[-1][target.id] = self.is_set(value)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self.bind(target, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.bind(node.target, node.value)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.sets.append({})
        self.generic_visit(node)
        self.sets.pop()

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.add(node, "D004", "async: the core is one function of its events")
        self.visit_FunctionDef(node)

    def visit_For(self, node: ast.For) -> None:
        self.iterated(node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.iterated(node.iter)
        self.generic_visit(node)

    def iterated(self, node: ast.AST) -> None:
        if self.is_set(node):
            self.add(node, "D006", "the order of a set: sort it")

    # --- state and branches ------------------------------------------------------------------------------------------------------------

    def visit_Global(self, node: ast.Global) -> None:
        self.add(node, "D011", f"global {', '.join(node.names)}: state belongs to the arena")

    def condition(self, node: ast.AST) -> None:
        if not self.is_trader:
            return
        for part in ast.walk(node):
            name = part.id if isinstance(part, ast.Name) else part.attr if isinstance(part, ast.Attribute) else ""
            if name.lower() in _LIVE:
                self.add(part, "D012", f"a branch on {name!r}: replay and live differ in the two plugs only")

    def visit_If(self, node: ast.If) -> None:
        self.condition(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self.condition(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.condition(node.test)
        self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> None:
        self.condition(node.test)
        self.generic_visit(node)

    def visit_Match(self, node: ast.Match) -> None:
        self.condition(node.subject)
        self.generic_visit(node)


def lint_source(text: str, filename: str = "<string>", *, is_trader: bool = True) -> list[Finding]:
    """What breaks a rule in a source text, in order of lines. `is_trader`: whether D012 applies.

    >>> [f.code for f in lint_source("import time\\ny = x ** 2")]
    ['D001', 'D008']
    """
    try:
        tree = ast.parse(text, filename)
    except SyntaxError as error:
        return [Finding(filename, error.lineno or 0, "D000", f"expected Python source: {error.msg}")]
    return lint_tree(tree, filename, is_trader=is_trader)


def lint_tree(tree: ast.Module, filename: str, *, is_trader: bool = True) -> list[Finding]:
    """The same for a syntax tree."""
    visitor = _Visitor(filename, is_trader)
    visitor.visit(tree)
    return sorted(visitor.findings, key=lambda f: (f.line, f.code))


def core_files() -> Iterator[tuple[Path, str]]:
    """Each file the lint reads and its name, relative to the package or to the strategies' folder."""
    for part in CORE:
        for path in sorted((PACKAGE / part).rglob("*.py")):
            yield path, path.relative_to(PACKAGE).as_posix()
    strategies = PACKAGE.parent / "strategies"
    for path in sorted(strategies.rglob("*.py")):
        if is_compiled_strategy(path.read_text()):
            yield path, path.relative_to(PACKAGE.parent).as_posix()


def is_compiled_strategy(text: str) -> bool:
    """Whether a source marks a class as compiled: a decorator named `compiled`, or called with ``compiled=True``.

    >>> is_compiled_strategy("@compiled\\nclass A: ..."), is_compiled_strategy("class A: ...")
    (True, False)
    """
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            for decorator in node.decorator_list:
                source = ast.unparse(decorator)
                if source.split("(")[0].endswith("compiled") or "compiled=True" in source:
                    return True
    return False


def lint_core() -> list[Finding]:
    """What breaks a rule in the engine's core and its compiled strategies, less what `ALLOWED` names."""
    findings = []
    for path, name in core_files():
        spared = ALLOWED.get(name, (frozenset(), ""))[0]
        for finding in lint_source(path.read_text(), name, is_trader=name.startswith(("trader/", "strategies/"))):
            if finding.code not in spared:
                findings.append(finding)
    return findings


if __name__ == "__main__":
    import sys

    found = lint_core()
    for finding in found:
        print(finding)
    sys.exit(1 if found else 0)
