"""Sale conditions: what a print of the consolidated tape may do. The strictest of its conditions decides.

The codes are those of the tapes (one character each: CTA and UTP), or the numbers that a vendor gives them. The table of what sets no last
price and counts as no volume is Alpaca's for minute bars (docs.alpaca.markets, "How are bars aggregated"); the numbers are Polygon's.

>>> from replay.events import COUNTS, PRINT
>>> print_flags(codes_of("@ I")) & PRINT == PRINT, codes_of("52,53,41"), print_flags(codes_of("52,53,41")) == COUNTS
(False, 'V7@', True)
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from replay.events import COUNTS, FILLS, SETS_LAST

#: codes that keep a print from setting the last price, and those that keep it from counting as volume. An average price ("B" of tapes A and
#: B) is as ordinary a print on tape C as "@"
NO_LAST = frozenset("CGHIMNPQRUVWZ479")
NO_VOLUME = frozenset("MQ9")
NO_FILL = NO_LAST | {"B"}  #: prints at a price that is not the market's now, or of an odd lot, which no quote protects
REGULAR = frozenset(" @ABDEFIKLOSTXY1568")  #: the rest of what the tapes say
UNKNOWN = "?"  #: a code that no table names: its print counts as volume and does nothing else

#: a vendor's number -> the tape's code; what has none of its own is one that does what the number says
NUMBERS = dict(enumerate("@AWEBGIC6X4DTUFMQ@@@NHPKKOO15RLLZZSVYI9"))
NUMBERS |= {40: "@", 41: "@", 52: "V", 53: "7", 56: "E", 59: "8"}
_NO_CODES = frozenset(("", "nan", "none", "null", "[]"))


def print_flags(conditions: Iterable[str], whole: bool = True) -> int:
    """What a print may do, by its sale conditions, the strictest of them; one that is not `whole`, whose price was rounded, sets no last
    price and fills no order.

    >>> print_flags(["@"], True) == SETS_LAST | COUNTS | FILLS, print_flags(["@", "I"], True) == COUNTS
    (True, True)
    """
    said = set(conditions)
    unknown = UNKNOWN in said
    flags = 0
    if whole and not unknown and not NO_LAST & said:
        flags |= SETS_LAST
    if not NO_VOLUME & said:
        flags |= COUNTS
    if whole and not unknown and not NO_FILL & said:
        flags |= FILLS
    return flags


def codes_of(text: str) -> str:
    """The codes in a cell: ``@,I``, ``@ TI``, ``['@', 'I']``, ``52,53,41``, ``[14 41]``. One that is in no table becomes `UNKNOWN`.

    Digits alone are numbers of the vendor where one has two digits or more; a single one is taken as both.
    """
    if text.strip().lower() in _NO_CODES:
        return ""
    words = re.findall(r"[^\s,;|'\"\[\](){}]+", text)
    if words and all(w.isdigit() for w in words):
        numbers = [NUMBERS.get(int(w), UNKNOWN) for w in words]
        return "".join(numbers + (words if all(len(w) == 1 for w in words) else []))
    known = REGULAR | NO_LAST | NO_FILL
    return "".join(c if c in known else UNKNOWN for c in "".join(words))
