"""The documentation runs: every block of README.md and docs/*.md, in a folder with the fixtures and two small recordings.

- a block with a file name (```python fade.py) is written to that file; other python blocks are executed, one namespace a document;
- console blocks run each ``$ replay ...``; the lines under it must be among what it prints, up to a ``…``; a line
  ``error: ...`` is what it must print to stderr, with exit code 2; a line ``FAIL ...`` is printed with exit code 1;
- sh blocks are the README's two commands, which .ci/run executes.
"""

import re
import shlex
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from replay import cli
from replay.cli.reference import reference
from replay.compiler import CONTEXT
from replay.events import KIND_NAMES
from replay.serve.faults import KINDS as FAULTS
from replay.trader.layout import HOOKS
from replay.trader.limits import Limits
from replay.trader.reasons import REASON_NAMES

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.M | re.S)
CAPTURE = """\
1680652800001000000 {"lastUpdateId": 10, "bids": [["100.00", "2.00000"]], "asks": [["100.10", "3.00000"]]}
1680652800002000000 {"data": {"e": "depthUpdate", "E": 1680652800000, "s": "BTCUSDT", "U": 11, "u": 12, "b": [["100.01", "1.00000"]], "a": []}}
1680652800003000000 {"data": {"e": "trade", "E": 1680652800001, "T": 1680652800001, "s": "BTCUSDT", "t": 7, "p": "100.01", "q": "0.50000", "m": true}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "fixtures", tmp_path / "fixtures")
    ticks = tmp_path / "equity" / "usa" / "tick" / "ibm"
    ticks.mkdir(parents=True)
    quotes = "".join(
        f"{34_200_000 + 250 * k},{1_836_000 + k % 9 * 100},300,{1_836_200 + k % 9 * 100},200,P,1,0\n" for k in range(500)
    )
    for kind, text in (("quote", quotes), ("trade", "34200100,1836100,100,P,1,0\n34260000,1836500,50,Q,1,0\n")):
        with zipfile.ZipFile(ticks / f"20131007_{kind}.zip", "w") as z:
            z.writestr(f"20131007_ibm_{kind}_Tick.csv", text)
    (tmp_path / "btcusdt.txt").write_text(CAPTURE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_every_block_runs(page, folder, monkeypatch, capsys):
    if page in ("docs/serve.md", "docs/live.md", "docs/record.md"):
        pytest.importorskip("aiohttp")
        pytest.importorskip("alpaca")
    namespace = {}
    for language, name, text in BLOCK.findall((ROOT / page).read_text()):
        if name:
            Path(name).write_text(text)
        elif language == "python":
            exec(compile(text, page, "exec"), namespace)
        elif language == "console":
            for command, *shown in _commands(text):
                _run(command, shown, monkeypatch, capsys)
        else:
            assert (language, page) == ("sh", "README.md"), f"{page}: a block in {language} is run by nothing"


def _commands(text):
    lines = []
    for line in text.splitlines():
        if line.startswith("$ "):
            lines.append([line[2:]])
        else:
            lines[-1].append(line)
    return lines


def _run(command, shown, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    assert sys.argv[0] == "replay", command
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out, err = capsys.readouterr()
    wanted = "".join(f"{line}\n" for line in shown if line.startswith("error: "))
    failed = any(line.startswith("FAIL ") for line in shown)
    assert (stop.value.code, err) == (2 if wanted else int(failed), wanted), command
    printed = [line.rstrip() for line in (out + err).splitlines()]
    for line in shown:
        start, cut, _ = line.rstrip().partition("…")
        found = any(p.startswith(start) for p in printed) if cut else start in printed
        assert found, f"{command}: no longer prints {line!r}; it prints\n{out}"


def test_the_notebook_runs(folder):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    shown = notebook.cells[1].outputs[0]["data"]
    assert "MeanReversion" in shown["text/html"] and (folder / "runs" / "notebook" / "report.html").exists()


def test_the_page_of_commands_is_what_the_commands_say():
    assert (ROOT / "docs" / "cli.md").read_text() == reference(), "run: python -m replay.cli.reference > docs/cli.md"


def test_the_readme_has_its_two_commands():
    sh = [text for language, _, text in BLOCK.findall((ROOT / "README.md").read_text()) if language == "sh"]
    assert [len(text.splitlines()) for text in sh] == [1, 1]
    assert "replay run fixtures/equity-day" in sh[0] and sh[1].rstrip().endswith("-m pytest -n auto")


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("strategies", [f"| {k} | `{name}` |" for k, name in enumerate(REASON_NAMES) if k]),
        ("strategies", [f"`ctx.{name}" for name in CONTEXT if name not in ("feature", "sign")]),
        ("strategies", [f"`{hook}(" for hook in HOOKS]),
        ("limits", [f"`{name}`" for name in Limits.__struct_fields__]),
        ("sessions", [f"`{name}`" for name in KIND_NAMES[1:]]),
        ("serve", [f"`{name}`" for name in FAULTS]),
    ],
)
def test_the_reference_names_everything(page, names):
    text = (ROOT / "docs" / f"{page}.md").read_text()
    assert [name for name in names if name not in text] == []
