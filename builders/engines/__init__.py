"""TTS engines behind one small protocol: text in, mono float32 samples out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from demur import plugins
from demur.audio import Samples
from demur.errors import UsageError


@dataclass(frozen=True)
class Voice:
    """One voice, and what a corpus must say of it."""

    engine: str
    name: str
    gender: str
    """`female`, `male` or `unknown`."""
    accent: str
    """BCP 47 tag of the accent (`en-US`), or `unknown`."""
    language: str
    license: str
    commercial_use: bool = True
    """False where the licence forbids commercial use; the build says so aloud."""

    @property
    def spec(self) -> str:
        """How `--voices` names it: `engine:name`."""
        return f"{self.engine}:{self.name}"


class Engine(Protocol):
    """A TTS engine. Made in each worker; heavy imports and loading happen on the first `speak`, never in `voices`."""

    name: str
    reproducible: bool
    """Whether the same text, voice and seed give the same samples, in any process."""

    def voices(self) -> Sequence[Voice]:
        """Every voice on offer, without loading a model or reaching the network.

        Raises:
            MissingDependency: the engine's package is not installed.
            EngineError: a model, voice file or option is missing or wrong.
        """
        ...

    def speak(self, text: str, voice: str, seed: int) -> tuple[Samples, int]:
        """Speech (mono, float32) and its sample rate. `voice` is a `Voice.name` of this engine.

        Raises:
            EngineError: this text cannot be spoken; `EngineUnavailable` where trying later may help.
        """
        ...


def make_engine(name: str, options: Mapping[str, str]) -> Engine:
    """The engine registered under a name, with its options (`--engine-option NAME.KEY=VALUE`).

    Raises:
        InputError: no engine has this name.
        UsageError: the engine does not know one of the options.
    """
    factory = plugins.find(plugins.ENGINES, name)
    known = tuple(getattr(factory, "OPTIONS", ()))
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UsageError(f"engine {name} has no option {unknown[0]!r}; it has: {', '.join(known) or 'none'}")
    engine: Engine = factory(**options)
    return engine
