"""Compiled code is kept in files that only this user can have written; damage is compiled away, with one line."""

import os
import stat

import pytest

from replay.errors import BadInput
from replay.kernel import cache
from replay.kernel.memory import I64

pytestmark = pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled")
TWICE = "def twice(x):\n    return 2 * x\n"


@pytest.fixture
def function(tmp_path):
    import importlib.util

    (tmp_path / "kept.py").write_text(TWICE)
    spec = importlib.util.spec_from_file_location("kept", tmp_path / "kept.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.twice


@pytest.fixture
def kept(tmp_path, monkeypatch):
    from numba.core import config

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def hits(function):
    made = cache.compile_cached(function, I64(I64))
    assert made.ctypes(21) == 42
    return made.cache_hits


def test_a_second_process_loads_what_the_first_compiled(function, kept):
    assert hits(function) == 0 and hits(function) == 1
    for path in kept.rglob("*.nb[ic]"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("spoil", ["cut", "empty", "flip", "open"])
def test_damage_is_compiled_away(function, kept, capsys, suffix, spoil):
    hits(function)
    path = next(kept.rglob(f"*{suffix}"))
    data = path.read_bytes()
    if spoil == "open":
        path.chmod(0o666)  # as another user's could be
    else:
        path.write_bytes({"cut": data[:-1], "empty": b"", "flip": data[:40] + bytes([data[40] ^ 1]) + data[41:]}[spoil])
    assert hits(function) == 0
    assert "compiled again" in capsys.readouterr().err
    assert hits(function) == 1


def test_a_folder_that_others_may_write_is_closed(tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    assert stat.S_IMODE(cache.private(folder).stat().st_mode) == 0o700


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path):
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(BadInput, match="belongs to another user"):
        cache.private(tmp_path)
