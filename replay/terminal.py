"""What a terminal can show: texts as they are, in the characters it has."""

from __future__ import annotations

import codecs
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

#: of our own signs, where the terminal has no such character; all others are written as escapes
SIGNS = {"─": "-", "━": "-", "→": "->", "≤": "<=", "≥": ">=", "·": "|", "…": "...", "×": "x", "╸": "-", "╺": "-"}


def consoles(**options: object) -> Console:
    """A console of rich's to which names are only text: `[/foo]` is no markup, `:x:` no picture."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, **options)


def escaped(text: str) -> str:
    r"""Every character that is not ASCII as an escape, which is the same text in JSON.

    >>> escaped("é😀")
    '\\u00e9\\ud83d\\ude00'
    """
    return re.sub(r"[^\x00-\x7f]", _escape, text)


def _escape(found: re.Match) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[k : k + 2].hex()}" for k in range(0, len(units), 2))


def _instead(e: UnicodeError) -> tuple[str, int]:
    if not isinstance(e, UnicodeEncodeError):
        raise e
    return "".join(SIGNS.get(c) or escaped(c) for c in e.object[e.start : e.end]), e.end


codecs.register_error("replay.terminal", _instead)


def never_fail() -> None:
    """Let standard output and error take every text, whatever the terminal's encoding."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replay.terminal")


def exact(text: str) -> str:
    """JSON in characters that standard output has."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return escaped(text)
    return text
