"""What is wrong with a strategy, in one line that names its line: found before it is compiled, or read out of the compiler's words.

Numba compiles some mistakes into silence: a price of 99.5 ticks is cut to 99, a comparison with text is false, an event can be written
to. What can be seen in the syntax tree is refused here; what needs types, by `replay.kernel.memory.whole` where the call is compiled.
"""

from __future__ import annotations

import ast
import builtins
import ctypes
import difflib
import inspect
import re
import traceback
from collections.abc import Callable, Iterable, Sequence

from replay import lint
from replay.errors import BadInput
from replay.trader import context
from replay.trader.layout import HOOKS, VIEW

CONTEXT = {n: getattr(f, "py_func", f) for n, f in vars(context).items() if callable(f) and f.__module__ == context.__name__}
#: what is read without a call
VALUES = {n for n, f in CONTEXT.items() if list(inspect.signature(f).parameters) == ["ctx"]}
_BOOK = "bid_px, bid_sz, ask_px, ask_sz, last_px, last_sz, ts"


def no_such(name: str, features: Iterable[str]) -> str:
    """What to say of a name that ``ctx`` does not have."""
    known = sorted({*CONTEXT, *features} - {"feature", "sign"})
    near = difflib.get_close_matches(name, known, 1)
    return f"ctx has no {name!r}{f' (ctx.{near[0]}?)' if near else ''}; it has {', '.join(known)}"


def check_handlers(cls: type) -> None:
    """Handlers of either kind take ``(self, ctx, event)``, those that no one event wakes ``(self, ctx)``. Raises `BadInput`."""
    for hook in HOOKS:
        if hasattr(cls, hook):
            names = list(inspect.signature(getattr(cls, hook)).parameters)
            want = 2 if hook in ("on_start", "on_bars", "on_stop") else 3
            if len(names) != want or names[:2] != ["self", "ctx"]:
                example = "(self, ctx)" if want == 2 else "(self, ctx, event)"
                raise BadInput(f"strategy {cls.__name__}: {hook} takes {example}, got ({', '.join(names)})")


def check_method(
    method: ast.FunctionDef,
    fields: Iterable[str],
    features: Iterable[str],
    known: Iterable[str],
    wrong: Callable[[ast.AST, str], BadInput],
) -> None:
    """Raise `wrong` for the first thing in a compiled method that cannot work. `known`: the names of its module."""
    _Method(method, set(fields), set(features), set(known), wrong).check()


def check_rules(nodes: Sequence[ast.stmt], path: str) -> None:
    """Raise `BadInput` for the first rule of `replay.lint` that a compiled strategy, with what it uses of its module, breaks."""
    for found in lint.lint_tree(ast.Module(list(nodes), []), path):
        raise BadInput(f"strategy {path} line {found.line}: {found.message} ({found.code})")


def used(module: ast.Module, body: ast.ClassDef) -> list[ast.stmt]:
    """The imports, constants and functions of a module that a class uses, directly or not, in order."""
    binds = {k: _bound(node) for k, node in enumerate(module.body)}
    wanted, kept, todo = set(), set(), [body]
    while todo:
        wanted |= {n.id for n in ast.walk(todo.pop()) if isinstance(n, ast.Name)}
        for k, names in binds.items():
            if k not in kept and names & wanted:
                kept.add(k)
                todo.append(module.body[k])
    return [module.body[k] for k in sorted(kept)]


def _bound(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.ImportFrom) and node.module == "__future__":
        return set()
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {a.asname or a.name.split(".")[0] for a in node.names}
    if isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) for t in node.targets):
        return {t.id for t in node.targets}
    return {node.name} if isinstance(node, ast.FunctionDef) else set()


class _Method(ast.NodeVisitor):
    def __init__(self, method, fields, features, known, wrong):
        self.method, self.fields, self.features, self.wrong = method, fields, features, wrong
        nodes = list(ast.walk(method))
        own = {a.arg for n in nodes if isinstance(n, ast.arguments) for a in (*n.posonlyargs, *n.args, *n.kwonlyargs)}
        own |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        self.known = own | known | set(dir(builtins))
        self.books = {
            n.targets[0].id
            for n in nodes
            if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name) and _calls(n.value) == "book"
        }

    def check(self) -> None:
        statements = self.method.body[1:] if ast.get_docstring(self.method) is not None else self.method.body
        for node in statements:
            self.visit(node)

    def visit_Import(self, node):
        raise self.wrong(node, "an import in a compiled method: import at the top of the file")

    visit_ImportFrom = visit_Import

    def visit_Constant(self, node):
        if isinstance(node.value, str | bytes):
            raise self.wrong(
                node, f"text {node.value!r}: a compiled method works with numbers (names such as DAY are imported from replay)"
            )

    def visit_JoinedStr(self, node):
        raise self.wrong(node, "text: a compiled method works with numbers; ctx.log(code, a, b, c) keeps up to three")

    def visit_Raise(self, node):
        """Its text is never formatted."""

    def visit_Assert(self, node):
        self.visit(node.test)

    def visit_Name(self, node):
        if node.id not in self.known:
            hint = f": write self.{node.id}" if node.id in self.fields else ""
            raise self.wrong(node, f"name {node.id!r} is not defined{hint}")

    def visit_Attribute(self, node):
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        if isinstance(node.ctx, ast.Store) and owner != "self":
            raise self.wrong(
                node, f"{ast.unparse(node)} cannot be set: events and views are what happened; state is a field of the class"
            )
        if owner == "ctx" and (node.attr in self.features or node.attr in CONTEXT and node.attr not in VALUES):
            raise self.wrong(node, f"ctx.{node.attr} is a function: write ctx.{node.attr}{self.signature(node.attr)}")
        if (owner in self.books or _calls(node.value) == "book") and node.attr not in VIEW.names:
            raise self.wrong(node, f"ctx.book() has no {node.attr!r}; it has {_BOOK}")
        self.visit(node.value)

    def signature(self, name: str) -> str:
        parameters = ["instrument"] if name in self.features else list(inspect.signature(CONTEXT[name]).parameters)[1:]
        return f"({', '.join(parameters)})"

    def visit_Call(self, node):
        name = _calls(node)
        if name in VALUES:
            raise self.wrong(node, f"ctx.{name} is a value: write ctx.{name}")
        if name in self.features or name in CONTEXT:
            self.bind(node, name)
        elif not name:
            self.visit(node.func)
        for part in (*node.args, *(k.value for k in node.keywords)):
            self.visit(part)

    def bind(self, node: ast.Call, name: str) -> None:
        f = CONTEXT["position" if name in self.features else name]
        if any(isinstance(a, ast.Starred) for a in node.args) or any(k.arg is None for k in node.keywords):
            raise self.wrong(node, f"ctx.{name}{self.signature(name)}: its arguments are written one by one")
        try:
            inspect.signature(f).bind(None, *node.args, **{k.arg: k.value for k in node.keywords})
        except TypeError as e:
            raise self.wrong(node, f"ctx.{name}{self.signature(name)}: {e}") from None


def _calls(node: ast.AST) -> str:
    """The name of the function of ``ctx`` that is called, or empty."""
    f = node.func if isinstance(node, ast.Call) else None
    return f.attr if isinstance(f, ast.Attribute) and isinstance(f.value, ast.Name) and f.value.id == "ctx" else ""


def raised(e: BaseException, strategy: object) -> str:
    """What a handler raised, and on which line of the strategy's file, where that can be known."""
    source = inspect.getsourcefile(strategy.cls)
    at = ""
    for frame in traceback.extract_tb(e.__traceback__):
        if frame.filename == source:
            at = f" (line {frame.lineno})"
        elif strategy.kind == "compiled" and frame.filename == strategy.module.__file__ and frame.lineno in strategy.lines:
            at = f" (line {strategy.lines[frame.lineno].rpartition(' ')[2]})"
    if isinstance(e, ctypes.ArgumentError):
        return f"TypeError: a call of ctx expects whole numbers, got something else: write int(...){at}"
    return f"{type(e).__name__}: {e}{at}"


_PLACE = re.compile(r'(s_[0-9a-f]{16})\.py(?:", line | \()(\d+)')
_SPECIFIC = re.compile(r"raised a specific error:\s*(?:\w+: )?(.*)")
_NOISE = re.compile(
    r"Failed in nopython|def |During:|File |\s|\^|Raised from|Rejected|- |There are|Overload|Enable logging|This error"
)


def explained(e: Exception, strategies: Sequence) -> Exception:
    """What the compiler said of a strategy, in one line; an exception that is not about one comes back as it is."""
    if not type(e).__module__.startswith("numba") and not isinstance(e, KeyError):  # KeyError: a record without that field
        return e
    text = str(e)
    where = f"strategy {', '.join(s.name for s in strategies)}"
    lines = {s.module.__name__: s.lines for s in strategies if s.kind == "compiled"}
    for module, line in _PLACE.findall(text):
        if int(line) in lines.get(module, {}):
            where = f"strategy {lines[module][int(line)]}"
            break
    specific = _SPECIFIC.findall(text)
    said = [line.split(': %"')[0].strip() for line in text.splitlines() if line.strip() and not _NOISE.match(line)]
    what = f"no field {text} in a record" if isinstance(e, KeyError) else specific[0] if specific else " ".join(said)
    return BadInput(f"{where}: cannot be compiled: {what.strip()[:300]}")
