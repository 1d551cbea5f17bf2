"""The server on a port: HTTP and websockets by aiohttp, one event loop, in this thread or one of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

from replay.data.times import utc_text
from replay.errors import BadInput
from replay.serve.account import Account
from replay.serve.control import Control
from replay.serve.errors import BAD_REQUEST, NOT_FOUND, NOT_SERVED, TOO_MANY, ApiError
from replay.serve.parameters import unknown
from replay.serve.rest import Rest
from replay.serve.routes import Answer, Call, Route, absent
from replay.serve.server import Server
from replay.serve.stream import AUTH_SECONDS, Connection, DataStream, TradeStream
from replay.serve.ticket import FIELDS

DATA_PATHS = ("/v2/iex", "/v2/sip", "/v2/delayed_sip", "/v1beta3/crypto/us")
UNAUTHORIZED_PAGE = (
    "<html><head><title>401 Authorization Required</title></head><body><h1>401 Authorization Required</h1></body></html>"
)
ERROR_PAGE = "<html><head><title>500 Internal Server Error</title></head><body><h1>500 Internal Server Error</h1></body></html>"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
MOST_BYTES = 4 << 20
FILL_WAIT_S = 2.0
CLOSE_S = 5.0  #: for a client to read what is left when it is told to go
LOG_S = 10.0  #: between two lines of the log


class Connected(web.RequestHandler):
    """A client's connection; `first_byte_ns` of the steady clock says when the request that is being read began to come."""

    first_byte_ns = 0

    def data_received(self, data: bytes) -> None:
        if not self.first_byte_ns:
            self.first_byte_ns = time.perf_counter_ns()
        super().data_received(data)


class Runner(web.AppRunner):
    @property
    def server(self) -> Callable[[], Connected] | None:
        """What makes a connection's handler."""
        made = super().server
        return made and (lambda: Connected(made, loop=asyncio.get_running_loop(), access_log=None))


class App:
    """Routes to the sans-IO parts, and one writer for each websocket."""

    def __init__(self, server: Server):
        self.server = server
        self.rest, self.control = Rest(server), Control(server)
        self._wakers: dict[Connection, asyncio.Event] = {}
        self._sockets: dict[Connection, web.WebSocketResponse] = {}
        self._ending: set[Connection] = set()
        server.written = self._written
        self.web = web.Application(client_max_size=MOST_BYTES, middlewares=[self._guarded])
        for route in self.rest.routes():
            self.web.router.add_route(route.method, route.path, self._endpoint(route))
        for slash in ("", "/"):  # official clients use both
            for path in DATA_PATHS:
                self.web.router.add_get(path + slash, self._data)
            self.web.router.add_get(f"/stream{slash}", self._trades)
        self.web.router.add_route("*", "/replay/v1/{what}", self._control)
        self.web.router.add_route("*", "/{path:.*}", self._nowhere)
        self.web.cleanup_ctx.append(self._clock)

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Callable) -> web.StreamResponse:
        if from_a_page(request, self.server.token):
            return _json(403, {"message": "forbidden: asked for by a web page, or by a name that is not this machine's"})
        return await handler(request)

    async def _clock(self, app: web.Application):
        self.clock = asyncio.create_task(self.server.run())
        if self.server.live:
            self.server.wake()
        yield
        for ws in list(self._sockets.values()):
            await ws.close()
        self.clock.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.clock

    # --- HTTP -----------------------------------------------------------------------------------------------------------------
    def _endpoint(self, route: Route):
        async def answer(request: web.Request) -> web.StreamResponse:
            server = self.server
            account = self._account(request)
            if account is None and not (route.open and server.token is None):
                return _stranger(request)
            server.attend()
            self._note(route, request)
            fault = server.faults.take(
                "rate_limited", "html", "unavailable", "lost_request", method=request.method, path=request.path
            )
            if fault is not None:
                return {
                    "rate_limited": lambda: _json(429, {"code": TOO_MANY, "message": "too many requests."}),
                    "html": lambda: _html(500, ERROR_PAGE),
                    "unavailable": lambda: _json(503, {"message": "service unavailable"}),
                    "lost_request": lambda: _json(504, {"message": "gateway timeout"}),
                }[fault.kind]()
            headers, refused = self._limit(account) if account else ({}, None)
            if refused is not None:
                return refused
            if account and await self._lost(account, request):
                return _json(504, {"message": "gateway timeout"})
            try:
                status, body = await self._call(route, account, request)
            finally:
                request.protocol.first_byte_ns = 0  # of the next one
            return await self._late(request, status, body, account, headers)

        return answer

    async def _lost(self, account: Account, request: web.Request) -> bool:
        """Whether the plan's faults keep the request from arriving."""
        server = self.server
        server.catch_up()
        o = account.orders.get(request.match_info.get("id", ""))
        symbol = server.assets.symbols[o.instrument] if o else ""
        if request.method == "POST" and server.planned.plan.faults:
            with contextlib.suppress(ValueError, RecursionError, AttributeError):
                symbol = str(json.loads(await request.read()).get("symbol"))
        return server.planned.loses(account, request.method, request.path, symbol, server.market.now)

    def _note(self, route: Route, request: web.Request) -> None:
        names = unknown(request.query, route.rules)
        if names:
            self.server.note(f"unknown    parameter {', '.join(names)} of {route.method} {route.path}"[:200])

    async def _nowhere(self, request: web.Request) -> web.StreamResponse:
        """A path that is not served: 501 with the reason where Alpaca has it, 404 where it does not."""
        why = absent(request.path)
        path = f"{request.method} {request.path}"[:160]
        self.server.note(f"not served {path}: {why}" if why else f"unknown    {path}")
        if self._account(request) is None and not request.path.startswith("/v1beta3/crypto"):
            return _stranger(request)
        self.server.attend()
        if why:
            return _json(501, {"code": NOT_SERVED, "message": f"{request.path[:100]} is not served: {why}"})
        return _json(404, {"code": NOT_FOUND, "message": "endpoint not found."})

    async def _call(self, route: Route, account: Account | None, request: web.Request) -> Answer:
        try:
            raw = await request.read()
            body = json.loads(raw, parse_float=str) if raw else None
        except (ValueError, RecursionError):
            return 400, {"code": BAD_REQUEST, "message": "request body format is invalid"}
        if route.method == "POST" and route.path == "/v2/orders" and isinstance(body, dict) and not FIELDS.issuperset(body):
            names = ", ".join(sorted(map(str, set(body) - FIELDS)))
            self.server.note(f"unknown    field {names} of an order"[:200])
        if route.dated and not self.rest.calendar.loaded:
            await asyncio.to_thread(self.rest.calendar.load)
        self.server.catch_up()
        try:
            answer = route.answer(Call(account, request.match_info, request.query, body, request.protocol.first_byte_ns))
        except ApiError as e:
            answer = e.status, e.body()
        if account is None:
            return answer
        if self.server.lockstep:
            self.server.tell(account)
        else:
            self.server.dispatch()
            self.server.stir()
        return answer

    async def _late(self, request: web.Request, status: int, body, account: Account | None, headers: dict) -> web.StreamResponse:
        """The answer, unless a fault keeps it back."""
        fault = self.server.faults.take("lost_answer", "reset", "slow", "fill_first", method=request.method, path=request.path)
        if fault is not None and fault.kind == "lost_answer":
            return _json(504, {"message": "gateway timeout"})
        if fault is not None and fault.kind == "reset":
            request.transport.abort()
        elif fault is not None and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        elif fault is not None and account and isinstance(body, dict) and body.get("id") in account.orders:
            waited = 0.0
            told = self.server.listeners(account)
            while (account.orders[body["id"]].status != "filled" or any(c.out for c in told)) and waited < FILL_WAIT_S:
                await asyncio.sleep(0.005)
                waited += 0.005
        return web.Response(status=204, headers=headers) if body is None else _json(status, body, headers)

    def _account(self, request: web.Request) -> Account | None:
        return self.server.authenticate(request.headers.get("APCA-API-KEY-ID"), request.headers.get("APCA-API-SECRET-KEY"))

    def _limit(self, account: Account) -> tuple[dict[str, str], web.Response | None]:
        allowance = self.server.allowance(account)
        if allowance is None:
            return {}, None
        left, seconds = allowance
        headers = {
            "X-RateLimit-Limit": str(self.server.rate),
            "X-RateLimit-Remaining": str(max(0, left)),
            "X-RateLimit-Reset": str(int(self.server.wall() + seconds) + 1),
        }
        refused = _json(429, {"code": TOO_MANY, "message": "too many requests."}, headers) if left < 0 else None
        return headers, refused

    async def _control(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ") or request.headers.get("APCA-API-SECRET-KEY", "")
        if not self.server.permits(given):
            return _json(401, {"message": "unauthorized."})
        try:
            raw = await request.read()
            body = json.loads(raw) if raw else {}
        except (ValueError, RecursionError):
            return _json(400, {"message": "expected JSON"})
        try:
            status, answer, streams = self.control.handle(request.method, request.match_info["what"], body)
        except BadInput as e:
            return _json(400, {"message": str(e)})
        for c in streams:
            self._abort(c)
        return _json(status, answer)

    # --- websockets -------------------------------------------------------------------------------------------------------------
    async def _data(self, request: web.Request) -> web.StreamResponse:
        self.server.attend()
        c = DataStream(self.server, request.path.rstrip("/"))
        return await self._socket(request, c, self.server.data_streams)

    async def _trades(self, request: web.Request) -> web.StreamResponse:
        self.server.attend()
        return await self._socket(request, TradeStream(self.server), self.server.trade_streams)

    async def _socket(self, request: web.Request, c: Connection, register: list) -> web.StreamResponse:
        ws = web.WebSocketResponse(compress=False, max_msg_size=MOST_BYTES)
        try:
            await ws.prepare(request)
        except ConnectionError:  # it went before it was answered: nobody reads an answer
            return web.Response()
        register.append(c)
        self._wakers[c], self._sockets[c] = asyncio.Event(), ws
        self._wakers[c].set()
        writer = asyncio.create_task(self._write(ws, c))
        timeout = asyncio.get_running_loop().call_later(AUTH_SECONDS, self._too_late, c)
        try:
            async for m in ws:
                if m.type in (WSMsgType.BINARY, WSMsgType.TEXT) and not c.closing:
                    c.receive(m.data)
        finally:
            timeout.cancel()
            register.remove(c)
            c.closing = True
            del self._sockets[c]
            self._ending.discard(c)
            self._wakers.pop(c).set()
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await writer
        return ws

    def _too_late(self, c: Connection) -> None:
        if c.account is None and not c.closing:
            if isinstance(c, DataStream):
                c.refuse(404)
            c.close()

    def _written(self, c: Connection) -> None:
        waker = self._wakers.get(c)
        if waker is None:
            return
        waker.set()
        if c.closing and c not in self._ending:  # a reader that never reads would keep the writer waiting for ever
            self._ending.add(c)
            asyncio.get_running_loop().call_later(CLOSE_S, self._abort, c)

    async def _write(self, ws: web.WebSocketResponse, c: Connection) -> None:
        waker = self._wakers[c]
        while not ws.closed:
            while c.out:
                await ws.send_bytes(c.next())
                if c.account is not None and isinstance(c, DataStream):
                    c.account.market_ns = time.perf_counter_ns()
            if c.closing:
                await ws.close()
                return
            waker.clear()
            await waker.wait()

    def _abort(self, c: Connection) -> None:
        ws = self._sockets.get(c)
        if ws is not None and ws._req is not None and ws._req.transport is not None:
            ws._req.transport.abort()


def _json(status: int, body: object, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=json.dumps(body), content_type="application/json", headers=headers)


def _stranger(request: web.Request) -> web.Response:
    """The answer to nobody: a page where no key was given at all."""
    given = "APCA-API-KEY-ID" in request.headers
    return _json(401, {"message": "unauthorized."}) if given else _html(401, UNAUTHORIZED_PAGE)


def _html(status: int, page: str) -> web.Response:
    return web.Response(status=status, text=page, content_type="text/html")


def check_host(host: str, token: str | None) -> None:
    """Raises `BadInput` where others than this machine could trade: an empty token is none."""
    if host not in LOOPBACK and not token:
        raise BadInput(f"--host {host}: others than this machine could trade: add --token, which is not empty")


def from_a_page(request: web.Request, token: str | None) -> bool:
    """Whether a web page of another site may be behind a request.

    A browser says where a page is from, and under which name it found this server. A page can have its own name lead to this
    machine: so without a token, which no page knows, the name has to be one of this machine's, or a number.
    """
    host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != host:
        return True
    return not token and not _is_ours(host)


def _is_ours(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name in LOOPBACK or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


async def listen(server: Server, host: str, port: int) -> tuple[web.AppRunner, str, asyncio.Task]:
    """Listen; returns what to clean up, the address, and the task of the clock, whose failure is the server's. Port 0: any free one.
    Raises `BadInput`."""
    check_host(host, server.token)
    app = App(server)
    runner = Runner(app.web, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
    except OSError as e:
        await runner.cleanup()
        raise BadInput(f"port {port} of {host}: {e.strerror or e}: choose another with --port") from None
    actual = runner.addresses[0][1]
    return runner, f"http://{f'[{host}]' if ':' in host else host}:{actual}", app.clock


@contextlib.contextmanager
def running(server: Server, port: int = 0) -> Iterator[str]:
    """The server on loopback in a thread of its own, for tests and notebooks; yields its address, as ``http://127.0.0.1:PORT``."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    state: dict = {}

    def work() -> None:
        asyncio.set_event_loop(loop)
        try:
            state["runner"], state["url"], _ = loop.run_until_complete(listen(server, "127.0.0.1", port))
        except BaseException as e:
            state["error"] = e
            ready.set()
            return
        ready.set()
        loop.run_forever()
        try:
            loop.run_until_complete(state["runner"].cleanup())
        except Exception as e:
            state["error"] = e

    thread = threading.Thread(target=work, name="replay serve", daemon=True)
    thread.start()
    ready.wait()
    try:
        if "error" in state:
            raise state["error"]
        yield state["url"]
    finally:
        if "runner" in state:
            loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    if "error" in state:
        raise state["error"]


def serve(server: Server, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `say` takes a line now and then. Raises `BadInput`."""
    asyncio.run(_serve(server, host, port, say))


async def _serve(server: Server, host: str, port: int, say: Callable[[str], None]) -> None:
    runner, url, clock = await listen(server, host, port)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    m = server.session.manifest
    say(
        f"serving {m.name} ({m.n_events:,} events, {', '.join(server.assets.symbols[:8])}) at {url}, speed {server.speed}; stop with Ctrl-C"
    )
    if not server.strict:
        say("rules     open: the broker's own rules are off: for parity experiments")
    if server.planned.left:
        say(f"faults    {', '.join(server.planned.left)}: left to the run that trades: replay paper --faults")
    said = ""
    try:
        while not stop.is_set() and not (clock.done() and clock.exception()):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOG_S)
            line = _line(server)
            if line != said:
                say(line)
            said = line
    finally:
        await runner.cleanup()
        for f in server.planned.told(server.market.feed.hits, server.market.now):
            say(f"faults    {f['kind']} {f['when']}   struck {f['struck']:,}")


def _line(server: Server) -> str:
    """Where the market stands and who is there; the same while nothing happens."""
    market, accounts = server.market, server.accounts.values()
    orders, fills = sum(len(a.orders) for a in accounts), sum(len(a.fills) for a in accounts)
    streams = f"{len(server.data_streams)}+{len(server.trade_streams)}"
    state = "over" if market.done else f"row {market.i:,} of {market.n:,}" if market.i else "waiting for a client"
    return f"{utc_text(market.now)}  {state}  accounts {len(accounts)}  streams {streams}  orders {orders}  fills {fills}"
