"""A corpus built once, and an engine that misbehaves on demand, installed the way any package would."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packages import install

Run = Callable[..., "subprocess.CompletedProcess[str]"]

MISBEHAVING_ENGINE = '''
"""Speaks in tones; what it does with a text depends on the words in it."""
import math, os, time
import numpy as np
from builders.engines import Voice
from demur.errors import EngineError, EngineUnavailable

class Moody:
    name = "moody"
    reproducible = True
    def voices(self):
        return [Voice("moody", name, "unknown", "en-US", "en", "CC0") for name in ("bass", "broken", "tenor")]

    def prepare(self, voices):
        if os.environ.get("MOODY_PREPARED"):
            with open(os.environ["MOODY_PREPARED"], "a") as file:
                file.write(f"prepare\\t{sorted(voices)}\\n")
        if "broken" in voices and os.environ.get("MOODY_OFFLINE"):
            raise EngineUnavailable("the voice cannot be fetched")

    def speak(self, text, voice, seed):
        mood = open(os.environ["MOOD"]).read() if os.environ.get("MOOD") else ""
        if os.environ.get("MOODY_LOG"):
            with open(os.environ["MOODY_LOG"], "a") as file:
                file.write(f"{voice}\\t{text}\\n")
        if voice == "broken":
            raise EngineError("the voice file is damaged")
        if "raise" in text:
            raise ValueError("no phonemes")
        if "hang" in text and "calm" not in mood:
            time.sleep(600)
        if "offline" in text and "calm" not in mood:
            raise EngineUnavailable("no network")
        if "silent" in text:
            return np.zeros(24000, np.float32), 24000
        if "nan" in text:
            return np.full(24000, np.nan, np.float32), 24000
        seconds = 0.07 * len(text)
        time.sleep(0.05 if "slow" in mood else 0)
        t = np.arange(int(24000 * seconds)) / 24000
        pitch = 120 + seed % 50
        return (0.3 * np.sin(2 * math.pi * pitch * t) * (1 + np.sin(2 * math.pi * 4 * t)) / 2).astype(np.float32), 24000
'''


@pytest.fixture(scope="session")
def plugin_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds an installed package with an engine of its own."""
    site = tmp_path_factory.mktemp("site")
    return install(site, "moody", MISBEHAVING_ENGINE, "[demur.engines]\nmoody = moody:Moody\n")


@pytest.fixture(scope="session")
def command(plugin_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run `python -m builders.tts_synth` from an unrelated folder."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def run(*arguments: object, timeout: float = 300, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "builders.tts_synth", *map(str, arguments)],
            capture_output=True,
            check=False,
            text=True,
            cwd=elsewhere,
            timeout=timeout,
            env={**os.environ, "PYTHONPATH": str(plugin_path), "HF_HUB_OFFLINE": "1", **environment},
        )

    return run


@pytest.fixture(scope="session")
def corpus(command: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real corpus in the default voice, in two conditions, without transcription."""
    out = tmp_path_factory.mktemp("built") / "corpus"
    done = command(
        "--out", out, "--limit", 3, "--condition", "clean", "--condition", "telephone", "--no-asr", "--workers", 2
    )
    assert done.returncode == 0, done.stderr
    return out
