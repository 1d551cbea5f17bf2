"""What is stored says itself whether it is still what was written: every value of a manifest, every byte of a table."""

import json
import random

import pytest

import replay
from replay.data.session import Session
from replay.data.synth import equity_day
from replay.errors import BadInput
from replay.runs.result import Result

DAY = equity_day(("A", "B"), 600, seed=3)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("sealed")
    DAY.save(place / "session")
    replay.run(DAY, "ema_cross", {"fast": 5, "slow": 9, "warmup": 9}, out=place / "run")
    return place


def leaves(value, path=()):
    """Where the values of a JSON text are."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, x in items:
        if isinstance(x, (dict, list)) and x:
            yield from leaves(x, (*path, key))
        else:
            yield (*path, key)


def other(value):
    """Another value that the same type takes."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return value + "x" if isinstance(value, str) else "x" if value is None else value


@pytest.mark.parametrize(("name", "open_it"), [("session", Session.open), ("run", Result.open)])
def test_every_value_of_a_manifest(folders, name, open_it):
    path = folders / name / "manifest.json"
    text = path.read_text()
    whole = json.loads(text)
    tried = 0
    try:
        for *above, key in leaves(whole):
            changed = json.loads(text)
            at = changed
            for k in above:
                at = at[k]
            if at[key] == other(at[key]):
                continue
            at[key] = other(at[key])
            path.write_text(json.dumps(changed))
            with pytest.raises(BadInput):
                open_it(folders / name)
            tried += 1
    finally:
        path.write_text(text)
    assert tried > 30
    open_it(folders / name)


def test_every_table_of_a_run(folders):
    for path in sorted((folders / "run").glob("*.parquet")):
        data = path.read_bytes()
        spoilt = bytearray(data)
        spoilt[random.Random(path.name).randrange(len(data))] ^= 1
        path.write_bytes(spoilt)
        with pytest.raises(BadInput, match=f"{path.stem}.parquet has been changed since it was written"):
            Result.open(folders / "run").table(path.stem)
        path.write_bytes(data)
        assert Result.open(folders / "run").table(path.stem).num_rows >= 0


def test_folders_from_before_there_were_seals_are_read(folders, tmp_path):
    from commands import without_seal

    path = folders / "run" / "manifest.json"
    text = path.read_text()
    assert without_seal(text) != text
    path.write_text(without_seal(text))
    try:
        assert Result.open(folders / "run").digest
    finally:
        path.write_text(text)
