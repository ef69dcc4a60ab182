"""hibari: small neural English voices on the CPU, the default engine; one voice ships inside its package.

Its other voices are files that hibari itself downloads; here they are used when they are asked for by name
(`--engine-option hibari.voices=emma,fable`) and already in hibari's cache, so that what `hibari:*` means does not
depend on what happens to be cached.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from builders.engines import Voice
from builders.engines.common import check_voice, checked, names_in
from demur.audio import Samples
from demur.errors import EngineError
from demur.files import sha256_file


class Hibari:
    """hibari's voices. The seed sets the noise in the voice: the same seed gives the same samples."""

    name = "hibari"
    reproducible = True
    PACKAGES = ("hibari-tts", "onnxruntime")
    OPTIONS = ("voices",)

    def __init__(self, voices: str = "") -> None:
        self._wanted = names_in(voices)
        self._loaded: dict[str, Any] = {}

    def voices(self) -> Sequence[Voice]:
        """The packaged voice, and those of the option `voices` that are in hibari's cache."""
        registry = _registry()
        packaged = [name for name, entry in registry.items() if entry.get("bundled")]
        for name in self._wanted:
            check_voice(self.name, registry, name)
            if not _file(name).is_file():
                raise EngineError(
                    f"hibari's voice {name!r} is not in its cache ({_file(name)}); download it with: "
                    f"hibari --voice {name} Hello --out /dev/null"
                )
        return [_voice(name, registry[name]) for name in dict.fromkeys([*packaged, *self._wanted])]

    def speak(self, text: str, voice: str, seed: int) -> tuple[Samples, int]:
        """Speech at 24 kHz; one onnxruntime thread."""
        if voice not in self._loaded:
            check_voice(self.name, {offered.name: offered for offered in self.voices()}, voice)
            self._loaded[voice] = _load(voice)
        model = self._loaded[voice]
        return checked(self.name, model(text, seed=seed)), int(model.sample_rate)


def _registry() -> Mapping[str, Mapping[str, Any]]:
    try:
        from hibari.voices import VOICES
    except ImportError:
        raise EngineError("hibari-tts is not installed: pip install hibari-tts") from None

    registry: Mapping[str, Mapping[str, Any]] = VOICES
    return registry


def _file(name: str) -> Path:
    from hibari.voices import voice_path

    try:
        return Path(voice_path(name, download_missing=False))
    except FileNotFoundError as error:
        return Path(str(error))


def _voice(name: str, entry: Mapping[str, Any]) -> Voice:
    return Voice(
        engine=Hibari.name,
        name=name,
        gender=entry["gender"],
        accent=entry["language"],
        language=entry["language"].split("-")[0],
        license="Apache-2.0",
    )


def _load(name: str) -> Any:
    from hibari import Hibari as Model

    path = _file(name)
    if sha256_file(path) != _registry()[name]["sha256"]:
        raise EngineError(f"{path}: damaged, or not hibari's voice {name!r}; delete it and download it again")
    return Model(voice=name, threads=1)
