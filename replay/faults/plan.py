"""A plan of faults: what goes wrong, when, how often, as one value that a run's configuration and manifest hold.

==============  ================================================================================  ===========================
kind            what happens                                                                      parameters
==============  ================================================================================  ===========================
feed_outage     rows never reach us; the first one after says that some are missing               share
feed_gap        the same, and nothing says so                                                     share
feed_mute       rows reach us at its end, all at once                                             share
feed_twice      a message reaches us again, up to `delay` later                                   share, delay
feed_late       a message reaches us up to `delay` later, behind newer ones                       share, delay
feed_slow       the feed leg takes `factor` times as long                                         share, factor
feed_crossed    we see a quote with its sides exchanged (bid above ask)                           share
feed_zero       we see a quote without sizes                                                      share
feed_outlier    we see a quote with prices times `factor`                                         share, factor
feed_burst      a message reaches us `factor` times in one instant                                share, factor
halt            the venue halts trading, and says so
operator        somebody at our side kills, halts, resumes or cancels all, `at` one instant                act
intent_twice    somebody else at our side orders a lot at the market, and the order comes again after `delay`  at, delay
request_lost    a request never reaches the venue                                                 share, requests, timeout, lookup
request_slow    the entry leg takes `factor` times as long                                        share, requests, factor
report_lost     a report (and its fee) never reaches us                                           share, reports, timeout, lookup
report_late     a report reaches us up to `delay` later, behind newer ones                        share, reports, delay
report_twice    a report reaches us again, `delay` later; never the answer to a cancel or replace share, reports, delay
report_slow     the response leg takes `factor` times as long                                     share, reports, factor
report_bust     a fill is taken back, `delay` after we heard of it                                share, delay
report_correct  a fill's price is corrected by a tick, `delay` after we heard of it               share, delay
report_garbled  behind a report comes another of a status nobody knows                            share, reports
pause           we stand still (garbage, a virtual machine): what comes is taken at its end, in order
crash           we are gone, from `at` on for `delay`: no row reaches us, reports are looked up then      at, delay
reject          the venue rejects new orders                                                      share
pull            the venue cancels resting orders of its own accord, `at` one instant              share
==============  ================================================================================  ===========================

Of a live run alone (`replay paper --faults`), beside `pause`, `crash`, `operator` and `intent_twice`:

==============  ================================================================================  ===========================
clock_jump      the system's clock jumps by `delay`, or `back` by it, `at` one instant            at, delay, back
disk_full       no byte more can be written
disk_error      what was written cannot be made durable
disk_slow       making it durable takes `delay` longer                                            delay
==============  ================================================================================  ===========================
"""

from __future__ import annotations

import datetime
import re
import tomllib
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np

from replay.data.manifest import Manifest
from replay.data.times import ns_of
from replay.errors import UNREADABLE, BadInput
from replay.events import EVENT, INTENT, LAST, OP_CANCEL_ALL, OP_HALT, OP_KILL, OP_RESUME
from replay.files import whole
from replay.trader import layout as T
from replay.trader.orders import EXEC_NAMES
from replay.trader.specs import duration_ns
from replay.venue import layout as V

DAY_NS = 86_400 * 10**9
FOREVER = 1 << 62
ACTS = {"kill": OP_KILL, "halt": OP_HALT, "resume": OP_RESUME, "cancel_all": OP_CANCEL_ALL}
MILLION = 1_000_000
COMMANDS = ["", "new", "cancel", "replace"]  # by code; 0 is none
_SHARE, _SYMBOLS = "share", "symbols"
_ASKED = ("timeout", "lookup")
#: What each kind takes beside `from`, `to` and `symbols`, in the order of its code; those of orders first, as the venue numbers them.
KINDS: dict[str, tuple[str, ...]] = {
    "request_lost": (_SHARE, "requests", *_ASKED),
    "request_slow": (_SHARE, "requests", "factor"),
    "report_lost": (_SHARE, "reports", *_ASKED),
    "report_late": (_SHARE, "reports", "delay"),
    "report_twice": (_SHARE, "reports", "delay"),
    "report_slow": (_SHARE, "reports", "factor"),
    "reject": (_SHARE,),
    "pull": (_SHARE, "at"),
    "report_bust": (_SHARE, "delay"),
    "report_correct": (_SHARE, "delay"),
    "report_garbled": (_SHARE, "reports"),
    "pause": (),
    "crash": ("at", "delay"),
    "feed_outage": (_SHARE,),
    "feed_gap": (_SHARE,),
    "feed_mute": (_SHARE,),
    "feed_twice": (_SHARE, "delay"),
    "feed_late": (_SHARE, "delay"),
    "feed_slow": (_SHARE, "factor"),
    "feed_crossed": (_SHARE,),
    "feed_zero": (_SHARE,),
    "feed_outlier": (_SHARE, "factor"),
    "feed_burst": (_SHARE, "factor"),
    "halt": (),
    "operator": ("at", "act"),
    "intent_twice": ("at", "delay"),
}
KIND_NAMES = list(KINDS)
OF_FEED = KIND_NAMES[KIND_NAMES.index("pause") :]  #: of what reaches us of the market, of the market itself, or of us
#: What a replay has not.
LIVE: dict[str, tuple[str, ...]] = {
    "clock_jump": ("at", "delay", "back"),
    "disk_full": (),
    "disk_error": (),
    "disk_slow": ("delay",),
}
OURS = ("operator", "intent_twice", "pause", "crash", *LIVE)  #: at our side: of no symbol
OF_REQUESTS = (
    V.REQUEST_LOST,
    V.REQUEST_SLOW,
    V.REJECT,
    V.PULL,
)  #: whose messages are commands; of the others below `N_ORDER` reports
N_ORDER = V.CRASH + 1
assert KIND_NAMES.index("pull") == V.PULL and KIND_NAMES.index("crash") == V.CRASH


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, rename={"from_": "from"}):
    """One fault. Times are ``10:31`` (UTC, on the session's first day), full ones, or ``+30m`` from the session's start; without
    `from_` it lasts from the start, without `to` to the end. `share` is how many of the messages concerned it strikes.

    >>> Fault(kind="report_lost", from_="+1h", to="+2h", reports=("new",)).when()
    '+1h to +2h'
    """

    kind: str
    from_: str | None = None
    to: str | None = None
    at: str | None = None
    symbols: tuple[str, ...] = ()
    share: Decimal = Decimal(1)
    delay: str = "1s"
    factor: Decimal = Decimal(10)
    requests: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    timeout: str = "5s"
    lookup: str = "1s"
    act: str = "kill"
    back: bool = False

    def __post_init__(self) -> None:
        of_kind = {**KINDS, **LIVE}.get(self.kind)
        if of_kind is None:
            raise ValueError(f"kind: expected one of {', '.join([*KINDS, *LIVE])}, got {self.kind!r}")
        instant = "at" in of_kind
        whom = () if self.kind in OURS else (_SYMBOLS,)
        takes = ("kind", *whom, *(() if instant else ("from_", "to")), *of_kind)
        for name, default in zip(self.__struct_fields__[1:], self.__struct_defaults__, strict=True):
            if name not in takes and getattr(self, name) != default:
                raise ValueError(f"{self.kind} takes no {name.rstrip('_')}: it takes {', '.join(takes[1:]).replace('_', '')}")
        if instant and self.at is None:
            raise ValueError(f"{self.kind} needs the time at which it happens: at = '10:31'")
        if self.act not in ACTS:
            raise ValueError(f"act: expected one of {', '.join(ACTS)}, got {self.act!r}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")
        if not 0 < self.factor <= 1000:
            raise ValueError(f"factor must be above 0 and at most 1000, got {self.factor}")
        if self.kind == "feed_burst" and self.factor > 100:
            raise ValueError(f"factor of feed_burst must be at most 100, got {self.factor}")
        if self.factor < 1 and self.kind != "feed_outlier":
            raise ValueError(f"factor of {self.kind} must be at least 1, got {self.factor}: what is recorded cannot come sooner")
        for name in ("delay", *_ASKED):
            if not 0 < duration_ns(getattr(self, name), name) <= DAY_NS:
                raise ValueError(f"{name} must be above 0 and at most a day, got {getattr(self, name)}")
        for name, known in (("requests", COMMANDS[1:]), ("reports", EXEC_NAMES)):
            for given in getattr(self, name):
                if given not in known:
                    raise ValueError(f"{name}: expected some of {', '.join(known)}, got {given!r}")
        for name in ("from_", "to", "at"):
            _moment(getattr(self, name), name.rstrip("_"), 0)

    def when(self) -> str:
        """Its time, as it was written."""
        lasts = f" for {self.delay}" if self.kind == "crash" else ""
        return f"at {self.at}{lasts}" if self.at else f"{self.from_ or 'start'} to {self.to or 'end'}"

    @property
    def of(self) -> str:
        """What it strikes."""
        if self.kind in ("halt", "operator", "intent_twice"):
            return "times"
        return (
            "messages"
            if self.kind.startswith("feed") or self.kind in ("pause", "crash")
            else "reports"
            if self.kind.startswith("report")
            else "requests"
            if self.kind.startswith("request")
            else "orders"
        )

    def span(self, m: Manifest) -> tuple[int, int]:
        """Its time in ns: from the first to before the second. Raises `BadInput` where it is empty."""
        return self.span_from(m.start_ns)

    def span_from(self, start_ns: int) -> tuple[int, int]:
        """The same, in what starts at `start_ns`."""
        if self.at is not None:
            at = _moment(self.at, "at", start_ns)
            return at, at + (duration_ns(self.delay, "delay") if self.kind == "crash" else 1)
        start = start_ns if self.from_ is None else _moment(self.from_, "from", start_ns)
        end = FOREVER if self.to is None else _moment(self.to, "to", start_ns)
        if end <= start:
            raise BadInput(
                f"faults: {self.kind} from {self.from_ or 'the start'} to {self.to}: it ends before it begins: correct it"
            )
        return start, end

    def instruments(self, m: Manifest) -> list[int]:
        """Indices of its symbols, none for all. Raises `BadInput`."""
        known = [i.symbol for i in m.instruments]
        for symbol in self.symbols:
            if symbol not in known:
                raise BadInput(f"faults: {self.kind}: no symbol {symbol!r} in {m.name}: it has {', '.join(known[:20])}")
        return [known.index(symbol) for symbol in self.symbols]

    def intent(self, k: int, n_instruments: int, ts: int) -> np.ndarray:
        """The order from outside of an `intent_twice` that is the plan's `k`-th fault, as an event at `ts`: the instrument and the side go
        round with `k`."""
        row = np.zeros(1, EVENT)
        row["ts_event"] = row["ts_recv"] = ts
        row["kind"], row["side"], row["flags"], row["instrument"] = INTENT, 1 if k % 2 == 0 else -1, LAST, k // 2 % n_instruments
        row["id"], row["a"], row["d"] = k + 1, 1, T.MARKET | T.DAY << 4
        return row

    @property
    def ppm(self) -> int:
        """`share` in millionths."""
        return max(1, int(self.share * MILLION))


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"faults": "fault"}):
    """Faults, and the seed that draws which messages they strike. In TOML:

    seed = 7

    [[fault]]
    kind = "report_lost"
    from = "15:00"
    to = "15:30"
    share = 0.1
    """

    seed: int = 1
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        if not -(1 << 62) < self.seed < 1 << 62:
            raise ValueError(f"seed must fit 62 bits, got {self.seed}")
        if len(self.faults) > 1000:
            raise ValueError(f"a plan has at most 1000 faults, got {len(self.faults)}")

    @staticmethod
    def load(path: str | Path) -> Plan:
        """Read a TOML file. Raises `BadInput`, which names the line."""
        try:
            text = whole(path).decode()
        except (OSError, UnicodeDecodeError) as e:
            raise BadInput(
                f"--faults {path}: {getattr(e, 'strerror', None) or e}: name a TOML file; docs/faults.md has one"
            ) from None
        try:
            return msgspec.convert(tomllib.loads(text, parse_float=Decimal), Plan, strict=False)
        except UNREADABLE as e:
            where = _line(text, str(e))
            raise BadInput(f"--faults {path}{where}: {_told(e)}: correct it; docs/faults.md lists every kind") from None

    @staticmethod
    def of(given: Plan | dict | str | Path | None) -> Plan:
        """A plan, its content, or its file. Raises `BadInput`.

        >>> Plan.of({"fault": [{"kind": "feed_outage", "from": "+10m", "to": "+12m"}]}).faults[0].kind
        'feed_outage'
        """
        if isinstance(given, Plan):
            return given
        if isinstance(given, (str, Path)):
            return Plan.load(given)
        try:
            return msgspec.convert(given or {}, Plan, strict=False)
        except ValueError as e:
            raise BadInput(f"faults: {e}: correct it; docs/faults.md lists every kind") from None

    def to_toml(self, table: str = "") -> str:
        """The text `load` reads back to the same value; with `table` for a place inside another file.

        >>> print(Plan(faults=(Fault(kind="pull", at="15:31"),)).to_toml().strip().splitlines()[-1])
        at = '15:31'
        """
        lines = [f"seed = {self.seed}"]
        for fault in self.faults:
            plain = msgspec.to_builtins(fault, builtin_types=(Decimal,))
            lines += ["", f"[[{table}fault]]", *(f"{name} = {toml_value(value)}" for name, value in plain.items())]
        return "\n".join(lines) + "\n"

    @property
    def of_feed(self) -> bool:
        """Whether some fault is of what reaches us of the market, or of the market itself."""
        return any(f.kind in OF_FEED for f in self.faults)

    def of_replay(self) -> None:
        """Raises `BadInput` for a fault that no replay has."""
        for f in self.faults:
            if f.kind in LIVE:
                what = "clock to jump" if f.kind == "clock_jump" else "disk"
                raise BadInput(f"faults: {f.kind}: a replay has no {what}: leave it out, or try it live: replay paper --faults")

    def windows(self, m: Manifest) -> np.ndarray:
        """The faults between us and the venue as `V.WINDOW` rows, one for each symbol; those in which we are away come first, by their
        start. Raises `BadInput`."""
        rows = []
        for k, f in enumerate(self.faults):
            kind = KIND_NAMES.index(f.kind)
            if kind >= N_ORDER:
                continue
            start, end = f.span(m)
            if f.at is not None and not m.start_ns <= start < m.end_ns:
                continue  # the session is over
            if f.requests:
                what = sum(1 << COMMANDS.index(name) for name in set(f.requests))
            else:
                what = sum(1 << EXEC_NAMES.index(name) for name in set(f.reports)) or (1 << 62) - 1
            ns, timeout, lookup = (duration_ns(getattr(f, name), name) for name in ("delay", *_ASKED))
            rows += [
                (start, end, kind, k, i, what, f.ppm, ns, int(f.factor * 1000), timeout, lookup) for i in f.instruments(m) or [-1]
            ]
        rows.sort(key=lambda row: (0, row[0]) if row[2] >= V.PAUSE else (1, 0))
        return np.array(rows, V.WINDOW)


def toml_value(value: object) -> str:
    """A value as TOML writes it.

    >>> toml_value({"a": [1, True], "b": "x"})
    "{ a = [1, true], b = 'x' }"
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml_value(v)}" for k, v in value.items()) + " }" if value else "{}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, str):
        return f"'{value}'" if "'" not in value and value.isprintable() else msgspec.json.encode(value).decode()
    return str(value)


def _moment(text: str | None, name: str, start_ns: int) -> int:
    """A time as ns, for a session that starts at `start_ns`. Raises `ValueError`."""
    if text is None:
        return 0
    if text.startswith("+"):
        return start_ns + duration_ns(text[1:], name)
    try:
        if "-" not in text:
            t = datetime.time.fromisoformat(text)
            of_day = ((t.hour * 60 + t.minute) * 60 + t.second) * 10**9 + t.microsecond * 1000
            return start_ns // DAY_NS * DAY_NS + of_day
        when = datetime.datetime.fromisoformat(text)
        return ns_of(when if when.tzinfo else when.replace(tzinfo=datetime.UTC))
    except ValueError:
        raise ValueError(f"{name}: expected a time such as 15:31, 2026-03-02T15:31 or +30m, got {text!r}") from None


def _told(e: Exception) -> str:
    """The message without the place in the value, for which the line stands."""
    return re.sub(r" - at `\$[^`]*`$| \(at line .*\)$", "", str(e))


def _line(text: str, message: str) -> str:
    """``:LINE`` of what a message complains about, as far as it says."""
    if found := re.search(r"at line (\d+)", message):
        return f":{found[1]}"
    if not (found := re.search(r"`\$\.fault\[(\d+)\](?:\.(\w+))?", message)):
        return ""
    lines = text.splitlines()
    starts = [k for k, line in enumerate(lines) if line.strip().replace(" ", "").startswith("[[fault]]")]
    if int(found[1]) >= len(starts):
        return ""
    first = starts[int(found[1])]
    rest = range(first + 1, starts[int(found[1]) + 1] if int(found[1]) + 1 < len(starts) else len(lines))
    named = found[2] or message.split(":")[0].split(" ")[0]
    setting = re.compile(r"\s*" + re.escape(named) + r"\s*=")
    return f":{1 + next((k for k in rest if setting.match(lines[k])), first)}"
