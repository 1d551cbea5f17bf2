"""Good bytes made bad, by seed: what a careless disk does, and what a careful stranger does."""

import random
import re

EXTREMES = [
    b"-1",
    b"0",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551616",
    b"1e999999999",
    b"1e-999999999",
    b"99999999999999",
    b"NaN",
]
PIECES = [
    b"null",
    b"true",
    b'""',
    b"[]",
    b"{}",
    b"[" * 3000,
    b'{"a":' * 3000,
    b"'",
    b'"',
    b"\x00",
    b"\xff\xfe",
    b"../../x.py",
    b"\n",
    b"=",
    b",",
]
NUMBER = re.compile(rb"-?\d+")


def mutated(data: bytes, rng: random.Random) -> bytes:
    """`data` with one to three things wrong with it."""
    for _ in range(rng.randrange(1, 4)):
        data = rng.choice(_HOW)(data, rng)
    return data


def _flip(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) or 1)
    return data[:at] + bytes([(data[at] if data else 0) ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _drop(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.randrange(1, 64) :]


def _again(data: bytes, rng: random.Random) -> bytes:
    at, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[at:end] + data[end:]


def _insert(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(PIECES) + data[at:]


def _number(data: bytes, rng: random.Random) -> bytes:
    """Another number, or another word of 4 or 8 bytes."""
    found = list(NUMBER.finditer(data)) if data[:1] in b'{["sm#' else []
    if found:
        spot = rng.choice(found)
        return data[: spot.start()] + rng.choice(EXTREMES) + data[spot.end() :]
    size = rng.choice([4, 8])
    at = rng.randrange(max(1, len(data) // size)) * size
    value = rng.choice([0, 1, -1, (1 << 8 * size - 1) - 1, -(1 << 8 * size - 1), 1 << 8 * size - 2])
    return data[:at] + value.to_bytes(size, "little", signed=True) + data[at + size :]


def _value(data: bytes, rng: random.Random) -> bytes:
    """Something else between two separators."""
    parts = re.split(rb"([,:=\[\]{}&\n])", data)
    parts[rng.randrange(len(parts))] = rng.choice(PIECES + EXTREMES)
    return b"".join(parts)


_HOW = [_flip, _cut, _drop, _again, _insert, _number, _number, _value]
