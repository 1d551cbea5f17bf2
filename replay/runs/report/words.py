"""What the page says about its figures: how each is computed, and what the fill profiles assume (docs/assumptions.md, in short)."""

from __future__ import annotations

from typing import NamedTuple


class Figure(NamedTuple):
    """A headline figure: its key in the summary's statistics or returns, label, unit, format, what it is a sample of, how it is computed."""

    key: str
    label: str
    unit: str
    form: str
    sample: str
    how: str


#: unit "" none, "money" the account's currency
FIGURES = (
    Figure("net", "Net", "money", "signed", "trips", "Equity at the end less the initial capital: realised and unrealised, after fees."),
    Figure("total_return", "Return", "%", "share", "days", "Net divided by the initial capital."),
    Figure("win_rate", "Win rate", "%", "part", "trips", "Round trips with a net above zero, divided by all round trips. A round trip goes from flat to flat in one symbol of one strategy."),
    Figure("profit_factor", "Profit factor", "", "plain", "trips", "Sum of the net of winning round trips divided by the sum lost in the others."),
    Figure("drawdown", "Max drawdown", "money", "plain", "drawdown", "The largest fall of equity below an earlier peak, looked at after every event."),
    Figure("sharpe", "Sharpe", "", "plain", "daily", "Mean of daily returns divided by their standard deviation, times the square root of the trading days a year: 252, or 365 where weekends are traded. Not shown under 20 days."),
    Figure("sortino", "Sortino", "", "plain", "daily", "As Sharpe, but divided by the deviation of the losing days only. Not shown under 20 days."),
    Figure("expectancy", "Expectancy", "money", "signed", "trips", "Mean net of a round trip."),
    Figure("average_win", "Average win", "money", "signed", "trips", "Mean net of the winning round trips."),
    Figure("average_loss", "Average loss", "money", "signed", "trips", "Mean net of the losing round trips."),
    Figure("gross", "Gross", "money", "signed", "trips", "Realised and unrealised before fees. Slippage is already in it."),
    Figure("fees", "Fees", "money", "plain", "fills", "Fees charged by the venue, the sum over all fills."),
    Figure("exposure", "Exposed", "%", "part", "days", "Share of the session's time in which some position was open."),
    Figure("turnover", "Turnover", "x", "plain", "fills", "Traded notional divided by the initial capital."),
    Figure("trips_a_day", "Trips a day", "", "plain", "days", "Round trips divided by trading days."),
    Figure("monthly_return", "Monthly return", "%", "share", "days", "The return of the whole run, compounded to a month."),
    Figure("annualised_return", "Annualised return", "%", "share", "days", "The return of the whole run, compounded to a year."),
)  # fmt: skip

#: why a figure is missing, by what it is a sample of
MISSING = {
    "trips": "no such round trip",
    "fills": "no fills",
    "daily": "not shown: {days} of 20 days",
    "days": "not shown: {days} {day}",
    "drawdown": "none",
}
FEW_TRIPS = 30  #: fewer round trips than this are called few

HOW = {
    "trips": "Round trips: from flat to flat in one symbol of one strategy. Those still open at the end are marked and counted apart.",
    "win": "Closed round trips with a net above zero, divided by all closed ones.",
    "gross": "Realised plus unrealised, before fees.",
    "fees": "Fees charged by the venue on these fills.",
    "net": "Gross less fees.",
    "trip_net": "Net of the round trips that closed here: gross less fees. Positions still open at the end are left out.",
    "slippage": "How much worse the fills were than the price the order was meant to have, in 1e-4 of the notional: the mid at the decision of a market order, the limit of a limit order, the last stop price of a stop. Negative is better.",
    "slippage_money": "Sum over fills of (fill price - intended price) x quantity, counted against us; a contract's multiplier included.",
    "position": "Position at the end of the run, in units.",
    "notional": "Sum over fills of price x quantity, a contract's multiplier included.",
    "fee_bps": "Fees divided by notional, in 1e-4.",
    "count": "How many.",
    "reason": "What the venue said: session_closed, for one, ends orders for the day; a broker's own words are not here.",
    "share": "Part of the column's total.",
    "first": "The figures of the first time: what the check saw, and what is allowed.",
    "when": "Time of the first, UTC.",
    "change": "Difference from the net of the run as it was.",
    "fallen": "The largest fall of equity below an earlier peak.",
    "gross_most": "The largest sum of all positions' values without their signs, looked at every minute.",
    "halts": "How often trading was halted or killed.",
    "blind": "How long no market data reached us.",
    "quantile": "Upper edge of the histogram's bucket that holds this quantile.",
}

COMMON = (
    "The recorded market does not react to our orders: we take what was displayed, nobody moves because we did.",
    "The venue's book moves at the venue's time of an event, our view at our receive time. Requests take the entry leg, reports the response leg.",
    "The finest data of a symbol executes it; coarser rows inform and never match.",
    "Positions are valued at the mid of our view, else at the last print or bar close. No interest, borrow or funding.",
    "A strategy takes no time to think.",
)

PROFILES = {
    "realistic": (
        "An arriving order takes what is displayed, at the displayed prices and no more than the displayed sizes; the rest of a limit order rests.",
        "A resting order stands behind everything displayed at its price. Only prints move it forward: cancels ahead are not assumed.",
        "A print at our price first eats the queue ahead of us; a print through our price fills us up to its size.",
        "What our own orders took is not there a second time until the side displays anew.",
        "Outside the open phase new orders are rejected; when the session closes, every order but GTC expires.",
    ),
    "hftbacktest": (
        "A marketable order trades whole at the touch, whatever its displayed size; nothing is taken from the book.",
        "A resting order fills whole at its own price: kinder than the realistic profile.",
        "Its place in the queue moves with prints at its price, and with decreases of the displayed size as the queue model says.",
    ),
    "live": (
        "Nothing is simulated: orders went to a broker, fills, fees and their times are what it said, and the trader heard.",
        "Market data is what the trader heard, when it took it from its queue; a gap of the feed is a gap here.",
        "Positions are valued at the mid of our view, else at the last print or bar close.",
    ),
}
