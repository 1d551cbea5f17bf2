"""Alpaca: the unmodified alpaca-py, with what it lacks around it.

- `wire`: their JSON and msgpack as our events, orders and requests, and back. No sockets;
- `rest`: one client a lane, with timeouts, without the SDK's own retries; what an answer means;
- `lanes`: requests in order, under the rate limit, cancels apart from orders;
- `jobs`: each request, and what is done about answers that never came;
- `streams`: market data and order updates: who is heard, what was missed, when a socket has gone mute;
- `bars`: minute bars, and those of a gap;
- `adapter`: all of it as a `replay.live.broker.Broker`;
- `account`: keys, instruments, calendar, and the checks of ``replay doctor``.
"""
