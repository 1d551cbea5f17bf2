"""``replay download | record``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replay.cli.app import app
from replay.cli.live import Keys, Url
from replay.cli.options import Json, as_dict, compile_scan, names, print_json
from replay.errors import BadInput

if TYPE_CHECKING:
    from replay.collect.asked import Asked
    from replay.collect.download import Source


class From(StrEnum):
    alpaca = "alpaca"
    binance = "binance"
    bitget = "bitget"


class Recorded(StrEnum):
    alpaca = "alpaca"


class Feed(StrEnum):
    iex = "iex"
    sip = "sip"


class Adjustment(StrEnum):
    raw = "raw"
    split = "split"
    dividend = "dividend"
    all = "all"


RateLimit = Annotated[int, typer.Option(help="Requests a minute the account may make; 0: no limit (a local server).", min=0)]


@app.command()
def download(
    symbols: Annotated[str | None, typer.Option(help="Stocks such as AAPL,SPY, pairs such as BTC/USD, perpetuals such as BTC/USDT:USDT.", show_default=False)] = None,
    kind: Annotated[str, typer.Option(help="bars, trades, quotes; trades,quotes for both in one session.")] = "bars",
    frequency: Annotated[str | None, typer.Option(help="Of bars: a part of a day such as 1min, 5min, 1h, 1d; 1min,5min for both in one session.", show_default="5min")] = None,
    period: Annotated[str | None, typer.Option(help="So far back from now: 6months, 2weeks, 30days, 1year.", show_default=False)] = None,
    from_: Annotated[str | None, typer.Option("--from", metavar="TIME", help="From this day or time on; a day begins at New York's midnight, for pairs at UTC's.", show_default=False)] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Up to before this day or time.", show_default="now")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the session and its parts; one that holds a part of it is gone on with.", show_default="sessions/BROKER-KIND-SYMBOLS")] = None,
    broker: Annotated[From, typer.Option(help="Where from; binance and bitget have bars only, and want no keys.")] = From.alpaca,
    feed: Annotated[Feed, typer.Option(help="Of stocks: iex, which every account has, or sip.")] = Feed.iex,
    adjustment: Annotated[Adjustment, typer.Option(help="Of stocks' bars, for splits and dividends.")] = Adjustment.raw,
    market_hours_only: Annotated[bool, typer.Option("--market-hours-only", help="Drop what lies outside market hours: 78 five-minute bars are left of a day.")] = False,
    keys: Keys = None,
    url: Url = None,
    rate_limit: RateLimit = 200,
    json: Json = False,
) -> None:  # fmt: skip
    """Download history into a session ready to run. Stopped, or killed, it goes on where it was when started again. docs/record.md.

    Examples:

        replay download --symbols AAPL,SPY --frequency 5min --period 6months --market-hours-only

        replay download --symbols AAPL --kind trades,quotes --from 2026-03-02 --to 2026-03-03 --feed sip --out sessions/aapl

        replay download --broker binance --symbols BTC/USDT:USDT,ETH/USDT:USDT --frequency 5min --period 1year
    """
    from replay.collect.download import download as fetch

    given = _asked(symbols, kind, frequency, period, from_, to, broker, feed, adjustment)
    source = _source(broker, given, keys, url, rate_limit)
    asked = _timed(given, source, period, from_, to)
    folder = out or Path("sessions") / "-".join(
        (broker.value, *asked.kinds, *(s.replace("/", "").replace(":", ".") for s in asked.symbols[:3]))
    )
    compile_scan()
    try:
        done = fetch(asked, source, folder, market_hours_only)
    except KeyboardInterrupt:
        typer.echo(f"stopped: what is finished is in {folder}; the same command goes on", err=True)
        raise
    counted = {name: getattr(source.asking, name) for name in ("requests", "throttled", "failed")}
    if json:
        print_json(
            {
                "path": str(folder),
                "parts_fetched": done.fetched,
                "parts_kept": done.kept,
                **counted,
                "notes": done.notes,
                **as_dict(done.session.manifest),
            }
        )
        return
    from replay.show import console, labelled, render_manifest

    console().print(render_manifest(done.session.manifest))
    tried = ", ".join(f"{n} {name}" for name, n in counted.items() if n)
    console().print(labelled("parts", f"{done.fetched} fetched, {done.kept} there already; {tried}"))
    for note in done.notes:
        console().print(labelled("note", note))
    console().print(labelled("wrote", f"{folder}   next: replay run {folder} --strategy sma_cross"))


def _asked(symbols, kind, frequency, period, from_, to, broker, feed, adjustment) -> Asked:
    """Everything but the times. Raises `BadInput`."""
    from replay.collect.asked import BARS, KINDS, Asked
    from replay.collect.asked import frequency as length

    wanted, kinds = names(symbols), names(kind) or []
    if not wanted:
        raise BadInput("--symbols: name what to download, such as AAPL,SPY")
    if len({"/" in s for s in wanted}) > 1:
        raise BadInput("--symbols: stocks and crypto pairs have other market hours: download them apart")
    if not kinds or set(kinds) - set(KINDS) or (BARS in kinds and len(kinds) > 1):
        raise BadInput(f"--kind: expected bars, trades, quotes, or trades,quotes, got {kind!r}")
    if frequency is not None and kinds != [BARS]:
        raise BadInput("--frequency: only bars have one: leave it out, or add --kind bars")
    if bool(period) == bool(from_) or (period and to):
        raise BadInput(
            "--period or --from (and --to): say one of them, such as --period 6months or --from 2026-03-02 --to 2026-03-03"
        )
    stocks = "/" not in wanted[0]
    if broker is not From.alpaca and (stocks or kinds != [BARS] or len({":" in s for s in wanted}) > 1):
        raise BadInput(
            f"--broker {broker.value}: bars of pairs such as BTC/USDT, or of perpetuals such as BTC/USDT:USDT, expected: correct --symbols or --kind"
        )
    return Asked(
        broker=broker.value, symbols=tuple(dict.fromkeys(wanted)), kinds=tuple(sorted(set(kinds), key=KINDS.index)), start=0, end=0,
steps_ns=tuple(sorted({length(f) for f in names(frequency or "5min")})) if kinds == [BARS] else (0,),
        period=period or "",
        feed=feed.value if stocks else "", adjustment=adjustment.value if stocks and kinds == [BARS] else "",
    )  # fmt: skip


def _timed(asked: Asked, source: Source, period: str | None, from_: str | None, to: str | None) -> Asked:
    import datetime

    import msgspec

    from replay.collect.asked import before, moment
    from replay.data.times import SECOND, ns_of

    now = source.now()
    end = now if to is None else min(moment(to, "--to", asked.zone), now)
    if period:
        start = ns_of(before(datetime.datetime.fromtimestamp(now // SECOND, asked.zone), period))
    else:
        start = moment(from_, "--from", asked.zone)
    if start >= end:
        raise BadInput("--from: expected a time before --to and before now: correct them")
    return msgspec.structs.replace(asked, start=start, end=end)


def _source(broker: From, asked: Asked, keys: Path | None, url: str | None, rate: int) -> Source:
    try:
        if broker is From.alpaca:
            from replay.collect.alpaca import Alpaca

            return Alpaca(keys, url, rate)
        from replay.collect.exchanges import Exchange

        return Exchange(broker.value, ":" in asked.symbols[0], url)
    except ModuleNotFoundError as e:
        extra = "alpaca" if broker is From.alpaca else "crypto"
        raise BadInput(f"{e.name} is not installed: pip install 'replay-engine[{extra}]'") from None


@app.command()
def record(
    symbols: Annotated[str | None, typer.Option(help="Stocks such as AAPL,SPY, or pairs such as BTC/USD.", show_default=False)] = None,
    kinds: Annotated[str, typer.Option(help="Of trades, quotes, bars (of a minute).")] = "trades,quotes",
    out: Annotated[Path, typer.Option(help="Folder of the recording; a folder a day in it.")] = Path("recordings/alpaca"),
    broker: Annotated[Recorded, typer.Option(help="Whose market data.")] = Recorded.alpaca,
    feed: Annotated[Feed, typer.Option(help="Of stocks: iex, which every account has, or sip.")] = Feed.iex,
    keys: Keys = None,
    url: Url = None,
    json: Annotated[bool, typer.Option("--json", help="Print what happens as JSON lines.")] = False,
) -> None:  # fmt: skip
    """Record a broker's market data as it comes, until Ctrl-C or SIGTERM; each day becomes a session. docs/record.md.

    Examples:

        replay record --symbols AAPL,SPY

        replay record --symbols BTC/USD,ETH/USD --kinds trades --out recordings/crypto --json
    """
    from replay.live.paper import importing

    with importing():
        from replay.collect.record import KINDS, Ordered, Recorder
    wanted, chosen = names(symbols), names(kinds) or []
    if not wanted:
        raise BadInput("--symbols: name what to record, such as AAPL,SPY")
    if len({"/" in s for s in wanted}) > 1:
        raise BadInput("--symbols: stocks and crypto pairs come on other connections: record them apart")
    if not chosen or set(chosen) - set(KINDS):
        raise BadInput(f"--kinds: expected some of {', '.join(KINDS)}, got {kinds!r}")
    compile_scan()
    from replay.collect.telling import Telling

    order = Ordered(
        symbols=list(dict.fromkeys(wanted)),
        kinds=tuple(k for k in KINDS if k in chosen),
        out=out,
        keys=keys,
        url=url,
        feed=feed.value,
    )
    with Telling(json) as telling:
        recorder = Recorder(order, telling)
        telling.watch(recorder)
        recorder.run()
    telling.ended(recorder)
