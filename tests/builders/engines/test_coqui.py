"""coqui: what a config says of its voices; licences; and real VITS inference on a small random model."""

import json
import pickle
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.engines import Voice
from builders.engines.coqui import Coqui
from demur.errors import EngineError, EngineUnavailable, MissingDependency, UsageError

TEXT = "How do I kill a Python process that will not stop?"
SPEAKERS = ["ann", "bob"]

pytestmark = pytest.mark.skipif(find_spec("TTS") is None, reason="needs coqui-tts")


def model_file(folder: Path, **config: Any) -> str:
    """A model of which only the config will be read."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model": "vits"} | config), encoding="utf-8")
    (folder / "model.pth").write_bytes(b"never loaded")
    return str(folder / "model.pth")


def names(engine: Coqui) -> list[str]:
    return [voice.name for voice in engine.voices()]


def test_every_speaker_of_the_config_is_a_voice(tmp_path: Path) -> None:
    arguments = {"use_speaker_embedding": True}
    model = model_file(tmp_path, speakers=["ann", "ED\n"], model_args=arguments, phoneme_language="en-us")
    assert Coqui(model=model).voices() == [
        Voice("coqui", name, "unknown", "en-US", "en", "unknown") for name in ("ann", "ED")
    ]


def test_speakers_come_from_the_files_that_coqui_reads(tmp_path: Path) -> None:
    ids = tmp_path / "speaker_ids.json"
    ids.write_text('{"ann": 0, "bob": 1}')
    by_id = model_file(tmp_path, model_args={"use_speaker_embedding": True, "speakers_file": str(ids)})
    assert names(Coqui(model=by_id)) == SPEAKERS
    vectors = tmp_path / "speakers.json"
    vectors.write_text(json.dumps({f"{n}.wav": {"name": SPEAKERS[n % 2], "embedding": [0.0]} for n in range(6)}))
    by_vector = model_file(tmp_path, use_d_vector_file=True, d_vector_file=[str(vectors)])
    assert names(Coqui(model=by_vector)) == SPEAKERS
    vectors.unlink()
    with pytest.raises(EngineError, match=r"speakers\.json: the speakers should be in this file"):
        Coqui(model=by_vector).voices()


def test_a_model_without_speakers_is_one_voice_and_its_language_is_said(tmp_path: Path) -> None:
    assert names(Coqui(model=model_file(tmp_path))) == ["default"]
    for config, language in (
        ({"languages": ["de", "en", "fr-fr"]}, "en"),
        ({"datasets": [{"language": "de"}]}, "de"),
        ({}, "en"),
    ):
        (voice,) = Coqui(model=model_file(tmp_path, **config)).voices()
        assert (voice.language, voice.accent) == (language, "unknown")


def test_the_config_may_lie_elsewhere(tmp_path: Path) -> None:
    model = model_file(tmp_path)
    model_file(tmp_path / "other", use_speaker_embedding=True, speakers=SPEAKERS)
    assert names(Coqui(model=model, config=str(tmp_path / "other" / "config.json"))) == SPEAKERS


def test_the_user_accepts_the_licence_of_xtts_not_we(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COQUI_TOS_AGREED", raising=False)
    model = model_file(tmp_path, model="xtts", languages=["de", "en"])
    with pytest.raises(EngineError, match=r"forbids commercial use and is yours to accept: .*COQUI_TOS_AGREED=1"):
        Coqui(model=model).voices()
    monkeypatch.setenv("COQUI_TOS_AGREED", "1")
    (voice,) = Coqui(model=model).voices()
    assert (voice.license, voice.commercial_use, voice.language) == ("CPML", False, "en")


def test_what_would_run_code_or_fetch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="bark is not supported: it downloads"):
        Coqui(model=model_file(tmp_path, model="bark")).voices()
    with pytest.raises(EngineError, match=r"audio\.stats_path names a pickle"):
        Coqui(model=model_file(tmp_path, audio={"stats_path": "scale_stats.npy"})).voices()
    encoder = {"speaker_encoder_model_path": "https://example.org/model_se.pth"}
    with pytest.raises(EngineError, match="speaker_encoder_model_path is an address"):
        Coqui(model=model_file(tmp_path, model_args=encoder)).voices()


def test_wrong_options_and_files_end_in_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"coqui\.download: 'maybe'; it is yes or no"):
        Coqui(download="maybe")
    with pytest.raises(EngineError, match="coqui needs a model: "):
        Coqui().voices()
    with pytest.raises(EngineError, match=r"nowhere\.pth: no such file, nor a name such as"):
        Coqui(model="nowhere.pth").voices()
    with pytest.raises(
        EngineError, match=r"no model tts_models/en/vctk/tacotron; there are: .*tts_models/en/vctk/vits"
    ):
        Coqui(model="tts_models/en/vctk/tacotron").voices()
    model = model_file(tmp_path)
    with pytest.raises(EngineError, match="no voice 'ann'; it has: default"):
        Coqui(model=model).speak(TEXT, "ann", 1)
    for text in ("[]", '{"model_args": [1]}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(EngineError, match=r"config\.json: not the config of a model"):
            Coqui(model=model).voices()
    (tmp_path / "config.json").unlink()
    with pytest.raises(EngineError, match=r"config\.json: no such file"):
        Coqui(model=model).voices()


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "TTS", None)
    with pytest.raises(MissingDependency, match=r"coqui-tts is not installed: pip install 'demur\[coqui\]'"):
        Coqui(model="tts_models/en/vctk/vits").voices()


@pytest.fixture(scope="module")
def vits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small VITS with random weights and two speakers, saved as Coqui saves its models."""
    try:
        import TTS.api  # noqa: F401
    except ImportError as error:
        pytest.skip(f"coqui-tts is installed but cannot be imported: {error}")
    import torch
    from TTS.tts.configs.vits_config import VitsConfig
    from TTS.tts.models.vits import Vits, VitsArgs

    arguments = VitsArgs(
        hidden_channels=32,
        hidden_channels_ffn_text_encoder=64,
        num_layers_text_encoder=2,
        num_layers_posterior_encoder=2,
        num_layers_flow=2,
        upsample_initial_channel_decoder=64,
        use_speaker_embedding=True,
        speaker_embedding_channels=16,
        init_discriminator=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Vits(VitsConfig(model_args=arguments, text_cleaner="english_cleaners", speakers=SPEAKERS))
    folder = tmp_path_factory.mktemp("vits")
    torch.save({"model": model.state_dict()}, folder / "model.pth")
    model.config.save_json(folder / "config.json")
    return folder


@pytest.mark.slow
def test_a_real_vits_speaks_by_voice_and_seed_alone(vits: Path) -> None:
    import torch

    engine = Coqui(model=str(vits / "model.pth"))
    assert names(engine) == SPEAKERS
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    ann, rate = engine.speak(TEXT, "ann", 1)
    assert (rate, ann.dtype, ann.ndim) == (22_050, np.float32, 1)
    assert 0.2 < len(ann) / rate < 20
    assert np.isfinite(ann).all()
    assert np.abs(ann).max() > 0
    assert not np.array_equal(ann, engine.speak(TEXT, "ann", 2)[0])
    assert not np.array_equal(ann, engine.speak(TEXT, "bob", 1)[0])
    assert np.array_equal(ann, engine.speak(TEXT, "ann", 1)[0])
    assert np.array_equal(ann, Coqui(model=str(vits / "model.pth")).speak(TEXT, "ann", 1)[0])
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.slow
def test_sentences_are_joined_by_a_pause_not_by_coqui_s_ten_thousand_zeros(vits: Path) -> None:
    engine = Coqui(model=str(vits / "model.pth"))
    one, rate = engine.speak("Hello there.", "ann", 1)
    assert np.count_nonzero(one[-100:]) > 90
    two, _ = engine.speak("Hello there. Hello again.", "ann", 1)
    gap = max(len(run) for run in "".join("x" if sample else " " for sample in two).split("x"))
    assert abs(gap - 0.2 * rate) < 10
    with pytest.raises(EngineError, match="nothing to say"):
        engine.speak(" ", "ann", 1)


@pytest.mark.slow
def test_a_damaged_model_rejects_no_prompt(vits: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((vits / "config.json").read_bytes())
    (tmp_path / "model.pth").write_bytes((vits / "model.pth").read_bytes()[:10_000])
    with pytest.raises(EngineError, match=r"coqui cannot load .*model\.pth"):
        Coqui(model=str(tmp_path / "model.pth")).speak(TEXT, "ann", 1)


class Bomb:
    """What a hostile checkpoint holds: an object whose unpickling runs code."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.slow
def test_a_checkpoint_that_would_run_code_does_not(vits: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((vits / "config.json").read_bytes())
    (tmp_path / "model.pth").write_bytes(pickle.dumps({"model": Bomb(tmp_path / "ran")}, protocol=2))
    with pytest.raises(EngineError, match=r"coqui cannot load .*model\.pth"):
        Coqui(model=str(tmp_path / "model.pth")).speak(TEXT, "ann", 1)
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_a_model_by_name_comes_from_the_cache_or_on_request(
    vits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTS_HOME", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    name = "tts_models/en/vctk/vits"
    with pytest.raises(EngineError, match=r"is not in Coqui's cache; .*coqui\.download=yes, or: tts --model_name"):
        Coqui(model=name).voices()
    assert not list(tmp_path.rglob("*.*"))
    with pytest.raises(EngineUnavailable, match="could not download"):
        Coqui(model=name, download="yes").voices()
    folder = tmp_path / "tts" / name.replace("/", "--")
    folder.mkdir(parents=True, exist_ok=True)
    with pytest.raises(EngineError, match="does not hold a whole model"):
        Coqui(model=name).voices()
    for file in vits.iterdir():
        (folder / file.name.replace("model.pth", "model_file.pth")).write_bytes(file.read_bytes())
    engine = Coqui(model=name)
    assert [(voice.name, voice.license, voice.commercial_use) for voice in engine.voices()] == [
        (speaker, "apache 2.0", True) for speaker in SPEAKERS
    ]
    assert len(engine.speak(TEXT, "bob", 1)[0]) > 1_000


@pytest.mark.slow
def test_licences_of_models_by_name(vits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTS_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("COQUI_TOS_AGREED", raising=False)
    with pytest.raises(EngineError, match=r"CPML .*forbids commercial use"):
        Coqui(model="tts_models/multilingual/multi-dataset/xtts_v2", download="yes").voices()
    monkeypatch.setenv("COQUI_TOS_AGREED", "1")
    with pytest.raises(EngineError, match="not in Coqui's cache"):
        Coqui(model="tts_models/multilingual/multi-dataset/xtts_v2").voices()
    name = "tts_models/multilingual/multi-dataset/your_tts"
    folder = tmp_path / "tts" / name.replace("/", "--")
    model_file(folder.parent)
    model_file(folder, use_speaker_embedding=True, speakers=SPEAKERS)
    assert {(voice.license, voice.commercial_use) for voice in Coqui(model=name).voices()} == {
        ("CC BY-NC-ND 4.0", False)
    }
