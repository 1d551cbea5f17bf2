"""The one module that knows both ways to reach memory: address and cast when compiled, a view when interpreted.

Everything the engine decides with lives in flat buffers (`replay.kernel.arena`). Compiled code receives the address of a
buffer as an integer and casts it to records; with ``NUMBA_DISABLE_JIT=1`` the same source runs as plain Python on ctypes
structures over the same bytes, which gives breakpoints and branch coverage. No other module may ask which of the two it is running in
(`replay.kernel.records` is its compiled half).

Three kinds of function:

- `fn` (and `hot`, `pure`): an inner function, compiled where it is used.
- `entry(signature)`: compiled once for one signature of int64 scalars, cached on disk, called from Python through C and
  by other compiled code by symbol or address, as numba calls its own functions, so that a strategy never recompiles the order management it calls.
  Compilation is deferred until `link` (or the first call), which is what makes progress on it visible.
- `call3`: calls an address found at run time; a strategy's handlers are reached this way (about 2 ns).

The cache folder is named by the hash of every kernel source, the versions and the CPU: numba checks only the file of the
function itself, not of what it calls, and would otherwise run stale code after an edit.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import hashlib
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

PACKAGE = Path(__file__).resolve().parents[1]


def cache_dir() -> Path:
    """Where compiled code is kept: ``$REPLAY_CACHE``, else ``$XDG_CACHE_HOME/replay``, else ``~/.cache/replay``."""
    root = os.environ.get("REPLAY_CACHE")
    if root:
        return Path(root)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "replay"


def _sources_hash() -> str:
    from importlib.metadata import version

    h = hashlib.sha256()
    for name in (
        sys.version,
        version("numba"),
        version("llvmlite"),
        version("numpy"),
        platform.machine(),
        _cpu(),
    ):
        h.update(name.encode())
    h.update(os.environ.get("NUMBA_BOUNDSCHECK", "").encode())
    for part in ("kernel", "venue", "trader", "fuzz/kernel"):
        for path in sorted((PACKAGE / part).glob("*.py")):
            h.update(path.read_bytes())
    h.update((PACKAGE / "events.py").read_bytes())
    return h.hexdigest()[:16]


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line
    except OSError:
        pass
    return ""


KERNEL_HASH = _sources_hash()
KERNEL_CACHE = cache_dir() / KERNEL_HASH
if "numba" not in sys.modules:
    os.environ["NUMBA_CACHE_DIR"] = str(KERNEL_CACHE / "numba")
else:  # the host process imported numba first: its setting is read once, so it is changed there
    import numba.core.config as _config

    _config.CACHE_DIR = str(KERNEL_CACHE / "numba")

from numba import config, njit, types  # noqa: E402
from numba.core import cgutils  # noqa: E402
from numba.core.errors import TypingError  # noqa: E402
from numba.core.typing.templates import builtin_registry, make_concrete_template  # noqa: E402
from numba.extending import intrinsic, lower_builtin  # noqa: E402

from replay.kernel.cache import compile_cached, private  # noqa: E402

JIT: bool = not config.DISABLE_JIT
I64 = types.int64


def record(*fields: tuple) -> np.dtype:
    """An aligned record type usable with attribute syntax both compiled and interpreted.

    >>> record(("px", "i8"), ("side", "i1")).itemsize
    16
    """
    return np.dtype((np.record, np.dtype(list(fields), align=True)))


_SCALARS = {"i8": ctypes.c_int64, "i4": ctypes.c_int32, "u4": ctypes.c_uint32, "u2": ctypes.c_uint16, "i1": ctypes.c_int8}
_SCALARS |= {"u1": ctypes.c_uint8, "f8": ctypes.c_double}
_structures: dict[int, type] = {}
_kept: list[np.dtype] = []


def structure(dtype: np.dtype) -> type[ctypes.Structure]:
    """A ctypes structure with the fields of a record type: how plain Python reads one (~35 ns a field, Python numbers)."""
    made = _structures.get(id(dtype))
    if made is not None:
        return made
    fields: list[tuple] = []
    at = 0
    for name in dtype.names:
        field, offset = dtype.fields[name][:2]
        if offset > at:
            fields.append((f"_pad{at}", ctypes.c_uint8 * (offset - at)))
        base, shape = field.subdtype or (field, ())
        c = _SCALARS[base.str[1:]]
        fields.append((name, c * shape[0] if shape else c))
        at = offset + field.itemsize
    if at < dtype.itemsize:
        fields.append((f"_pad{at}", ctypes.c_uint8 * (dtype.itemsize - at)))
    made = _structures[id(dtype)] = type("Record", (ctypes.Structure,), {"_fields_": fields, "_pack_": 1})
    assert ctypes.sizeof(made) == dtype.itemsize
    _kept.append(dtype)
    return made


_U64 = (1 << 64) - 1
_K = (
    -7046029254386353131,
    -4658895280553007687,
    -7723592293110705685,
    2862933555777941757,
    3202034522624059733,
    -5132889681914883355,
)  # odd: splitmix64's three, and three multipliers of known linear congruential generators

if JIT:
    from replay.kernel.linking import inner

    _options = {"error_model": "python", "fastmath": False, "parallel": False}
    _inner = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, **_options}

    def _widened(dispatcher):
        """Compile one version for all integer types: arguments narrower than int64 are widened at the call."""
        template = dispatcher.get_call_template

        def widen(args, kws):
            return template(tuple(map(_wide, args)), {k: _wide(v) for k, v in kws.items()})

        dispatcher.get_call_template = widen
        return dispatcher

    def _wide(t):
        return I64 if isinstance(t, (types.Integer, types.IntegerLiteral)) and t != types.uint64 else t

    def fn(f: Callable) -> Callable:
        """An inner function of the core, compiled into its callers; not callable from Python when compiled."""
        # said explicitly: numba would inherit it from a `hot` caller
        return _widened(inner(njit(forceinline=False, **_inner)(f)))

    def hot(f: Callable) -> Callable:
        """An inner function that must disappear into its caller."""
        return _widened(inner(njit(forceinline=True, **_inner)(f)))

    def pure(f: Callable) -> Callable:
        """An inner function of numbers only, callable from Python too."""
        return _widened(njit(forceinline=False, **_options)(f))

    @intrinsic
    def apart(typingctx):
        """First statement of a function that must not be inlined: it is cold or large, and copies of it in every caller would
        cost compilation time and registers."""

        def codegen(context, builder, signature, args):
            builder.function.attributes.add("noinline")
            return context.get_dummy_value()

        return types.void(), codegen

    @intrinsic
    def whole(typingctx, x):
        """`x`, an integer. Whatever else it is does not compile: an int64 argument or field would cut a float off without a word."""
        if not isinstance(x, types.Integer | types.Boolean):
            raise TypingError(f"a whole number is expected here, got {x}: write int(...)")
        kept = types.unliteral(x)
        return kept(kept), lambda context, builder, signature, args: args[0]

    from replay.kernel.records import rows_at as at

    def _native(context, arity):
        """Type of an entry of `arity` as numba compiles it: where its result goes, where its exception, its arguments."""
        return context.call_conv.get_function_type(I64, [I64] * arity)

    def _places(builder, native):
        """Where the result and the exception of a call go."""
        return [
            cgutils.alloca_once(builder, kind.pointee, name=name)
            for kind, name in zip(native.args, ("result", "excinfo"), strict=False)
        ]

    @intrinsic
    def call3(typingctx, address, a, b, c):
        """Call the entry of three arguments, or the callback, at `address`. What it raises it has to tell by other means."""

        def codegen(context, builder, signature, args):
            native = _native(context, 3)
            places = _places(builder, native)
            builder.call(builder.inttoptr(args[0], native.as_pointer()), [*places, *args[1:]])
            return context.get_dummy_value()

        return types.void(I64, I64, I64, I64), codegen

    def _callable(e: Entry) -> None:
        """Teach numba to call an entry by its symbol; what it raises is raised in the caller."""
        taken = [I64] * e.arity
        builtin_registry.register_global(e, types.Function(make_concrete_template(e.symbol, e, [I64(*taken)])))

        @lower_builtin(e, *taken)
        def lower(context, builder, signature, args):
            native = _native(context, e.arity)
            target = cgutils.get_or_insert_function(builder.module, native, e.symbol)
            places = _places(builder, native)
            code = builder.call(target, [*places, *args])
            with cgutils.if_unlikely(builder, cgutils.is_not_null(builder, code)):
                status = context.call_conv._get_return_status(builder, code, builder.load(places[1]))
                context.call_conv.return_status_propagate(builder, status)
            return builder.load(places[0])

    @intrinsic
    def beyond(typingctx, index, n):
        """Whether `index` is none of 0 to `n` - 1; `n` is not negative."""

        def codegen(context, builder, signature, args):
            return builder.icmp_unsigned(">=", *args)

        return types.boolean(I64, I64), codegen

    @hot
    def mix(h, x):
        """Chain `x` into the 64-bit hash `h` (splitmix64's finaliser on ``h * golden + x``); int64 in and out."""
        z = np.uint64(h) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(x)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.int64(z ^ (z >> np.uint64(31)))

    @hot
    def noted():
        """Called where a handler's exception was caught. Compiled code cannot say which it was; interpreted, `failing` is told."""

    @intrinsic
    def prefetch(typingctx, address):
        """Ask for the cache line at an address. Merging two streams is one hard-to-guess branch after another, and a processor
        that guessed wrong has not asked for the next row by itself."""
        from llvmlite import ir

        def codegen(context, builder, signature, args):
            byte = ir.IntType(8).as_pointer()
            i32 = ir.IntType(32)
            f = builder.module.declare_intrinsic("llvm.prefetch", (byte,), ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32]))
            builder.call(f, [builder.inttoptr(args[0], byte), i32(0), i32(3), i32(1)])
            return context.get_dummy_value()

        return types.void(I64), codegen

    @intrinsic
    def copy64(typingctx, target, source):
        """Copy one 64-byte record between addresses, in whole vector registers."""
        from llvmlite import ir

        def codegen(context, builder, signature, args):
            vector = ir.VectorType(ir.IntType(64), 8).as_pointer()
            to, of = (builder.inttoptr(a, vector) for a in args)
            builder.store(builder.load(of, align=8), to, align=8)
            return context.get_dummy_value()

        return types.void(I64, I64), codegen

    @intrinsic
    def _leading_zeros(typingctx, x):
        from llvmlite import ir

        def codegen(context, builder, signature, args):
            return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))

        return I64(I64), codegen

    @hot
    def top_bit(x):
        """Number of the highest set bit of a non-zero 64-bit word."""
        return 63 - _leading_zeros(x)

    @hot
    def fold(a, b, c, d, e, f):
        """Six integers in one: a sum of products with odd constants, which the processor forms side by side; wraps."""
        return a * _K[0] + b * _K[1] + c * _K[2] + d * _K[3] + e * _K[4] + f * _K[5]

    @hot
    def bit(i):
        """The int64 whose bit `i` (0..63) is set."""
        return 1 << i

    @hot
    def bits_of(x):
        """The 64 bits of a float64 as an int64."""
        return _float_bits(x)

    @intrinsic
    def _float_bits(typingctx, x):
        from llvmlite import ir

        def codegen(context, builder, signature, args):
            return builder.bitcast(args[0], ir.IntType(64))

        return I64(types.float64), codegen

else:

    def fn(f):
        return f

    hot = pure = fn

    _shapes: dict[tuple[int, int], type] = {}

    def at(address, n, dtype):
        shape = _shapes.get((id(dtype), n))
        if shape is None:
            shape = _shapes[id(dtype), n] = (structure(dtype) if dtype.names else _SCALARS[dtype.str[1:]]) * n
            _kept.append(dtype)
        return shape.from_address(address)

    def apart():
        pass

    def whole(x):
        if isinstance(x, float):  # np.float64 is one
            raise TypeError(f"a whole number is expected here, got {x!r}: write int(...)")
        return x

    def noted():
        _told.get()(sys.exc_info()[1])

    def prefetch(address):
        pass

    def beyond(index, n):
        return not 0 <= index < n

    def copy64(target, source):
        ctypes.memmove(int(target), int(source), 64)

    def call3(address, a, b, c):
        return _by_address[int(address)](a, b, c)

    def mix(h, x):
        z = ((int(h) & _U64) * 0x9E3779B97F4A7C15 + (int(x) & _U64)) & _U64
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _U64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _U64
        z ^= z >> 31
        return z - (1 << 64) if z >> 63 else z

    def top_bit(x):
        return (int(x) & _U64).bit_length() - 1

    def fold(a, b, c, d, e, f):
        z = sum(int(x) * k for x, k in zip((a, b, c, d, e, f), _K, strict=True)) & _U64
        return z - (1 << 64) if z >> 63 else z

    def bit(i):
        return 1 << i if i < 63 else -(1 << 63)

    def bits_of(x):
        return int(np.float64(x).view(np.int64))


_by_address: dict[int, Callable] = {}


class Entry:
    """A function compiled for one signature of int64 scalars; see the module's text. Calling it from Python costs ~0.5 us."""

    def __init__(self, f: Callable, arity: int):
        self.f = f
        self.name = f"{f.__module__}.{f.__qualname__}"
        self.symbol = "replay_" + self.name.replace(".", "_")
        self.arity = arity
        self._address = 0
        self._call: Callable | None = None

    def compile(self) -> None:
        """Compile, or load from the cache, and publish the symbol. Does nothing the second time."""
        if self._address:
            return
        if JIT:
            from llvmlite import binding

            private(KERNEL_CACHE)
            compiled = compile_cached(self.f, I64(*[I64] * self.arity))
            library, inner = compiled._library, compiled._wrapper_name.removeprefix("cfunc.")
            self._address = library.get_pointer_to_function(inner)
            binding.add_symbol(self.symbol, self._address)
            self._keep = compiled
            self._call = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * self.arity)(compiled.address)
        else:
            self._address = id(self)
            _by_address[self._address] = self.f
            self._call = self.f

    @property
    def address(self) -> int:
        """Where compiled code can call it (`call3`), which is not C's way; compiles on first use."""
        self.compile()
        return self._address

    def __call__(self, *args: int) -> int:
        self.compile()
        return self._call(*args)


def entry(f: Callable) -> object:
    """Make `f`, whose arguments and result are int64, a separately compiled function.

    Compiled, the decorated name is its `Entry`, which other compiled functions call too; `entry_of` gives the `Entry` either way.
    """
    e = Entry(f, f.__code__.co_argcount)
    if JIT:
        _callable(e)
        return e
    f.entry = e
    return f


#: who is told of exceptions in callbacks, in this context (each thread has its own)
_told: contextvars.ContextVar[Callable[[BaseException], None] | None] = contextvars.ContextVar("told", default=None)


def callback(f: Callable[[], None]) -> tuple[int, object]:
    """An address at which compiled code reaches a Python function of no arguments (~80 ns), and what keeps it alive.

    Nothing can be raised through a compiled frame: call the code inside `failing`, which is told of what `f` raises.
    """
    if JIT:
        c = ctypes.CFUNCTYPE(None)(f)
        return ctypes.cast(c, ctypes.c_void_p).value, c

    def caught(a, b, c):
        try:
            f()
        except BaseException as e:
            _told.get()(e)

    _by_address[id(caught)] = caught
    return id(caught), caught


@contextlib.contextmanager
def failing(told: Callable[[BaseException], None]) -> Iterator[None]:
    """Within, `told` gets every exception of a callback: ctypes hands them to `sys.unraisablehook`, and catching them there
    instead of in a wrapper saves a Python frame on every wake."""
    if not isinstance(sys.unraisablehook, _Dispatch):
        sys.unraisablehook = _Dispatch(sys.unraisablehook)
    token = _told.set(told)
    try:
        yield
    finally:
        _told.reset(token)


class _Dispatch:
    """The process has one `sys.unraisablehook`: this one passes on to the thread that waits, and what is nobody's to who was before."""

    def __init__(self, before: Callable):
        self.before = before

    def __call__(self, u) -> None:
        told = _told.get()
        if told and "ctypes callback" in (u.err_msg or ""):
            told(u.exc_value)
        else:
            self.before(u)


def entry_of(x: object) -> Entry:
    """The `Entry` of a function decorated with `entry`."""
    return x if JIT else x.entry


def link(*wanted, progress: Callable[[str, int, int], None] | None = None) -> None:
    """Compile or load the given entries in order; `progress(name, done, total)` is told before each."""
    todo = [e for e in map(entry_of, wanted) if not e._address]
    for k, e in enumerate(todo):
        if progress:
            progress(e.name, k, len(todo))
        e.compile()
    if progress and todo:
        progress("", len(todo), len(todo))
