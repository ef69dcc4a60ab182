"""What the engines share: the same checks, in the same words."""

import re
import subprocess
from collections.abc import Collection, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from builders.engines import Voice
from demur.audio import Samples
from demur.errors import EngineError, EngineUnavailable, MissingDependency

_NO_COMMERCE = re.compile(r"\b(?:by[- ]nc|nc|cpml|non-?commercial)\b", re.IGNORECASE)


def require(module: str, package: str, extra: str) -> Path:
    """The folder of an optional module, without importing it.

    Raises:
        MissingDependency: it is not installed.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise MissingDependency(package, extra=extra)
    return Path(spec.origin).parent


def by_name(engine: str, voices: Iterable[Voice]) -> dict[str, Voice]:
    """Voices by their names.

    Raises:
        EngineError: two of them have the same name.
    """
    named: dict[str, Voice] = {}
    for voice in voices:
        if voice.name in named:
            raise EngineError(f"{engine}: two voices are named {voice.name!r}; rename one of their files")
        named[voice.name] = voice
    return named


def check_voice(engine: str, voices: Collection[str], name: str) -> None:
    """Raise EngineError, listing the voices that exist, where none has this name."""
    if name not in voices:
        raise EngineError(f"{engine} has no voice {name!r}; it has: {', '.join(voices) or 'none'}")


def checked(engine: str, samples: Any) -> Samples:
    """What an engine returned as mono float32, shape [n].

    Raises:
        EngineError: it is empty, or zeros: there was nothing to say in the text.
    """
    speech: Samples = np.ascontiguousarray(samples, dtype=np.float32).reshape(-1)
    if not speech.any():
        raise EngineError(f"{engine} found nothing to say in this text")
    return speech


def run_program(
    engine: str, command: Sequence[str], *, timeout_s: float, text: bytes = b"", unspeakable: int | None = None
) -> bytes:
    """What a program that speaks wrote to its standard output; `text` is its standard input.

    Raises:
        EngineError: it crashed, or ended with the exit code `unspeakable`: the text is at fault.
        EngineUnavailable: it failed otherwise, or took too long.
    """
    try:
        done = subprocess.run(list(command), input=text, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise EngineUnavailable(f"{engine} did not end within {timeout_s:.0f} s") from None
    if done.returncode < 0 or done.returncode == unspeakable:  # below 0 a signal ended it
        raise EngineError(f"{engine} could not speak this text (exit code {done.returncode})")
    if done.returncode:
        raise EngineUnavailable(f"{engine} failed: {done.stderr.decode(errors='replace').strip()[-300:]}")
    return done.stdout


def from_pcm16(data: bytes) -> Samples:
    """Samples of 16-bit little-endian mono sound; a torn last one is left out."""
    return np.frombuffer(data, "<i2", count=len(data) // 2).astype(np.float32) * np.float32(1 / 32768)


def names_in(option: str) -> list[str]:
    """The parts of an option that takes several values, separated by commas."""
    return [part for part in (part.strip() for part in option.split(",")) if part]


def language_and_accent(tag: str) -> tuple[str, str]:
    """Language and BCP 47 tag of the accent, from a tag as models write it; a language alone is no accent.

    >>> language_and_accent("en_us"), language_and_accent("en")
    (('en', 'en-US'), ('en', 'unknown'))
    """
    language, *rest = tag.replace("_", "-").split("-")
    parts = [part.upper() if len(part) == 2 else part for part in rest]
    return language.lower() or "unknown", "-".join([language.lower(), *parts]) if parts else "unknown"


def allows_commerce(license_name: str) -> bool:
    """False where a licence's own name says that it forbids commercial use.

    >>> allows_commerce("CC BY-NC-ND 4.0"), allows_commerce("CPML"), allows_commerce("apache 2.0")
    (False, False, True)
    """
    return _NO_COMMERCE.search(license_name) is None
