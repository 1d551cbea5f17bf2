"""A local server that speaks a broker's protocol, backed by the simulated venue replaying a session.

`replay serve SESSION --as alpaca` lets a bot in any language, with its unmodified client library, trade a recorded day. What lies where:

- `market`: the replayed market, a clock over the session's rows and the venues of all accounts, in one total order. No sockets;
- `venue`: the simulated venue of one account; `account`, `orders`, `groups`, `checks`: the broker's rules on top of it. No sockets;
- `watchlists`, `equity`: what else an account has: its lists of symbols, and what it was worth when;
- `wire`, `bars`, `history`, `calendar`: what the session looks like in the broker's messages; `redate`: a session moved to now;
- `routes`, `parameters`: what is answered and what may be asked; `rest`, `market_data`: the answers of trading and of market data;
- `stream`, `control`: websockets, and what is ours; `faults`: what goes wrong on request; `server`: all of it, `app`: on one port.
"""
