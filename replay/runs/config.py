"""What a run is made of, as one value: the command line, a TOML file, Python and a run's manifest all say the same thing with it."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

import msgspec

from replay.data.instruments import Instrument
from replay.data.session import Session
from replay.data.times import ns_of
from replay.engine import Engine
from replay.errors import UNREADABLE, BadInput
from replay.faults.plan import Plan, toml_value
from replay.files import whole
from replay.runs import rules
from replay.runs.charges import commission, participation_ppm, slippage_ppm
from replay.strategy import load
from replay.trader.limits import Limits
from replay.trader.specs import duration_ns
from replay.venue.setup import QUEUES, Leg, Profile

MOST_CAPITAL = 10**10  #: what money is counted in goes a little further
MOST_SEED = 1 << 63


class Chosen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A strategy and its parameters: a name of an example, ``file.py`` or ``file.py:Class``."""

    source: str
    parameters: dict[str, bool | int | float | str] = {}


class RunConfig(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from", "strategies": "strategy"}
):
    """Everything ``replay run`` can be told, in the words of its options. In TOML:

        session = "fixtures/equity-day"
        latency = "5ms"

        [[strategy]]
        source = "mean_reversion"
        parameters = { entry_z = 2.5 }

        [limits]
        max_position = 500

    `session` empty means a small generated one. `limits` is a table as in docs/limits.md.
    """

    session: str = ""
    strategies: tuple[Chosen, ...] = (Chosen(source="ema_cross"),)
    latency: str = "1ms"
    fill: str = "realistic"
    queue: str = "risk_averse"
    slippage: str = "5bps"
    participation: Decimal = Decimal("0.1")
    commission: str = "0"
    limits: Limits = Limits()
    initial_capital: Decimal = Decimal(10_000)
    from_: str | None = None
    to: str | None = None
    warmup: str | None = None
    seed: int = 1
    order_capacity: int = 1024
    faults: Plan = Plan()

    def __post_init__(self) -> None:
        if not (self.initial_capital.is_finite() and abs(self.initial_capital) < MOST_CAPITAL):
            raise ValueError(f"initial_capital must be below {MOST_CAPITAL:,}, got {self.initial_capital}")
        if not 0 <= self.seed < MOST_SEED:
            raise ValueError(f"seed must be a whole number of 0 to below 2^63, got {self.seed}")

    @staticmethod
    def load(path: str | Path) -> RunConfig:
        """Read a TOML file. Raises `BadInput` for a missing file, an unknown name or a wrong type."""
        try:
            return msgspec.convert(tomllib.loads(whole(path).decode(), parse_float=Decimal), RunConfig, strict=False)
        except OSError as e:
            raise BadInput(f"--config {path}: {e.strerror or e}: name a TOML file; replay run --show-config prints one") from None
        except UNREADABLE as e:
            raise BadInput(f"--config {path}: {e}: correct it; replay run --show-config prints every name") from None

    def to_toml(self) -> str:
        """The text `load` reads back to the same value.

        >>> "latency = '1ms'" in RunConfig().to_toml()
        True
        """
        plain = msgspec.to_builtins(self, builtin_types=(Decimal,))
        tables = {name: plain.pop(name) for name in ("strategy", "limits", "faults")}
        lines = [f"{name} = {toml_value(value)}" for name, value in plain.items() if value is not None]
        for chosen in tables["strategy"]:
            lines += ["", "[[strategy]]", *(f"{name} = {toml_value(value)}" for name, value in chosen.items())]
        default = msgspec.to_builtins(Limits(), builtin_types=(Decimal,))
        limits = [f"{name} = {toml_value(value)}" for name, value in tables["limits"].items() if value != default[name]]
        lines += ["", "[limits]", *limits] if limits else []
        if self.faults.faults:
            lines += ["", "[faults]", self.faults.to_toml("faults.").rstrip()]
        return "\n".join(lines) + "\n"

    def profile(self, instruments: Sequence[Instrument] = ()) -> Profile:
        """The venue profile it describes, for these instruments. Raises `BadInput`.

        >>> RunConfig(fill="hftbacktest", queue="power3:2", latency="feed=recorded,entry=2ms").profile().entry.ns
        2000000
        """
        model, _, exponent = self.queue.partition(":")
        if self.fill not in ("realistic", "hftbacktest"):
            raise BadInput(f"--fill: expected realistic or hftbacktest, got {self.fill!r}")
        if model not in QUEUES:
            raise BadInput(f"--queue: expected one of {', '.join(QUEUES)}, got {model!r}")
        if exponent and (not exponent.isdigit() or not 1 <= int(exponent) <= 20 or not model.startswith("power")):
            raise BadInput(f"--queue: power, power2 and power3 take a whole exponent of 1 to 20, as power3:2; got {self.queue!r}")
        if self.fill != "hftbacktest" and model != "risk_averse":
            raise BadInput(f"--queue {model}: a model of the hftbacktest profile: add --fill hftbacktest")
        return Profile(
            name=self.fill,
            queue=model,
            queue_n=float(exponent or 1),
            slippage_ppm=slippage_ppm(self.slippage),
            participation_ppm=participation_ppm(self.participation),
            seed=self.seed,
            **commission(self.commission, instruments),
            **self._legs(),
        )

    def _legs(self) -> dict[str, Leg]:
        legs: dict[str, Leg] = {}
        for part in self.latency.split(",") if "=" in self.latency else (f"entry={self.latency}", f"response={self.latency}"):
            leg, _, text = part.partition("=")
            if leg not in ("feed", "entry", "response"):
                raise BadInput(f"--latency: expected feed=..., entry=... or response=..., got {part!r}")
            try:
                legs[leg] = Leg.parse(text, leg)
            except ValueError as e:
                raise BadInput(str(e)) from None
        return legs

    def rows(self, whole: Session) -> tuple[Session, int]:
        """The part of a session that is replayed, and where its warm-up ends (ns; 0: it has none)."""
        start, to = time_ns(self.from_, "--from"), time_ns(self.to, "--to")
        if self.warmup is None:
            return (whole.slice(start, to) if start or to else whole), 0
        try:
            length = duration_ns(self.warmup, "--warmup")
        except ValueError as e:
            raise BadInput(str(e)) from None
        begin = start if start is not None else whole.manifest.start_ns + length
        if begin >= (to if to is not None else whole.manifest.end_ns):
            raise BadInput(f"--warmup {self.warmup}: nothing is left to trade: the session lasts from {_span(whole)}; shorten it")
        return whole.slice(begin - length, to), begin

    def engine(
        self,
        session: Session,
        strategies: list | None = None,
        *,
        profile: Profile | None = None,
        spool: Path | None = None,
        journal: bool = False,
        compiling: Callable[[str, int, int], None] | None = None,
    ) -> Engine:
        """The engine this describes, not started. `strategies`, loaded, and `profile` stand for what it says of them. Raises `BadInput`."""
        rows, warm_ns = self.rows(session)
        return self.engine_on(
            rows, warm_ns, strategies, profile=profile, keep_output=spool or True, journal=journal, compiling=compiling
        )

    def engine_on(
        self,
        rows: Session,
        warm_ns: int,
        strategies: list | None = None,
        *,
        profile: Profile | None = None,
        keep_output: bool | Path = True,
        journal: bool = False,
        compiling: Callable[[str, int, int], None] | None = None,
    ) -> Engine:
        """The same on `rows` as they are, warm-up until `warm_ns`. Every engine that stands for a run is built here, so that none
        leaves out a part of the configuration."""
        profile = profile or self.profile(rows.instruments)
        if profile.charges:
            rules.check_known(rows.manifest.start_ns, rows.manifest.end_ns)
        return Engine(
            rows,
            strategies or [load(c.source, c.parameters) for c in self.strategies],
            profile,
            self.limits,
            {rows.instruments[0].currency: self.initial_capital},
            order_capacity=self.order_capacity,
            keep_output=keep_output,
            warmup_until_ns=warm_ns,
            faults=self.faults,
            journal=journal,
            compiling=compiling,
        )


def money(text: str) -> Decimal:
    """An amount as a person writes it. Raises `BadInput`.

    >>> money("10,000.50")
    Decimal('10000.50')
    """
    try:
        value = Decimal(text.replace(",", "").replace("_", ""))
    except InvalidOperation:
        value = Decimal("NaN")
    if not (value.is_finite() and 0 <= value < MOST_CAPITAL):
        raise BadInput(f"--initial-capital: expected an amount of 0 to below {MOST_CAPITAL:,}, got {text!r}")
    return value


def time_ns(text: str | None, option: str) -> int | None:
    """A time in ISO format, UTC unless it says otherwise, as ns. Raises `BadInput`."""
    if text is None:
        return None
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{option}: expected a time such as 2026-03-02T14:30 or 2026-03-02T09:30-05:00, got {text!r}") from None
    return ns_of(when if when.tzinfo else when.replace(tzinfo=datetime.UTC))


def _span(session: Session) -> str:
    from replay.data.times import utc_text

    return f"{utc_text(session.manifest.start_ns)} to {utc_text(session.manifest.end_ns)}"
