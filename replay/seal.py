"""A JSON object that says itself whether it is still what was written: its last member is the sha256 of the rest.

It is against damage, a flipped bit or a file half copied, not against a forger, who makes another.
"""

from __future__ import annotations

import hashlib

import msgspec


class Sealed(msgspec.Struct):
    """The seal of an object; empty in those written before there were any."""

    seal: str = ""


def sealed(text: bytes) -> bytes:
    """The text of a JSON object with its seal.

    >>> sealed(b'{"a":1}')[:24], intact(b'{"a":1}', sealed(b'{"a":1}')), intact(b'{"a":2}', sealed(b'{"a":1}'))
    (b'{"a":1,"seal":"015abd7f5', True, False)
    """
    return text[:-1] + b',"seal":"' + hashlib.sha256(text).hexdigest().encode() + b'"}'


def intact(content: bytes, text: bytes) -> bool:
    """Whether what was read of `text`, written again as `content`, is what was sealed. Raises what msgspec raises for a text that is no
    object."""
    seal = msgspec.json.decode(text, type=Sealed).seal
    return not seal or seal == hashlib.sha256(content).hexdigest()
