"""Compiled: rows of one type at an address, as numba sees them. `replay.kernel.memory.at` makes them.

Numba's own array would do the same, at a price: every index is tested for being negative, every array given to a function has its
references counted, and typing one takes longer than what is done with it. Here an index is a multiplication and an addition.
"""

from __future__ import annotations

import operator

from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, overload, register_model


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
    """To row `k`, which is not negative; beyond the last only ``NUMBA_BOUNDSCHECK`` looks."""
    rows = cgutils.create_struct_proxy(kind)(context, builder, value)
    if context.enable_boundscheck:
        cgutils.do_boundscheck(context, builder, k, rows.n)
    data = context.get_data_type(kind.row)
    size = context.get_constant(types.int64, context.get_abi_sizeof(data))
    return builder.inttoptr(builder.add(rows.address, builder.mul(k, size)), data.as_pointer())


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
