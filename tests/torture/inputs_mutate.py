"""Mutators of bytes, text, JSON and safetensors files; each takes its own random generator."""

import hashlib
import json
import re
import struct
from collections.abc import Sequence
from random import Random
from typing import Any

NUMBERS = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 4095, 32767, 32768, 40000, 65535, 65536, 2**24,
           2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**64 - 1)  # fmt: skip
NUMBER_TEXTS = ("0", "-0", "-1", "1", "2", "1e999", "-1e999", "nan", "inf", "-inf", "1e-320",
                "0x10",
                "1_000", "½", "१", "1,5", "9" * 20, "9" * 5000, "1e308", "true", "none", "", " ",
                "16777217", "2147483648", "0.5", "+3", "1.0.0")  # fmt: skip
HOSTILE_NAMES = ("../outside.txt", "../../etc/passwd", "/etc/passwd", "C:\\x", "..\\x", "a\0b", "",
                 ".", "..", "\\\\host\\share", "a/../../b", "x" * 300, "a\nb", "=1+1", "\ud800",
                 "~/x", "$HOME", "con", "a/" * 200 + "b", "\u202egnp.exe", "-rf")  # fmt: skip


def hostile(rng: Random) -> Any:
    """Return a value that JSON can hold and that is seldom meant."""
    deep: Any = 1
    for _ in range(rng.choice((3, 40, 600))):
        deep = [deep]
    return rng.choice(
        (
            None, True, False, 0, -1, 1, 2, 0.5, 2**31, 2**63, 10**30, 10**400, 1e308, -1e308,
            5e-324,
            float("nan"), float("inf"), float("-inf"), "", "x", "0", "nan", "\ud800", "a\0b",
            "../x",
            "x" * 5000, [], [[]], [None], [0] * 1000, ["x", 1], {}, {"a": {}}, {"": None}, deep,
            rng.randrange(-10, 10), rng.uniform(-2, 2), rng.choice(HOSTILE_NAMES),
        )
    )  # fmt: skip


def mutated(data: bytes, rng: Random, most: int = 4) -> bytes:
    """Flip, delete, insert, repeat, overwrite or cut bytes, up to ``most`` times."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, most)):
        if not changed:
            return bytes(rng.randbytes(rng.randrange(64)))
        at = rng.randrange(min(len(changed), rng.choice((32, 128, 512, len(changed)))))
        length = min(rng.choice((1, 2, 4, 16, 200, 2000)), len(changed) - at)
        match rng.randrange(9):
            case 0 | 1:
                changed[at] ^= 1 << rng.randrange(8)
            case 2:
                changed[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
            case 3:
                del changed[at : at + length]
            case 4:
                changed[at:at] = rng.randbytes(rng.choice((1, 2, 8, 100)))
            case 5:
                changed[at:at] = bytes(changed[at : at + length]) * rng.choice((1, 1, 3, 50))
            case 6:
                size, order = rng.choice((2, 4, 8)), rng.choice("<>")
                kind = {2: "H", 4: "I", 8: "Q"}[size]
                value = rng.choice(NUMBERS) % 2 ** (8 * size)
                changed[at : at + size] = struct.pack(order + kind, value)
            case 7:
                del changed[at:]
            case 8:
                end = at + length
                changed[at:end] = bytes(rng.choice((0, 255)) for _ in range(length))
    return bytes(changed)


def mutated_text(text: str, rng: Random, words: Sequence[str] = ()) -> bytes:
    """Change numbers, lines and separators of a text; encode it, seldom with damaged bytes."""
    for _ in range(rng.randint(1, 3)):
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        match rng.randrange(9):
            case 0 | 1 | 2:
                found = list(re.finditer(r"-?\d+\.?\d*", text))
                if found:
                    start, end = rng.choice(found).span()
                    text = text[:start] + rng.choice(NUMBER_TEXTS) + text[end:]
            case 3:
                del lines[at]
                text = "\n".join(lines)
            case 4:
                lines[at:at] = [lines[at]] * rng.choice((1, 2, 300, 3000))
                text = "\n".join(lines)
            case 5:
                other = rng.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
                text = "\n".join(lines)
            case 6:
                at = rng.randrange(len(text) + 1)
                piece = rng.choice(
                    ("\0", "\ufeff", '"', "'", ",", ";", "\t", "\r", "\r\n", "\x85", "\u2028", "[",
                     "[" * 2000, "]", "{", "=", ":", "#", "\\", '"""', "é", "\x1b[31m", "x" * 9000,
                     *HOSTILE_NAMES, *words)
                )  # fmt: skip
                text = text[:at] + piece + text[at:]
            case 7:
                if words:
                    text = text.replace(rng.choice(words), rng.choice((*words, *HOSTILE_NAMES)))
            case 8:
                text = text[: rng.randrange(len(text) + 1)]
    coding = rng.choice(("utf-8",) * 12 + ("utf-16", "latin-1", "utf-8-sig"))
    data = text.encode(coding, "surrogatepass" if coding.startswith("utf") else "replace")
    return mutated(data, rng, 2) if rng.random() < 0.15 else data


def mutated_json(value: Any, rng: Random) -> Any:
    """Replace, remove, add or exchange one or two parts of a JSON value, at any depth."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.randint(1, 2)):
        value = _changed(value, rng)
    return value


def _changed(value: Any, rng: Random) -> Any:
    if not isinstance(value, dict | list) or not value or rng.random() < 0.15:
        return hostile(rng)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = rng.choice(keys)
    match rng.randrange(10):
        case 0:
            del value[key]
        case 1 if isinstance(value, dict):
            value[rng.choice(("x", "", "\ud800", "a|b|c", *map(str, keys)))] = hostile(rng)
        case 1:
            value.insert(key, hostile(rng))
        case 2:
            value[key] = value[rng.choice(keys)]
        case _:
            value[key] = _changed(value[key], rng)
    return value


# ── safetensors ───────────────────────────────────────────────────────────────────────────────────


def split(data: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Split a file of `ccb_lib.io.tensors.save_tensors`: tensors' entries, own header, body."""
    length = int.from_bytes(data[:8], "little")
    entries = json.loads(data[8 : 8 + length])
    header = json.loads(entries.pop("__metadata__")["ccb_lib"])
    header.pop("sha256", None)
    return entries, header, data[8 + length :]


def join(entries: Any, header: str | None, body: bytes) -> bytes:
    """Make a safetensors file of any entries, any text as own header, and any body."""
    if isinstance(entries, dict) and header is not None:
        entries = {"__metadata__": {"ccb_lib": header}, **entries}
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + body


def with_digest(header: Any, rng: Random | None = None) -> str:
    """Write a header with a valid digest; with a generator, seldom with none or a wrong one."""
    if not isinstance(header, dict):
        return json.dumps(header)
    fate = rng.random() if rng else 1.0
    if fate < 0.1:
        return json.dumps(header)
    digest = hashlib.sha256(json.dumps(header).encode()).hexdigest() if fate > 0.15 else "0" * 64
    return json.dumps({**header, "sha256": digest})


def mutated_tensors(data: bytes, rng: Random) -> bytes:
    """Change bytes of a file of `save_tensors`, entries of its tensors, or its own header."""
    choice = rng.random()
    if choice < 0.2:
        return mutated(data, rng)
    entries, header, body = split(data)
    if choice < 0.4:  # entries of the tensors
        return join(_changed_entries(entries, rng), with_digest(header), body)
    if choice < 0.5 and len(body):  # tensor values
        body = bytearray(body)
        for _ in range(rng.randint(1, 8)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        return join(entries, with_digest(header), bytes(body))
    if choice < 0.54:
        text = rng.choice(("[" * 100_000, '{"a":' * 5000, "", "null", "{", "9" * 5000, "\0"))
        return join(entries, text, body)
    return join(entries, with_digest(mutated_json(header, rng), rng), body)


def _changed_entries(entries: dict[str, Any], rng: Random) -> Any:
    entries = json.loads(json.dumps(entries))
    if not entries:
        return mutated_json(entries, rng)
    name = rng.choice(list(entries))
    match rng.randrange(7):
        case 0:
            entries[name]["dtype"] = rng.choice(
                ("F16", "F32", "F64", "BF16", "I8", "I64", "U8", "BOOL", "F8_E4M3", "C64", "x")
            )
        case 1:
            entries[name]["shape"] = rng.choice(
                ([], [0], [1], [2**31, 2**31], [2**62, 4], [0, 2**40], entries[name]["shape"] * 2,
                 entries[name]["shape"][::-1], [-1])
            )  # fmt: skip
        case 2:
            entries[name]["data_offsets"] = [rng.choice(NUMBERS), rng.choice(NUMBERS)]
        case 3:
            entries[rng.choice(HOSTILE_NAMES)] = entries.pop(name)
        case 4:
            del entries[name]
        case 5:
            other = rng.choice(list(entries))
            entries[name], entries[other] = entries[other], entries[name]
        case 6:
            return mutated_json(entries, rng)
    return entries
