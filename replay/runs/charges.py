"""What trading costs, from the words of a configuration: slippage, participation, commission."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from replay.data.instruments import Instrument
from replay.errors import BadInput
from replay.runs import rules
from replay.venue.setup import Charge

MONEY = 10**8
_PER_UNIT = re.compile(r"(?P<amount>[0-9.]+)/(?:share|unit)")
_BPS = re.compile(r"(?:(?P<leg>maker|taker)=)?(?P<rate>-?[0-9.]+)bps")


def slippage_ppm(text: str) -> int:
    """Millionths of the price from ``5bps`` or ``0``. Raises `BadInput`.

    >>> slippage_ppm("2.5bps")
    250
    """
    match = _BPS.fullmatch(text if text != "0" else "0bps")
    ppm = None if match is None or match["leg"] else _ppm(match["rate"])
    if ppm is None or not 0 <= ppm <= 1_000_000:
        raise BadInput(f"--slippage: expected basis points from 0 to 10000bps, in hundredths, such as 5bps, got {text!r}")
    return ppm


def participation_ppm(share: Decimal | float) -> int:
    """Millionths of a bar's volume; 0: any. Raises `BadInput`.

    >>> participation_ppm(Decimal("0.1"))
    100000
    """
    share = Decimal(str(share))
    if not (share.is_finite() and 0 <= share <= 1) or share * 1_000_000 % 1:
        raise BadInput(f"--participation: expected a share of a bar's volume from 0 (any) to 1, such as 0.1, got {share}")
    return int(share * 1_000_000)


def commission(text: str, instruments: Sequence[Instrument] = ()) -> dict[str, int | tuple[Charge, ...]]:
    """Fees of a `Profile` from ``0.005/share``, ``2bps``, ``maker=-0.2bps,taker=5bps``, ``alpaca`` (what rules charge on US equities:
    `replay.runs.rules`), or several with commas between. A fee a share needs instruments of one lot size. Raises `BadInput`.

    >>> commission("0.005/share,taker=1bps")
    {'maker_fee_ppm': 0, 'taker_fee_ppm': 100, 'fee_per_lot': 500000, 'charges': ()}
    """
    fees = {"maker_fee_ppm": 0, "taker_fee_ppm": 0, "fee_per_lot": 0, "charges": ()}
    for part in text.split(",") if text != "0" else ():
        if part == "alpaca":
            fees["charges"] = rules.charges(instruments)
            continue
        rate, unit = _BPS.fullmatch(part), _PER_UNIT.fullmatch(part)
        ppm = _ppm(rate["rate"]) if rate else None
        if ppm is not None and abs(ppm) <= 1_000_000:
            for leg in (rate["leg"],) if rate["leg"] else ("maker", "taker"):
                fees[f"{leg}_fee_ppm"] = ppm
        elif unit and _number(unit["amount"]) is not None:
            fees["fee_per_lot"] = _per_lot(_number(unit["amount"]), instruments)
        else:
            raise BadInput(f"--commission: expected such as alpaca, 0.005/share, 2bps or maker=1bps,taker=5bps, got {text!r}")
    return fees


def _number(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _ppm(text: str) -> int | None:
    number = _number(text)
    return int(number * 100) if number is not None and number * 100 == int(number * 100) else None


def _per_lot(amount: Decimal, instruments: Sequence[Instrument]) -> int:
    lots = {Decimal(i.lot_size) for i in instruments} or {Decimal(1)}
    if len(lots) > 1:
        raise BadInput(f"--commission {amount}/share: the session has lots of {', '.join(map(str, sorted(lots)))}: charge in bps")
    fee = amount * MONEY * lots.pop()
    if fee != int(fee) or fee > 10**18:
        raise BadInput(f"--commission {amount}/share: a lot's fee must be whole hundred-millionths, and below 10^10: round it")
    return int(fee)
