"""coqui: any Coqui TTS model, by a file of your own or by Coqui's name for it; every speaker is a voice.

    --engine-option coqui.model=tts_models/en/vctk/vits          a model in Coqui's cache
    --engine-option coqui.model=vits/model.pth                   a local model, config.json beside it
    --engine-option coqui.config=vits/other.json                 a config that lies elsewhere

Nothing is downloaded unless `coqui.download=yes` asks for it, and no licence is accepted for the user.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from builders.engines import Voice
from builders.engines.common import allows_commerce, by_name, check_voice, checked, require
from builders.engines.coqui_model import Located, locate
from demur.audio import Samples
from demur.errors import EngineError, UsageError

PAUSE_S = 0.2
"""Silence between two sentences, in place of the 10,000 samples that Coqui puts after each."""


class Coqui:
    """One Coqui model. Its noise is drawn from the seed, on the CPU, in one thread."""

    name = "coqui"
    reproducible = True
    PACKAGES = ("coqui-tts", "torch", "torchaudio")
    OPTIONS = ("model", "config", "download")

    def __init__(self, model: str = "", config: str = "", download: str = "no") -> None:
        if download not in ("yes", "no"):
            raise UsageError(f"coqui.download: {download!r}; it is yes or no")
        self._model, self._config, self._download = model, config, download == "yes"
        self._located: Located | None = None
        self._loaded: Any = None
        self._lock = threading.Lock()

    def voices(self) -> Sequence[Voice]:
        """The speakers that the model's config names; one voice where it names none."""
        found = self._locate()
        return [
            Voice(
                engine=self.name,
                name=name,
                gender="unknown",
                accent=found.accent,
                language=found.language,
                license=found.license,
                commercial_use=allows_commerce(found.license),
            )
            for name in found.speakers
        ]

    def speak(self, text: str, voice: str, seed: int) -> tuple[Samples, int]:
        """Speech at the model's rate, the sentences joined by a short pause."""
        check_voice(self.name, by_name(self.name, self.voices()), voice)
        with self._lock:  # the generators that are seeded belong to the process
            if self._loaded is None:
                self._loaded = _load(self._locate())
            rate = int(self._loaded.synthesizer.output_sample_rate)
            speaker = self._locate().speakers[voice]
            try:
                with _seeded(seed):
                    samples = _synthesize(self._loaded, text, speaker, round(PAUSE_S * rate))
            except Exception as error:  # whatever a model of any kind may raise over a text
                raise EngineError(f"coqui could not speak: {type(error).__name__}: {error}") from None
        return checked(self.name, samples), rate

    def _locate(self) -> Located:
        if self._located is None:
            self._located = locate(
                require("TTS", "coqui-tts", "coqui"), self._model, self._config, download=self._download
            )
        return self._located


def _load(found: Located) -> Any:
    try:
        import torch
        from TTS.api import TTS
    except ImportError as error:
        raise EngineError(f"coqui-tts cannot be imported: {error}") from None
    try:
        with torch.random.fork_rng(devices=[]):
            return TTS(
                model_path=str(found.checkpoint),
                config_path=str(found.config),
                vocoder_path=found.vocoder and str(found.vocoder),
                vocoder_config_path=found.vocoder_config and str(found.vocoder_config),
                progress_bar=False,
            )
    except Exception as error:  # Coqui has no common base for its errors
        raise EngineError(f"coqui cannot load {found.checkpoint}: {type(error).__name__}: {error}") from None


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's and numpy's generators (Griffin-Lim draws from numpy's) seeded, torch in one thread; then as before."""
    import torch

    threads, state = torch.get_num_threads(), np.random.get_state()
    torch.set_num_threads(1)
    np.random.seed(seed % 2**32)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)
        np.random.set_state(state)


def _synthesize(model: Any, text: str, speaker: str | None, pause: int) -> Samples:
    from TTS.utils.synthesizer import PAD_SILENCE_SAMPLES

    languages = model.languages if model.is_multi_lingual else None
    language = next((name for name in languages if name.startswith("en")), languages[0]) if languages else None
    parts: list[Samples] = []
    for sentence in model.synthesizer.split_into_sentences(text, language):
        spoken = model.tts(sentence, speaker=speaker, language=language, split_sentences=False)
        parts += [np.asarray(spoken[:-PAD_SILENCE_SAMPLES], dtype=np.float32), np.zeros(pause, np.float32)]
    return np.concatenate(parts[:-1]) if parts else np.zeros(0, np.float32)
