"""Every place in the code that writes to a file system, found on the syntax trees: `sites`."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: methods and functions that write whatever they are called on
WRITERS = {
    "write_bytes", "write_text", "touch", "mkdir", "makedirs", "unlink", "rename", "rmdir", "symlink_to", "hardlink_to", "chmod", "rmtree", "tofile",
    "ftruncate", "truncate", "fsync", "fdatasync", "mkstemp", "mkdtemp", "TemporaryFile", "NamedTemporaryFile", "TemporaryDirectory", "SpooledTemporaryFile",
    "write_table", "write_dataset", "ParquetWriter", "write_feather", "write_csv", "to_parquet", "to_csv", "to_feather", "to_hdf", "to_pickle", "write_html",
    "save_html", "save_svg", "savez", "savez_compressed", "savetxt", "copyfile", "copy2", "copytree", "move", "bind", "open_memmap", "pwrite", "writev", "replacing",
    "mkfifo", "mknod", "utime", "link", "symlink",
}  # fmt: skip
#: those that write only as a function of these modules: elsewhere the name is another thing
OF_MODULES = {
    "os": {"write", "replace", "remove", "rename"},
    "np": {"save"},
    "shutil": {"copy"},
    "pickle": {"dump"},
    "json": {"dump"},
}
#: methods of a `Disk`, by whatever name it goes
OF_DISKS = {"append", "rename", "truncate", "remove", "open", "sync", "sync_names", "make"}
#: names that mean something else where no path stands before them, in kernels and linkers
AMBIGUOUS = {"link", "unlink", "touch", "bind", "move"}
NO_PATHS = {"self", "self.market", "p.market", "self.book(instrument)"}
STATEMENTS = ("copy ", "attach ", "export database", "create table")


def sites() -> Iterator[str]:
    """``file function call``, one for each call, in order."""
    for path in sorted((ROOT / "replay").rglob("*.py")):
        yield from _of(ast.parse(path.read_text()), path.relative_to(ROOT).as_posix(), [])


def _of(node: ast.AST, path: str, within: list[str]) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        inner = [*within, child.name] if isinstance(child, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)) else within
        if isinstance(child, ast.Call) and (what := written_by(child)):
            yield f"{path} {'.'.join(within) or '(module)'} {what}"
        yield from _of(child, path, inner)


def written_by(call: ast.Call) -> str:
    """What a call is if it writes, else nothing.

    >>> [written_by(ast.parse(text, mode="eval").body) for text in ("open(p, 'ab')", "p.open()", "os.open(p, os.O_RDWR)", "text.replace(a, b)")]
    ['open', '', 'os.open', '']
    """
    f = call.func
    name = f.attr if isinstance(f, ast.Attribute) else f.id if isinstance(f, ast.Name) else ""
    of = ast.unparse(f.value) if isinstance(f, ast.Attribute) else ""
    whole = f"{of}.{name}" if of in OF_MODULES else name
    if name in AMBIGUOUS and (not of or of in NO_PATHS):
        return ""
    if name in WRITERS or name in OF_MODULES.get(of, ()):
        return whole
    if name in OF_DISKS and _last(of).lower() in ("disk", "part", "disk()", "log"):
        return f"disk.{name}"
    if name == "replace" and of and len(call.args) == 1 and not call.keywords:  # a path's; text has two arguments
        return "replace"
    if name == "open" and of == "os":
        flags = ast.unparse(call.args[1])
        return whole if any(flag in flags for flag in ("O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND", "O_TRUNC")) else ""
    if name in ("open", "memmap", "fdopen"):
        return whole if _writes(call, of, name) else ""
    if name in ("execute", "sql") and any(_text(a).lower().lstrip().startswith(STATEMENTS) for a in call.args):
        return whole
    return ""


def _writes(call: ast.Call, of: str, name: str) -> bool:
    of = "" if of in ("io", "gzip", "bz2", "lzma", "builtins") else of
    at = 2 if name == "memmap" else 0 if of else 1  # where the mode stands; a path's `open` has it first
    modes = [k.value for k in call.keywords if k.arg == "mode"] or call.args[at : at + 1]
    if not modes:
        return name == "memmap"
    mode = _text(modes[0])
    if name == "open" and of and not (mode and set(mode) <= set("rwxabt+")):
        return False  # `Session.open(path, ...)` and its like
    return not mode or bool(set("wax+") & set(mode))


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _last(of: str) -> str:
    return "disk()" if of.startswith("Disk(") else of.rsplit(".", 1)[-1]


if __name__ == "__main__":
    print(*sites(), sep="\n")
