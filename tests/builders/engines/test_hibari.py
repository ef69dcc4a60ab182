"""hibari: the packaged voice, the seed, and voices that are in the cache or are not."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from builders.engines import Voice, make_engine
from builders.engines.hibari import Hibari
from demur.errors import EngineError

TEXT = "How do I kill a Python process that will not stop?"


@pytest.fixture(scope="module")
def engine() -> Hibari:
    return Hibari()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HIBARI_HOME", str(tmp_path))
    return tmp_path


def test_the_packaged_voice_is_the_only_one_unless_others_are_asked_for(cache: Path) -> None:
    (cache / "bf_emma.int8.onnx").write_bytes(b"cached, but not asked for")
    assert make_engine("hibari", {}).voices() == [Voice("hibari", "heart", "female", "en-US", "en", "Apache-2.0")]


def test_speech_is_mono_float32_of_a_likely_length(engine: Hibari) -> None:
    speech, rate = engine.speak(TEXT, "heart", 1)
    assert (rate, speech.dtype, speech.ndim) == (24_000, np.float32, 1)
    assert 1.5 < len(speech) / rate < 6
    assert 0.05 < np.abs(speech).max() <= 1


def test_the_seed_alone_decides_what_chance_does(engine: Hibari) -> None:
    first, _ = engine.speak(TEXT, "heart", 1)
    engine.speak("Something else in between.", "heart", 2)
    assert np.array_equal(first, engine.speak(TEXT, "heart", 1)[0])
    assert not np.array_equal(first, engine.speak(TEXT, "heart", 2)[0])


def test_a_fresh_process_says_the_same(engine: Hibari) -> None:
    program = (
        "import hashlib; from builders.engines.hibari import Hibari; "
        f"print(hashlib.sha256(Hibari().speak({TEXT!r}, 'heart', 1)[0].tobytes()).hexdigest())"
    )
    fresh = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    assert fresh == hashlib.sha256(engine.speak(TEXT, "heart", 1)[0].tobytes()).hexdigest()


def test_a_voice_outside_the_cache_is_not_downloaded(cache: Path) -> None:
    with pytest.raises(EngineError, match=r"'emma' is not in its cache .* hibari --voice emma"):
        Hibari(voices="emma").voices()
    assert not list(cache.iterdir())


def test_a_cached_voice_speaks_once_its_hash_is_right(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hibari.voices import VOICES, voice_path

    file = cache / VOICES["emma"]["file"]
    shutil.copy(voice_path("heart"), file)
    engine = Hibari(voices="emma")
    assert [(voice.name, voice.accent) for voice in engine.voices()] == [("heart", "en-US"), ("emma", "en-GB")]
    with pytest.raises(EngineError, match="damaged"):
        engine.speak(TEXT, "emma", 1)
    monkeypatch.setitem(VOICES["emma"], "sha256", VOICES["heart"]["sha256"])
    assert len(engine.speak(TEXT, "emma", 1)[0]) > 24_000


def test_unknown_voices_and_empty_texts_are_errors(engine: Hibari) -> None:
    with pytest.raises(EngineError, match="no voice 'bella'; it has: heart, "):
        Hibari(voices="bella").voices()
    with pytest.raises(EngineError, match=r"no voice 'emma'; it has: heart$"):
        engine.speak(TEXT, "emma", 1)
    with pytest.raises(EngineError, match="nothing to say"):
        engine.speak(" \n", "heart", 1)
