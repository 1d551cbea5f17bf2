"""Readers are total: whatever a command line, file, folder or terminal holds, a command says it in one line or goes on."""

import contextlib
import inspect
import io
import json
import os
import stat
import sys
from pathlib import Path

import pytest
from commands import command
from rich.table import Table

import replay
from replay import files, terminal
from replay.cli import main
from replay.cli.app import app
from replay.cli.options import finite
from replay.data.synth import equity_day
from replay.errors import BadInput
from replay.live.disk import Disk
from replay.live.status import read_status
from replay.live.uptime import MINUTE, Uptime
from replay.runs.config import money

ODD_NAMES = ("[/foo]", ":x:", "[red]", "[link=http://a]")
NUMBERS = ("nan", "inf", "-inf", "1e10", "1e400", str(2**63), str(-(2**63) - 1), "", "9" * 5000, "0x10")
FOREIGN = """
from replay import Strategy
class Foreign(Strategy):
    done: bool = False
    def on_quote(self, ctx, q):
        if not self.done:
            for instrument in (99, -1, 2**40):
                ctx.market(instrument, 1, 1)
            self.done = True
"""


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """A folder with a session of odd names and a run of it, in which it is."""
    folder, before = tmp_path_factory.mktemp("readers"), Path.cwd()
    equity_day(ODD_NAMES[:2], 2_000, seed=1).save(folder / "s")
    (folder / "foreign.py").write_text(FOREIGN)
    os.chdir(folder)
    code, _, err = command(["run", "s", "-s", "foreign.py", "-s", "buy_and_hold", "--out", "r"])
    assert code == 0, err
    yield folder
    os.chdir(before)


def one_line(args, codes=(2,)):
    code, out, err = command([str(a) for a in args])
    assert code in codes and "Traceback" not in err, (args, code, err[-400:])
    if code == 2:
        assert err.startswith("error: ") and err.count("\n") == 1, (args, err)
    return out


# --- the command line -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("option", ["participation", "initial-capital", "seed", "slippage", "order-capacity", "commission",
                                    "latency", "queue", "warmup", "from", "to"])  # fmt: skip
@pytest.mark.parametrize("value", [*NUMBERS, "nanbps", "nan/share", "1e400bps", "nanms", "1e30s", "9999-12-31"])
def test_a_number_that_is_none_is_refused(at, option, value):
    one_line(["run", "s", "-s", "buy_and_hold", f"--{option}={value}", "--out", "odd"], codes=(0, 2))


def test_capital_has_one_bound():
    for text in ("1e10", "10,000,000,000", "nan", "-1"):
        with pytest.raises(BadInput, match="0 to below 10,000,000,000"):
            money(text)
    for capital in ("1e10", "NaN", "Infinity"):
        with pytest.raises(BadInput, match="initial_capital"):
            replay.run(strategy="buy_and_hold", initial_capital=capital)


def options():
    """(command, parameter, its type, what typer is told of it) of every parameter of every command."""
    for c in app.registered_commands:
        for p in inspect.signature(c.callback, eval_str=True).parameters.values():
            if hasattr(p.annotation, "__metadata__"):
                yield c.name or c.callback.__name__, p, p.annotation.__origin__, p.annotation.__metadata__[0]


def test_every_number_of_every_command_has_bounds_that_nan_does_not_pass():
    """The command line's own ranges let NaN through, and whole numbers of any size."""
    seen = set()
    for name, p, kind, told in options():
        if kind in (float, float | None) and (name, p.name) != ("run", "participation"):  # which its own check refuses
            assert told.callback is finite, (name, p.name)
            seen.add(p.name)
        if kind is int and p.name == "seed":
            assert (told.min, told.max) == (0, (1 << 63) - 1), name
            seen.add(name)
    assert {"hang_s", "synth", "fuzz"} <= seen
    for value in ("nan", "inf"):
        one_line(["paper", "-s", "buy_and_hold", "--hang", value])


@pytest.mark.parametrize("name", ["no.txt", "..", ".", "/dev/null", "/dev/zero", "/", "", "a..b", "x.", "-", ":", "sys", "os.path",
                                  "a" * 300, "é.é", "importlib._bootstrap", "folder.py"])  # fmt: skip
def test_what_is_no_strategy_is_refused(at, name):
    (at / "folder.py").mkdir(exist_ok=True)
    (at / "no.txt").write_text("hello\n")
    one_line(["run", "s", f"--strategy={name}", "--out", "q"])


def test_devices_and_pipes_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path, tmp_path / "pipe", tmp_path / "missing"):
        with pytest.raises(OSError):
            files.whole(path)
    read, write = os.pipe()
    os.write(write, b"handed")
    os.close(write)
    assert files.whole(f"/dev/fd/{read}") == b"handed"


# --- folders and what lies in them ---------------------------------------------------------------------------------------------
def test_a_catalog_names_what_it_cannot_read_and_lists_the_others(at, tmp_path):
    equity_day(("A",), 500, seed=1).save(tmp_path / "good")
    broken = {"cut": b'{"version": 1, "na', "other": b"[]", "text": b"\xff\xfe", "empty": b"", "deep": b"[" * 100_000}
    for name, text in broken.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_bytes(text)
    (tmp_path / "folder" / "manifest.json").mkdir(parents=True)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "manifest.json")
    code, out, err = command(["catalog", str(tmp_path)])
    assert code == 0 and "quote trade" in out and "Traceback" not in err
    for name in (*broken, "folder", "pipe"):
        (line,) = [x for x in err.splitlines() if f"/{name}" in x]
        assert line.startswith("warning: ")
    code, out, err = command(["catalog", str(tmp_path), "--json"])
    listed = json.loads(out)
    assert len(listed) == 8 and sum("error" in x for x in listed) == 7


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"{}", b'{"state": "dead"}', b'{"state": 5}', b"\xff", b"1" * 5000,
                                  b"[" * 100_000])  # fmt: skip
def test_a_status_that_is_none_is_one_line(tmp_path, text):
    (tmp_path / "status.json").write_bytes(text)
    with pytest.raises(BadInput, match="not the status of a run"):
        read_status(tmp_path)
    for args in (["status", tmp_path], ["status", tmp_path, "--json"]):
        code, _, err = command([str(a) for a in args])
        assert code == 2 and "Traceback" not in err and err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b'{"at": -5}', b'{"at": 1, "open": true}', b'{"open_ns": 1e400}',
                                  b'{"at": 9223372036854775807}', b'{"open_ns": -1}', b'{"at": 99999999999999999999}', None])  # fmt: skip
def test_minutes_that_cannot_be_read_are_begun_anew(tmp_path, text):
    if text is None:
        (tmp_path / "uptime.json").mkdir()
    else:
        (tmp_path / "uptime.json").write_bytes(text)
    now = 1_772_461_800_000_000_000
    u = Uptime.read(tmp_path)
    u.resume(now, True, 20260302, False)
    u.count(now + MINUTE, True, 20260302, True)
    u.write(tmp_path)
    assert u.open_ns == MINUTE
    assert text is None or Uptime.read(tmp_path) == u


def test_a_refusal_of_no_instrument_of_the_session_can_be_read_everywhere(at):
    for args in (
        ["explain", "r", "--refusal", "1"], ["sql", "r", "select * from refusals"], ["diff", "r", "r"], ["report", "r"],
        ["run", "s", "-s", "foreign.py", "--out", "again", "--journal"], ["run", "s", "-s", "foreign.py", "--out", "again", "--json", "--journal"],
    ):  # fmt: skip
        one_line(args, codes=(0,))
    assert "unknown_instrument" in one_line(["sql", "r", "select reason from refusals"], codes=(0,))


# --- what a name looks like ------------------------------------------------------------------------------------------------------
def test_names_are_printed_as_they_are(at):
    for args in (
        ["catalog", "."], ["validate", "s"], ["run", "s", "-s", "buy_and_hold", "--out", "again"], ["diff", "r", "again"],
        ["sql", "r", "select '[/foo]' as \"[/foo]\", ':x:' as b"], ["report", "r", "--what-if"],
        ["sweep", "s", "-s", "buy_and_hold", "-p", "qty=1,2"],
    ):  # fmt: skip
        out = one_line(args, codes=(0, 1))
        assert args[0] in ("report", "sweep") or ("[/foo]" in out and ":x:" in out), (args, out)


def test_every_console_takes_names_for_text():
    """Markup and pictures are rich's default: nobody makes a console but the one place that turns them off."""
    package = Path(replay.__file__).parent
    for path in package.rglob("*.py"):
        text = path.read_text()
        if path.name != "terminal.py":
            assert text.count("Console(") == text.count("max(Console().width"), path  # which is asked for its width only
        for word in ("Live(", "Progress("):
            assert text.count(word) == text.count(f"{word}console=") or "console=" in text, path
        assert "from_markup" not in text and "rich.print" not in text, path
    for name in ODD_NAMES:
        console = terminal.consoles(file=io.StringIO(), width=140)
        table = Table(title=name)
        table.add_column(name)
        table.add_row(name)
        console.print(table)
        console.print(name)
        assert console.file.getvalue().count(name) == 4


@pytest.mark.parametrize("args", [["validate", "s"], ["run", "s", "-s", "buy_and_hold", "--out", "again"], ["diff", "r", "again2"],
                                  ["explain", "r", "1"], ["catalog", "."], ["sql", "r", "select 'é€😀' as a"], ["--help"]])  # fmt: skip
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_terminal_without_the_characters_gets_others(at, args, more, monkeypatch):
    if args[0] == "diff" and not (at / "again2").exists():
        one_line(["run", "s", "-s", "buy_and_hold", "-p", "qty=2", "--out", "again2"], codes=(0,))
    if args == ["--help"] and more:
        return
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, "ascii", write_through=True)
    monkeypatch.setattr(sys, "argv", ["replay", *args, *more])
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as e:
        main()
    assert e.value.code in (0, 1) and raw.getvalue().isascii()
    if more:
        json.loads(raw.getvalue())


def test_json_for_a_terminal_without_the_characters_says_the_same():
    text = json.dumps({"a": "é€😀─→"}, ensure_ascii=False)
    assert json.loads(terminal.escaped(text)) == json.loads(text)
    assert "→ ≤ ─".encode("ascii", "replay.terminal") == b"-> <= -"
    assert "\udcff".encode("utf-8", "replay.terminal") == b"\\udcff"


# --- modes ---------------------------------------------------------------------------------------------------------------------
def closed(folder):
    """Whether nobody else can look into a folder and at what is in it."""
    return [str(p) for p in (folder, *folder.rglob("*")) if not p.is_symlink() and stat.S_IMODE(p.stat().st_mode) & 0o077]


def test_what_is_written_is_its_users_alone(at, tmp_path):
    before = os.umask(0)
    try:
        disk = Disk(tmp_path / "a" / "b")
        disk.make()
        with disk.replacing("status.json") as f:
            f.write(b"{}")
        Uptime().write(disk.folder)
        replay.run("s", "buy_and_hold").save(tmp_path / "a" / "run")
    finally:
        os.umask(before)
    assert closed(tmp_path / "a") == [] and (disk.folder / "uptime.json").exists()


def test_a_folder_that_was_open_is_shut(tmp_path):
    folder = tmp_path / "journal"
    folder.mkdir(0o777)
    folder.chmod(0o777)
    for name in ("status.json", "uptime.json", "hang.txt", "killed.json"):
        (folder / name).write_text("{}")
        (folder / name).chmod(0o666)
    Disk(folder).shut()
    assert closed(folder) == []
