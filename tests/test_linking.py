"""How compiled functions come together: what overflows wraps, and an exception reaches who catches it, and nobody else."""

import re

import pytest
from numba import cfunc, types

from replay.kernel.memory import JIT, apart, fn

if not JIT:
    pytest.skip("about compiled code", allow_module_level=True)

I64 = types.int64


@fn
def least(a, b):
    if a == b:
        raise ValueError("equal")
    return a if a < b else b


@fn
def caught(a, b):
    apart()
    try:
        return least(a, b)
    except Exception:
        return -1


@cfunc(I64(I64, I64))
def twice(a, b):
    """Where an exception would go is not cleared for `caught`, which must not take what stands there for one."""
    return 1000 * caught(a, a) + caught(a, b)


@cfunc(I64(I64, I64, I64))
def low_half(a, b, c):
    """A product of which only the low half is meant: -fwrapv in C's words."""
    return a * b - c * (b - a)


def test_an_exception_is_caught_once():
    assert twice.ctypes(3, 5) == -1000 + 3


def test_what_overflows_wraps():
    a, b, c = 1 << 62, 12345678901234567, 98765432109876543
    wanted = (a * b - c * (b - a)) & (1 << 64) - 1
    assert low_half.ctypes(a, b, c) & (1 << 64) - 1 == wanted
    own = re.search(r"define[^\n]*low_half[^\n]*\{.*?\n\}", low_half.inspect_llvm(), re.S).group(0)
    assert " mul " in own and "nsw" not in own
