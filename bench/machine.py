"""The conditions of a measurement."""

from __future__ import annotations

import datetime
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from replay.kernel.memory import JIT


def conditions() -> dict[str, str]:
    """Machine, versions and load, as text."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu(),
        "cores": f"{os.cpu_count()}, this process on {sorted(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 'any'}",
        "load": " ".join(f"{x:.2f}" for x in os.getloadavg()) + " (1, 5, 15 minutes, at the start)",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in ("numpy", "numba", "llvmlite")},
        "compiled": "yes" if JIT else "NO: NUMBA_DISABLE_JIT is set",
    }


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
