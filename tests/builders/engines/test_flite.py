"""flite: three people's voices, the same clip every time, and texts that are only texts."""

import shutil
import subprocess

import numpy as np
import pytest

from builders.engines.flite import Flite
from demur.errors import EngineError, EngineUnavailable

TEXT = "How do I kill a Python process that will not stop?"
needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite")


@pytest.fixture(scope="module")
def engine() -> Flite:
    return Flite()


@needs_flite
def test_every_voice_speaks_and_says_the_same_again(engine: Flite) -> None:
    voices = engine.voices()
    assert [(voice.spec, voice.gender, voice.accent) for voice in voices] == [
        ("flite:slt", "female", "en-US"),
        ("flite:rms", "male", "en-US"),
        ("flite:awb", "male", "en-GB-scotland"),
    ]
    said = set()
    for voice in voices:
        speech, rate = engine.speak(TEXT, voice.name, 1)
        assert (rate, speech.dtype, speech.ndim) == (16_000, np.float32, 1)
        assert 2 < len(speech) / rate < 6
        assert 0.05 < np.abs(speech).max() <= 1
        assert np.array_equal(speech, engine.speak(TEXT, voice.name, 2)[0])
        said.add(speech.tobytes())
    assert len(said) == 3


@needs_flite
def test_the_version_is_the_program_s_own(engine: Flite) -> None:
    assert engine.version().startswith("flite-")


@needs_flite
def test_a_text_is_only_text(engine: Flite) -> None:
    assert engine.speak("-o /tmp/elsewhere.wav <b>Hello</b>\0 it’s 5 € \ud800", "slt", 1)[0].any()
    same = [engine.speak(text, "slt", 1)[0] for text in ("It's here.", "It’s here.")]
    assert np.array_equal(*same)


@needs_flite
def test_unknown_voices_and_empty_texts_are_errors(engine: Flite) -> None:
    with pytest.raises(EngineError, match="no voice 'kal'; it has: slt, rms, awb"):
        engine.speak(TEXT, "kal", 1)
    with pytest.raises(EngineError, match="nothing to say"):
        engine.speak(" \n", "slt", 1)


@needs_flite
def test_a_hang_or_a_failure_rejects_no_prompt(engine: Flite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builders.engines.flite.TIMEOUT_S", 0.0001)
    with pytest.raises(EngineUnavailable, match="did not end within"):
        engine.speak(TEXT, "slt", 1)
    monkeypatch.undo()
    failed = subprocess.CompletedProcess([], 1, b"", b"no memory")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_kwargs: failed)
    with pytest.raises(EngineUnavailable, match="flite failed: no memory"):
        engine.speak(TEXT, "slt", 1)


@needs_flite
def test_a_crash_is_the_text_s_fault(engine: Flite, monkeypatch: pytest.MonkeyPatch) -> None:
    crash = subprocess.CompletedProcess([], -11, b"", b"")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_kwargs: crash)
    with pytest.raises(EngineError, match=r"could not speak this text \(exit code -11\)") as caught:
        engine.speak(TEXT, "slt", 1)
    assert not isinstance(caught.value, EngineUnavailable)


def test_a_missing_program_says_how_to_install_it(engine: Flite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(EngineError, match="flite is not installed: apt-get install flite"):
        engine.voices()
