"""Compiled: inner functions are made ready for their callers only, which halves the first compilation.

To numba every function stands for itself: optimised, turned into machine code, and optimised again inside each caller. What `fn` and
`hot` decorate is never called by itself, so its code stays as it was lowered, to be optimised once, where an entry has taken it in.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

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

    def _optimize_final_module(self):
        if not self._is_inner:
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
