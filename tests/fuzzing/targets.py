"""Every parser of something that a stranger may have made: what it is given, and a good one to begin with.

A target takes bytes and may raise `BadInput`, and nothing else. Journals are damaged in two ways: as files, where the checksums are in the
way, and block by block with the checksums made anew, as somebody would who wants to get behind them.
"""

import contextlib
import hashlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import crashing  # noqa: E402

from replay.data import store  # noqa: E402
from replay.data.canonical import import_canonical  # noqa: E402
from replay.data.session import Session  # noqa: E402
from replay.data.synth import equity_day  # noqa: E402
from replay.errors import BadInput  # noqa: E402
from replay.faults.disk import SimulatedDisk  # noqa: E402
from replay.faults.plan import Plan  # noqa: E402
from replay.live import config as live_config  # noqa: E402
from replay.live import recovery, snapshots  # noqa: E402
from replay.live.disk import Disk  # noqa: E402
from replay.live.log import BATCH, HASH, HEAD, HEADER, MARK, SEGMENT, START, Log, Reader, segment_name  # noqa: E402
from replay.runs.config import RunConfig  # noqa: E402
from replay.runs.result import Result  # noqa: E402
from replay.trader.limits import Limits  # noqa: E402

CSV = "ts_event,symbol,price,size\n" + "".join(f"{1_772_461_800_000_000_000 + k},AAPL,189.{k:02},{k + 1}\n" for k in range(20))
PLAN = 'seed = 7\n\n[[fault]]\nkind = "report_lost"\nfrom = "15:00"\nto = "+1h"\nshare = 0.1\nreports = ["new"]\n\n[[fault]]\nkind = "pull"\nat = "15:31"\n'


class Target:
    """A parser with good input: `take(data)` parses."""

    def __init__(self, name: str, good: bytes, take: Callable[[bytes], object]):
        self.name, self.good, self.take = name, good, take

    def __call__(self, data: bytes) -> bool:
        """Whether the bytes are taken; False where they are refused as they should be."""
        try:
            self.take(data)
        except BadInput as e:
            assert "\n" not in str(e), f"more than one line: {e}"
            return False
        return True


def targets(folder: Path) -> list[Target]:
    """All of them; files go to `folder`."""
    return [*_texts(folder), *_sessions(folder), *_runs(folder), *_journals(folder), *_server()]


def _file(path: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def take(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return take


def _texts(folder: Path) -> list[Target]:
    config = RunConfig(session="fixtures/equity-day", limits=Limits(max_position=10)).to_toml().encode()
    return [
        Target("plan", PLAN.encode(), _file(folder / "plan.toml", Plan.load)),
        Target(
            "limits",
            b"max_position = 500\ncollar_bps = 50\nmax_leverage = 1.5\nallow = ['A']\n",
            _file(folder / "limits.toml", Limits.load),
        ),
        Target("config", config, _file(folder / "run.toml", lambda p: RunConfig.load(p).profile())),
        Target(
            "live config",
            b"strategy = 'ema_cross'\nsymbols = ['A']\n[params]\nfast = 20\n",
            _file(folder / "live.toml", live_config.load),
        ),
    ]


def _sessions(folder: Path) -> list[Target]:
    session = equity_day(n_events=60, seed=3)
    raw, archive = folder / "raw", folder / "archive"
    session.save(raw)
    session.save(archive, "parquet")

    def rows(data: bytes) -> Session:
        """Rows whose hash somebody made anew."""
        made = msgspec.structs.replace(session.manifest, sha256=hashlib.sha256(data).hexdigest(), n_events=len(data) // 64)
        (raw / store.MANIFEST).write_bytes(made.encode())
        (raw / store.ROWS).write_bytes(data)
        return Session.open(raw)

    def manifest(data: bytes) -> object:
        (archive / store.MANIFEST).write_bytes(data)
        try:
            made = Session.open(archive)
        finally:
            (archive / store.MANIFEST).write_bytes(session.manifest.encode())
        return _built(made)

    return [
        Target("manifest", session.manifest.encode(), manifest),
        Target("rows", np.asarray(session.events).tobytes(), rows),
        Target(
            "archive", (archive / store.ARCHIVE).read_bytes(), _file(archive / store.ARCHIVE, lambda p: Session.open(archive))
        ),
        Target("csv", CSV.encode(), _file(folder / "AAPL.csv", lambda p: import_canonical([p]))),
        Target("parquet", _parquet(folder), _file(folder / "in.parquet", lambda p: import_canonical([p], symbol="A"))),
    ]


def _parquet(folder: Path) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"ts_event": [1_772_461_800_000_000_000 + k for k in range(9)], "price": ["1.5"] * 9, "size": ["3"] * 9})
    pq.write_table(table, folder / "made.parquet")
    return (folder / "made.parquet").read_bytes()


def _built(session: Session) -> object:
    """A trader of a session: what its manifest says decides how large it is."""
    from replay.trader import setup

    return setup.build(session.manifest, [], Limits(), [], {session.instruments[0].currency: 10_000})


def _runs(folder: Path) -> list[Target]:
    import replay
    from replay.summary import to_json

    run = replay.run(equity_day(n_events=60, seed=3), "ema_cross")
    at = folder / "run"
    at.mkdir(exist_ok=True)
    return [Target("run", to_json(run.manifest).encode(), _file(at / "manifest.json", lambda p: repr(Result.open(at))))]


def _journals(folder: Path) -> list[Target]:
    life = crashing.Life(SimulatedDisk(folder / "journal"))
    life.start(crashing.strategies())
    life.trade(-1)
    disk, copy = Disk(folder / "journal"), folder / "copy"
    blocks = list(Reader(disk))
    shot = max(n for n in disk.names() if n.startswith("snapshot-"))
    made = snapshots.read_all(disk)[0][0]

    def whole(files: dict[str, bytes], read: Callable[[Disk], object]) -> object:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder / "journal", copy, ignore=shutil.ignore_patterns("__pycache__"))
        for name, data in files.items():
            (copy / name).write_bytes(data)
        return read(Disk(copy))

    def prefix(d: Disk) -> object:
        if not recovery.begun(d):
            return None
        recovery.notes(d)
        assert recovery.verify(d).identical, "what is trusted is a prefix"
        return recovery.recover(d)

    def resealed(kind: int) -> Callable[[bytes], object]:
        """The first block of a kind with another payload, and every checksum made anew."""

        def take(data: bytes) -> object:
            shutil.rmtree(copy, ignore_errors=True)
            copy.mkdir()
            for name in disk.names():
                if name.startswith("strategy-"):
                    (copy / name).write_bytes(disk.read(name))
            log, done = Log(Disk(copy)), False
            for b in blocks:
                if b.kind == SEGMENT:
                    continue
                payload = data if b.kind == kind and not done else b.payload
                done |= b.kind == kind
                log.append(b.kind, payload, len(b.frames), len(b.outputs))
            log.close()
            d = Disk(copy)
            recovery.survey(d), recovery.notes(d), recovery.verify(d)
            return recovery.recover(d), recovery.session_of(d)

        return take

    def of_kind(kind: int) -> bytes:
        return next(b.payload for b in blocks if b.kind == kind and (kind != BATCH or len(b.frames)))

    def snapshot(data: bytes) -> object:
        digest = hashlib.blake2b(data, digest_size=HASH).digest()
        return whole({shot: snapshots.MAGIC + digest + data}, recovery.recover)

    small = msgspec.structs.replace(made, arena=made.arena[:512])
    kinds = (("head", HEAD), ("start", START), ("mark", MARK), ("batch", BATCH))
    return [
        Target("journal", disk.read(segment_name(1)), lambda data: whole({segment_name(1): data}, prefix)),
        Target(
            "block header",
            disk.read(segment_name(1))[: 3 * HEADER.size],
            lambda data: whole({segment_name(1): data + disk.read(segment_name(1))[3 * HEADER.size :]}, prefix),
        ),
        *(Target(name, of_kind(kind), resealed(kind)) for name, kind in kinds),
        Target("snapshot", disk.read(shot)[-4096:], lambda data: whole({shot: disk.read(shot)[:-4096] + data}, prefix)),
        Target("snapshot, checksum made anew", msgspec.msgpack.encode(made), snapshot),
        Target("small snapshot, checksum made anew", msgspec.msgpack.encode(small), snapshot),
    ]


def _server() -> list[Target]:
    """Bodies of requests and messages of streams, as the local server takes them."""
    from replay.serve.account import ApiError
    from replay.serve.rest import Call, Rest
    from replay.serve.server import Server
    from replay.serve.stream import DataStream, TradeStream

    server = Server(equity_day(n_events=400, seed=3), speed="lockstep", strict=False, rate=0)
    account = server.authenticate("KEY", "SECRET")
    rest = Rest(server)
    order = {"symbol": "AAPL", "qty": "2", "side": "buy", "type": "limit", "limit_price": "10.00", "time_in_force": "day"}
    routes = rest.routes()

    def request(data: bytes) -> object:
        try:
            body = json.loads(data, parse_float=str)
        except (ValueError, RecursionError):
            raise BadInput("not JSON") from None
        args = {"id": next(iter(account.orders), "none"), "symbol": "AAPL"}
        for route in routes:
            if route.method in ("PATCH", "DELETE"):
                with contextlib.suppress(ApiError):
                    route.answer(Call(account, args, {}, body))
        try:
            return rest.submit(Call(account, {}, {}, body))
        except ApiError as e:
            raise BadInput(str(e.status)) from None

    def query(data: bytes) -> object:
        text = data.decode(errors="replace")
        asked = dict(part.partition("=")[::2] for part in text.split("&"))
        for route in routes:
            if route.method == "GET":
                try:
                    route.answer(Call(account, dict.fromkeys(re.findall(r"{(\w+)}", route.path), text[:8]), asked, None))
                except ApiError:
                    continue
        return True

    def message(data: bytes) -> object:
        for stream in (DataStream(server, "/v2/iex"), TradeStream(server)):
            stream.receive(data)
        return True

    auth = b'{"action": "auth", "key": "KEY", "secret": "SECRET"}'
    asked = b"symbols=AAPL,MSFT&limit=20&start=2026-03-02T14:30:00Z&end=2026-03-03&timeframe=5Min&status=all&page_token=x&period=1D&after=1&nested=true"
    return [
        Target("request", json.dumps(order).encode(), request),
        Target("query", asked, query),
        Target("stream message", auth, message),
    ]


def scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzzing-"))
