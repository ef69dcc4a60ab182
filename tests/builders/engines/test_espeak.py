"""espeak: accents and variants, the same clip whatever was spoken before and whenever."""

import subprocess
import sys
import time

import numpy as np
import pytest

from builders.engines.espeak import Espeak
from demur.errors import EngineError, EngineUnavailable, MissingDependency

TEXT = "How do I kill a Python process that will not stop?"
BREATHY = "en-us+f2"
"""A variant whose noise espeak-ng would seed with the time of day."""

pytest.importorskip("espeakng_loader", reason="needs espeakng-loader")


@pytest.fixture(scope="module")
def engine() -> Espeak:
    return Espeak()


def test_every_accent_has_as_many_women_as_men(engine: Espeak) -> None:
    voices = engine.voices()
    assert len({voice.name for voice in voices}) == len(voices) == 64
    accents = {voice.accent for voice in voices}
    assert {"en-US", "en-GB", "en-GB-scotland", "en-GB-x-rp", "en-029"} <= accents
    for accent in accents:
        genders = [voice.gender for voice in voices if voice.accent == accent]
        assert genders.count("female") == genders.count("male") == 4
    assert {(voice.license, voice.language, voice.commercial_use) for voice in voices} == {
        ("GPL-3.0-or-later", "en", True)
    }


def test_every_voice_speaks_and_no_two_sound_the_same(engine: Espeak) -> None:
    said = set()
    for voice in engine.voices():
        speech, rate = engine.speak(TEXT, voice.name, 1)
        assert (rate, speech.dtype, speech.ndim) == (22_050, np.float32, 1)
        assert 1.5 < len(speech) / rate < 6
        assert 0.05 < np.abs(speech).max() <= 1
        said.add(speech.tobytes())
    assert len(said) == len(engine.voices())


def test_a_clip_depends_on_text_voice_and_seed_alone(engine: Espeak) -> None:
    first, _ = engine.speak(TEXT, BREATHY, 1)
    engine.speak("Something else in between.", "en-029", 1)
    time.sleep(1.1)  # into another second of the clock, from which espeak-ng would draw its seed
    assert np.array_equal(first, engine.speak(TEXT, BREATHY, 1)[0])
    assert not np.array_equal(first, engine.speak(TEXT, BREATHY, 2)[0])


def test_a_text_is_only_text(engine: Espeak) -> None:
    assert len(engine.speak("<break time='9s'/> Hello\0 [[h@l'oU]] it’s 5 € \ud800", "en-gb", 1)[0]) < 9 * 22_050


def test_unknown_voices_and_empty_texts_are_errors(engine: Espeak) -> None:
    with pytest.raises(EngineError, match=r"no voice 'en-nz'; it has: en-us, en-us\+Henrique, "):
        engine.speak(TEXT, "en-nz", 1)
    with pytest.raises(EngineError, match="nothing to say"):
        engine.speak(" \n", "en-us", 1)


def test_a_broken_library_or_a_hang_rejects_no_prompt(engine: Espeak, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("espeakng_loader.get_library_path", lambda: "/nowhere/libespeak-ng.so")
    with pytest.raises(EngineUnavailable, match=r"espeak failed: .*/nowhere/libespeak-ng\.so"):
        engine.speak(TEXT, "en-us", 1)
    monkeypatch.setattr("builders.engines.espeak.TIMEOUT_S", 0.001)
    with pytest.raises(EngineUnavailable, match="did not end within"):
        engine.speak(TEXT, "en-us", 1)


def test_a_crash_is_the_text_s_fault(engine: Espeak, monkeypatch: pytest.MonkeyPatch) -> None:
    crash = subprocess.CompletedProcess([], -11, b"", b"")
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_kwargs: crash)
    with pytest.raises(EngineError, match=r"could not speak this text \(exit code -11\)") as caught:
        engine.speak(TEXT, "en-us", 1)
    assert not isinstance(caught.value, EngineUnavailable)


def test_a_missing_package_names_its_extra(engine: Espeak, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingDependency, match=r"espeakng-loader is not installed: pip install 'demur\[espeak\]'"):
        engine.voices()
