"""The pins of `.ci/constraints.txt` hold everything that pyproject asks for, at a version that it takes, and nothing of one machine."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PIN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9a-z.+!]*")


def pins():
    lines = (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_pins_are_exact_and_of_no_machine():
    assert [line for line in pins() if not PIN.fullmatch(line)] == []
    names = [line.partition("==")[0] for line in pins()]
    assert names == sorted(set(names))


def test_every_dependency_has_a_pin_that_it_takes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(line.split("==") for line in pins())
    for text in (*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)):
        wanted = Requirement(text)
        name = canonicalize_name(wanted.name)
        if name != project["name"]:
            assert name in pinned, f"{text}: no pin"
            assert wanted.specifier.contains(pinned[name]), f"{text}: the pin is {pinned[name]}"
