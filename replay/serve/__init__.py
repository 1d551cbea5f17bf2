"""A local server that speaks a broker's protocol, backed by the simulated venue replaying a session.

`replay serve SESSION --as alpaca` lets a bot in any language, with its unmodified client library, trade a recorded day. What lies where:

- `market`: the replayed market, a clock over the session's rows and the venues of all accounts, in one total order. No sockets;
- `venue`: the simulated venue of one account; `account`, `orders`, `groups`, `checks`: the broker's rules on top of it. No sockets;
- `wire`, `history`, `calendar`: what the session looks like in the broker's messages;
- `rest`, `stream`, `control`: HTTP and websockets; `faults`: what goes wrong on request; `server`: all of it on one port.
"""
