"""ClOrdIDs: what an order of ours is called at the broker, for ever and by nobody else.

``run-epoch-handle`` and, of the order that replaces another, ``run-epoch-handle-input``, in hex: the run's own id, the process of the
run that sent it, the order's handle, the input that made the trader replace it. So they follow from the journal, never come twice,
not even where the end of a journal was lost, and lead back to the order without a table.
"""

from __future__ import annotations

from typing import NamedTuple


class Name(NamedTuple):
    """A ClOrdID taken apart."""

    run_id: str
    epoch: int
    handle: int
    seq: int

    def __str__(self) -> str:
        tail = f"-{self.seq:x}" if self.seq else ""
        return f"{self.run_id}-{self.epoch:x}-{self.handle:x}{tail}"


def parse(cl_ord_id: str) -> Name | None:
    """The parts of a ClOrdID, None where it is not one of ours.

    >>> name = parse("5f00ab12cd-2-300005-1f"); name
    Name(run_id='5f00ab12cd', epoch=2, handle=3145733, seq=31)
    >>> str(name), parse("somebody-else's")
    ('5f00ab12cd-2-300005-1f', None)
    """
    parts = cl_ord_id.split("-")
    if not 3 <= len(parts) <= 4 or len(parts[0]) != 10:
        return None
    try:
        numbers = [int(p, 16) for p in parts[1:]]
    except ValueError:
        return None
    return Name(parts[0], *numbers, *([0] if len(parts) == 3 else []))
