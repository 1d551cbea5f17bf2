"""Compiled: inner functions are made ready for their callers only, and an entry is one program with those it has taken in.

To numba every function stands for itself: optimised, turned into machine code, and optimised again inside each caller, where nothing
may be taken for known of what it returns, since it could be linked anew. What `fn` and `hot` decorate is never called by itself. So
its code stays as it was lowered, to be optimised once, where an entry has taken it in, and is the entry's own there: that a function
never raises, or has an argument nobody reads, is seen at each of its calls. The first halves the first compilation, the second saves
the engine 4 % of its instructions; that calls no longer clear where results and exceptions go saves as much again.

That overflow wraps, and who clears what, holds for whatever else numba compiles in the process: no result that was defined is another.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from llvmlite import ir
from llvmlite.binding import Linkage
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.environment import lookup_environment

_compiling: ContextVar[str] = ContextVar("compiling", default="")  # name of the inner function whose library is made next


def inner(dispatcher: Callable) -> Callable:
    """A dispatcher without wrappers, so that nobody can call it from Python, whose code no one needs but its callers."""
    compile_whole, name = dispatcher.compile, dispatcher.py_func.__qualname__

    def compile_inner(signature):
        token = _compiling.set(name)
        try:
            return compile_whole(signature)
        finally:
            _compiling.reset(token)

    dispatcher.compile = compile_inner
    return dispatcher


def _defined(function: ir.Function) -> None:
    """What overflows wraps. Numba tells LLVM that no sum or product of signed integers does, which lets it make anything of one that
    does: of a digest, of a product of which only the low half is meant."""
    for block in function.blocks:
        for i in block.instructions:
            if i.opname in ("add", "sub", "mul") and "nsw" in i.flags:
                i.flags = [flag for flag in i.flags if flag != "nsw"]


def _leave_uncleared(function: ir.Function) -> None:
    """Take out the stores of null to where a callee's result and exception go: numba does so twice, at each call and where its caller
    begins, needed or not. Only a function with a `try` reads what it has not written: it clears that place itself."""
    every = [i for block in function.blocks for i in block.instructions]
    calls = [i for i in every if i.opname == "call" and len(i.args) > 1]
    places = {place for c in calls if _is_exception(c.args[1]) for place in c.args[:2]}
    stores = [i for i in every if i.opname == "store"]
    clearing = {i for i in stores if isinstance(i.operands[0], ir.Constant) and i.operands[1] in places}
    for block in function.blocks:
        block.instructions[:] = [i for i in block.instructions if i not in clearing]
    if any(_enters_try(i) for i in stores):
        exception = function.args[1]
        builder = ir.IRBuilder(function.entry_basic_block)
        builder.position_at_start(function.entry_basic_block)
        builder.store(exception.type.pointee(None), exception)


def _is_exception(argument: ir.Value) -> bool:
    return isinstance(argument, ir.AllocaInstr) and argument.name.startswith("excinfo")


def _enters_try(store: ir.Instruction) -> bool:
    value, place = store.operands
    return isinstance(place, ir.AllocaInstr) and place.name.startswith("try_state") and not isinstance(value, ir.Constant)


class _Nowhere:
    """Where the environment of a function goes that is in no machine code yet."""

    @staticmethod
    def set_env(name, environment):
        pass


class _Library(JITCodeLibrary):
    def __init__(self, codegen, name, **options):
        super().__init__(codegen, name, **options)
        self._is_inner = name == _compiling.get()

    @property
    def codegen(self):
        return _Nowhere if self._is_inner else self._codegen

    def add_ir_module(self, ir_module):
        for function in ir_module.functions:
            _defined(function)
            _leave_uncleared(function)
        super().add_ir_module(ir_module)

    def _optimize_final_module(self):
        if self._is_inner:
            return
        if any(library._is_inner for library in self._linking_libraries):
            for f in self._final_module.functions:
                if not f.is_declaration and f.linkage == Linkage.linkonce_odr:
                    f.linkage = Linkage.internal
        super()._optimize_final_module()

    def _finalize_final_module(self):
        if not self._is_inner:
            super()._finalize_final_module()
            return
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    def _finalize_specific(self):
        super()._finalize_specific()
        for variable in self._final_module.global_variables:
            environment = lookup_environment(variable.name) if variable.name.startswith("_ZN08NumbaEnv") else None
            if environment is not None:  # of the inner functions it has taken in
                self._codegen.set_env(variable.name, environment)

    def get_pointer_to_function(self, name):
        if not self._is_inner:
            return super().get_pointer_to_function(name)
        self._ensure_finalized()
        return 0  # numba's word for a wrapper that was not asked for


JITCPUCodegen._library_class = _Library
