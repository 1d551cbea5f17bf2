"""Times as files write them, to ns UTC: integers and fractions since 1970 in s, ms, us or ns; timestamps; ISO text; other dates.

The unit of a number is told by its magnitude, value by value: seconds have 9 or 10 digits, ms 12 or 13, us 15 or 16, ns 18 or 19 (times from
1973 on). Eight digits are a date, YYYYMMDD, and 14, or 12 that can be one, a date with a time of day. Fractions are rounded to us.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NS = pa.timestamp("ns")
UTC = pa.timestamp("ns", "UTC")
UNITS = (("s", 10**8, 10**10, 10**9), ("ms", 10**11, 10**13, 10**6), ("us", 10**14, 10**16, 1000), ("ns", 10**17, 1 << 63, 1))
_DAY = (18_000_101, 22_001_231)
_MINUTE = (199_001_010_000, 209_912_312_359)
_SECOND = (18_000_101_000_000, 22_001_231_235_959)
#: dates that are not ISO, as the C library reads them; a time of day may follow
_DATES = ("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%b %d, %Y", "%b %d %Y", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y")
_CLOCKS = ("", " %H:%M:%S", " %H:%M", " %H%M%S", " %H%M", " %I:%M:%S %p", " %I:%M %p")
_ZONE = re.compile(r"[A-Z][A-Za-z_]+(/[A-Za-z_]+)*")


class Unreadable(Exception):
    """`row` holds no time; or `ambiguous`: the dates are read in two ways."""

    def __init__(self, row: int = 0, ambiguous: bool = False):
        self.row, self.ambiguous = row, ambiguous


class Stamps(NamedTuple):
    """Times before a zone is applied: an array of timestamps, aware or naive, nulls where there is none; whether all are dates without a
    time of day; the zone that their texts name; the unit of numbers, where it was told by magnitude and is not ns; whether all are
    midnights, in their own zone."""

    array: pa.Array
    dates: bool = False
    zone: str | None = None
    unit: str = ""
    midnights: bool = False


def read(array: pa.Array, order: str | None = None) -> Stamps:
    """The times in `array`. `order` is that of ``1/2/2024`` and the like: "mdy" or "dmy". Raises `Unreadable`, pa.ArrowInvalid."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    found = _read(array, order)
    if not pa.types.is_timestamp(found.array.type):
        return found
    local = found.array if found.array.type.tz is None else pc.local_timestamp(found.array)
    at_once = local.cast(pa.timestamp("s"), safe=False).cast(pa.int64()).drop_null().to_numpy()
    return found._replace(midnights=found.midnights or not (at_once % 86_400).any())


def _read(array: pa.Array, order: str | None) -> Stamps:
    t = array.type
    if pa.types.is_date(t):
        return Stamps(array.cast(NS), dates=True)
    if pa.types.is_null(t):
        return Stamps(array.cast(UTC))
    if pa.types.is_string(t) or pa.types.is_large_string(t):
        return _of_texts(pc.utf8_trim_whitespace(array), order)
    if pa.types.is_floating(t):
        return _of_numbers(array)
    return _of_integers(array.cast(pa.int64())) if pa.types.is_integer(t) else Stamps(array)


def _of_integers(array: pa.Array) -> Stamps:
    values = array.fill_null(0).to_numpy()
    held = values != 0
    if held.any() and _digits(values[held]):
        texts = pc.if_else(pa.array(held), array.cast(pa.string()), None)
        return _of_texts(texts, None)
    ns, unit = np.zeros(len(values), np.int64), ""
    for name, low, high, per in UNITS:
        mine = (values >= low) & (values < high) if per > 1 else values >= low
        if mine.any():
            ns[mine] = values[mine] * per
            unit = unit or (name if per > 1 else "")
    bad = np.flatnonzero(held & (ns == 0))
    if len(bad):
        raise Unreadable(int(bad[0]))
    return Stamps(pa.array(ns, mask=~held).cast(UTC), unit=unit)


def _digits(values: np.ndarray) -> bool:
    """Whether all are digits of a date, or of a date and a time of day, not times since 1970."""
    low, high = int(values.min()), int(values.max())
    if _DAY[0] <= low <= high <= _DAY[1] or _SECOND[0] <= low <= high <= _SECOND[1]:
        return True
    if not _MINUTE[0] <= low <= high <= _MINUTE[1]:
        return False
    month, day, hour, minute = (values // per % 100 for per in (10**6, 10**4, 100, 1))
    return bool(((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (hour < 24) & (minute < 60)).all())


def _of_numbers(array: pa.Array) -> Stamps:
    values = array.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    held = np.isfinite(values)
    x = np.where(held, values, 0)
    ns, unit = np.zeros(len(x), np.int64), ""
    for name, low, high, per in UNITS:
        mine = (x >= low) & (x < high)
        if mine.any():
            ns[mine] = np.rint(x[mine] * (per / 1000)).astype(np.int64) * 1000 if per > 1 else x[mine].astype(np.int64)
            unit = unit or (name if per > 1 else "")
    bad = np.flatnonzero(held & (ns == 0))
    if len(bad):
        raise Unreadable(int(bad[0]))
    return Stamps(pa.array(ns, mask=~held).cast(UTC), unit=unit)


def _of_texts(texts: pa.Array, order: str | None) -> Stamps:
    texts = pc.if_else(pc.equal(texts, ""), None, texts)
    first = next((x.as_py() for x in texts if x.is_valid), None)
    if first is None:
        return Stamps(pa.nulls(len(texts), UTC))
    for kind in (pa.int64(), pa.float64()):
        try:
            if len(first) not in (8, 12, 14) or not first.isdigit():
                return _read(texts.cast(kind), order)
            if not _digits(texts.cast(kind).drop_null().to_numpy()):
                return _read(texts.cast(kind), order)
            break
        except pa.ArrowInvalid:
            continue
    zone = None
    tail = first.rpartition(" ")[2]
    if _ZONE.fullmatch(tail) and tail not in ("AM", "PM") and pc.all(pc.ends_with(texts, " " + tail), min_count=0).as_py():
        try:
            zone = ZoneInfo(tail).key
            texts = pc.replace_substring_regex(texts, f" {tail}$", "")
        except (KeyError, ValueError, OSError):
            zone = None
    dates = not pc.any(pc.match_substring_regex(texts, r":|\d{4}[-./]?\d\d[-./]?\d\d[T ]\d{4}|\d{9}"), min_count=0).as_py()
    midnights = pc.all(pc.match_substring_regex(texts, r"[T ]00:?00(:?00(\.0+)?)?([+-]\d\d:?\d\d|Z)?$"), min_count=0).as_py()
    for attempt in (texts, _iso(texts)):
        for kind in (NS, UTC):
            try:
                return Stamps(attempt.cast(kind), dates, zone, midnights=midnights)
            except pa.ArrowInvalid:
                continue
    return Stamps(_by_format(texts, order), dates, zone, midnights=midnights)


def _iso(texts: pa.Array) -> pa.Array:
    """Years first, digits run together, one-digit hours: as ISO writes them."""
    for pattern, to in (
        (r"^(\d{4})[./-](\d{1,2})[./-](\d{1,2})(\D.*)?$", r"\1-0\2-0\3\4"),
        (r"^(\d{4})(\d\d)(\d\d)([T ]?)", r"\1-\2-\3\4"),
        (r"^(\d{4})-0?(\d\d)-0?(\d\d)(\D.*)?$", r"\1-\2-\3\4"),
        (r"^(\d{4}-\d\d-\d\d)[T ]?(\d\d)(\d\d)(\d\d)?$", r"\1 \2:\3:\4"),
        (r"^(\d{4}-\d\d-\d\d)[T ]+(\d):", r"\1 0\2:"),
        (r"^(\d{4}-\d\d-\d\d \d\d:\d\d):$", r"\1"),
    ):
        texts = pc.replace_substring_regex(texts, pattern, to)
    return texts


def _by_format(texts: pa.Array, order: str | None) -> pa.Array:
    found: list[tuple[str, pa.Array]] = []
    for day in _DATES:
        if order is not None and day in _DATES[:2] and day != ("%m/%d/%Y" if order == "mdy" else "%d/%m/%Y"):
            continue
        for clock in _CLOCKS:
            try:
                found.append((day, pc.strptime(texts, day + clock, "s").cast(NS)))
                break
            except pa.ArrowInvalid:
                continue
    if not found:
        raise Unreadable(_first_bad(texts))
    if len(found) > 1 and not found[0][1].equals(found[1][1]):
        raise Unreadable(ambiguous=True)
    return found[0][1]


def _first_bad(texts: pa.Array) -> int:
    """The first text that is no ISO time, or has a zone where the first has none, or none where it has one."""
    number = re.compile(r"\d{9,}(\.\d+)?").fullmatch
    values = texts.to_pylist()
    first = next((k for k, value in enumerate(values) if value is not None), 0)
    if number(values[first] or ""):
        return next((k for k, value in enumerate(values) if value is not None and not number(value)), first)
    iso = _iso(texts)
    kinds = [k for k in (NS, UTC) if _can(iso[:1], k)] or [NS]
    return next((k for k in range(len(texts)) if texts[k].is_valid and not _can(iso[k : k + 1], kinds[0])), 0)


def _can(array: pa.Array, kind: pa.DataType) -> bool:
    try:
        array.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True
