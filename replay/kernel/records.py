"""Compiled: rows of one type at an address, as numba sees them. `replay.kernel.memory.at` makes them.

Numba's own array would do the same, at a price: every index is tested for being negative, every array given to a function has its
references counted, and typing one takes longer than what is done with it. Here an index is a multiplication and an addition.
"""

from __future__ import annotations

import operator
import sys

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, overload, register_model
from numba.np import numpy_support


class Rows(types.Type):
    """`n` rows of type `row`, an address: what is there belongs to somebody else."""

    def __init__(self, row: types.Type):
        self.row = row
        super().__init__(name=f"Rows({row})")

    @property
    def mangling_args(self) -> tuple:
        return "Rows", (self.row,)


@register_model(Rows)
class _Model(models.StructModel):
    def __init__(self, manager, rows: Rows):
        super().__init__(manager, rows, [("address", types.int64), ("n", types.int64)])


@intrinsic
def rows_at(typingctx, address, n, dtype):
    """`n` rows of a NumPy `dtype` at `address`."""

    def codegen(context, builder, sig, args):
        rows = cgutils.create_struct_proxy(sig.return_type)(context, builder)
        rows.address, rows.n = args[:2]
        return rows._getvalue()

    return Rows(dtype.dtype)(types.int64, types.int64, dtype), codegen


@infer_global(operator.getitem)
class _Get(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Rows) and isinstance(args[1], types.Integer):
            return signature(args[0].row, args[0], types.int64)
        return None


@infer_global(operator.setitem)
class _Set(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Rows) and isinstance(args[1], types.Integer):
            return signature(types.none, args[0], types.int64, args[0].row)
        return None


def _pointer(context, builder, kind: Rows, value, k):
    """To row `k`; whether there is one only the checked build (``NUMBA_BOUNDSCHECK=1``) looks."""
    rows = cgutils.create_struct_proxy(kind)(context, builder, value)
    if context.enable_boundscheck:
        _assert_inside(builder, kind, k, rows.n)
    data = context.get_data_type(kind.row)
    size = context.get_constant(types.int64, context.get_abi_sizeof(data))
    return builder.inttoptr(builder.add(rows.address, builder.mul(k, size)), data.as_pointer())


def _assert_inside(builder, kind: Rows, k, n) -> None:
    """End the process, naming table, index and function, where row `k` is none of the `n` there are.

    Not an exception: callers of compiled code could lose one, and what would be written beyond a
    table must not be.
    """
    text = f"index %lld is outside {table_name(kind.row)} of %lld rows, in {builder.function.name}\n"
    with cgutils.if_unlikely(builder, builder.icmp_unsigned(">=", k, n)):
        i32, text_at = ir.IntType(32), cgutils.global_constant(builder, "outside", cgutils.make_bytearray(text.encode() + b"\0"))
        dprintf = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(i32, [i32, cgutils.voidptr_t], var_arg=True), "dprintf"
        )
        abort = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), []), "abort")
        builder.call(dprintf, [i32(2), builder.bitcast(text_at, cgutils.voidptr_t), k, n])
        builder.call(abort, [])


def table_name(row: types.Type) -> str:
    """The name under which a module of the project defines the record type of a table's rows."""
    if not isinstance(row, types.Record):
        return f"words ({row})"
    dtype = numpy_support.as_dtype(row)
    for name, module in sorted(sys.modules.items()):
        if name.startswith("replay."):
            for attribute, value in vars(module).items():
                if isinstance(value, np.dtype) and value.fields == dtype.fields:
                    return f"{name}.{attribute}"
    return "a table"


@lower_builtin(operator.getitem, Rows, types.int64)
def _get(context, builder, sig, args):
    kind = sig.args[0]
    return context.unpack_value(builder, kind.row, _pointer(context, builder, kind, *args))


@lower_builtin(operator.setitem, Rows, types.int64, types.Any)
def _set(context, builder, sig, args):
    kind = sig.args[0]
    context.pack_value(builder, kind.row, args[2], _pointer(context, builder, kind, *args[:2]))
    return context.get_dummy_value()


@intrinsic
def _count(typingctx, rows):
    def codegen(context, builder, sig, args):
        return cgutils.create_struct_proxy(sig.args[0])(context, builder, args[0]).n

    return types.int64(rows), codegen


@overload(len)
def _len(rows):
    return (lambda rows: _count(rows)) if isinstance(rows, Rows) else None
