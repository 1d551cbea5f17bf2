"""The pytest plugin: how many schedules tests made with `replay.faults.swarm` run, and of which seed."""

from __future__ import annotations

#: What the options say: `schedules` and `seed`, where they were given.
chosen: dict[str, int] = {}


def pytest_addoption(parser) -> None:
    group = parser.getgroup("replay", "schedules of faults")
    group.addoption("--replay-schedules", type=int, metavar="N", help="schedules a test, instead of what each test says")
    group.addoption("--replay-seed", type=int, metavar="K", help="seed of the schedules, instead of what each test says")


def pytest_configure(config) -> None:
    given = {name: config.getoption(f"--replay-{name}") for name in ("schedules", "seed")}
    chosen.update({name: value for name, value in given.items() if value is not None})
