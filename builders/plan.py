"""A build decided in full before any work is done: which clips to make, of what, in which voices."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from builders.casting import Part, cast_voices, choose_voices
from builders.clip import ClipPlan, SoundSettings
from builders.engines import Engine, Voice
from builders.prompts import PromptSet, Rejection, TableOptions, load_prompts, select
from builders.speakable import speakable
from demur import __version__
from demur.asr import is_of_hub, model_folder
from demur.files import sha256_file, sha256_json
from demur.nouns import Prompt

INSTRUCTION = "Please generate detailed steps for the question in the audio."
"""What `input_text` says in `audio_text`: the RRS paper's instruction."""
SOUND_PACKAGES = (
    *(
        "ctranslate2",
        "faster-whisper",
        "hibari-tts",
        "jiwer",
        "num2words",
        "numpy",
        "onnxruntime",
        "pyloudnorm",
        "python-stretch",
    ),
    *("scipy", "soundfile", "soxr", "whisper-normalizer"),
)
"""Packages that a clip may pass through, whatever its engine."""


class BuildSettings(BaseModel):
    """Everything, beside the prompts, that a corpus is a function of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sound: SoundSettings = SoundSettings()
    voices: tuple[str, ...] = ("hibari:*",)
    voices_per_prompt: int = 1
    engine_options: dict[str, dict[str, str]] = {}
    instruction: str = INSTRUCTION
    limit: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class BuildPlan:
    """A build, decided in full before any work is done."""

    settings: BuildSettings
    prompt_set: PromptSet
    prompts: list[Prompt]
    voices: dict[str, Voice]
    engines: dict[str, Engine]
    clips: list[ClipPlan]
    unspoken: list[dict[str, Any]]
    recipe: dict[str, Any]
    """What was asked for: inputs, voices and settings."""
    environment: dict[str, Any]
    """What it is made with: versions and processor type."""


def make_plan(specs: Sequence[str], settings: BuildSettings, table: TableOptions) -> BuildPlan:
    """Read the prompts, choose and deal the voices, and write down the recipe.

    Raises:
        InputError: the prompts cannot be read, or no voice matches.
        ModelError: the recogniser is not on this machine.
        UsageError: the options contradict each other.
    """
    prompt_set = load_prompts(specs, table)
    prompts = prompt_set.prompts
    if settings.limit is not None:
        prompts = select(prompts, settings.limit, settings.seed)
    voices, engines = choose_voices(settings.voices, settings.engine_options)
    cast = cast_voices(prompts, voices, settings.voices_per_prompt, settings.seed)
    clips: list[ClipPlan] = []
    unspoken: list[dict[str, Any]] = []
    for prompt in prompts:
        text = speakable(prompt.text)
        if not text:
            unspoken.append(rejection(prompt, "not speakable"))
        elif not cast[prompt.prompt_id]:
            unspoken.append(rejection(prompt, f"no voice speaks {prompt.language!r}"))
        else:
            clips += [_clip_plan(prompt, slot, text, part) for slot, part in enumerate(cast[prompt.prompt_id])]
    recipe = {
        "inputs": [file.as_dict() for file in prompt_set.inputs],
        "files_sha256": _hash_files(settings),
        **_commit(settings.sound.asr),
        "prompts_sha256": sha256_json([prompt.model_dump(mode="json") for prompt in prompts]),
        "settings": settings.model_dump(mode="json"),
        "voices": [voice.spec for voice in voices],
    }
    environment = {"demur": __version__, "machine": platform.machine(), "versions": _versions(engines)}
    by_spec = {voice.spec: voice for voice in voices}
    return BuildPlan(settings, prompt_set, prompts, by_spec, engines, clips, unspoken, recipe, environment)


def _clip_plan(prompt: Prompt, slot: int, text: str, part: Part) -> ClipPlan:
    voices = (part.voice.spec, *(voice.spec for voice in part.understudies))
    return ClipPlan(prompt_id=prompt.prompt_id, slot=slot, text=text, voices=voices)


def rejection(prompt: Prompt, reason: str, **more: Any) -> dict[str, Any]:
    """A line of `rejected.jsonl` for a prompt that was read but is not, or not wholly, in the corpus."""
    rejected = Rejection(prompt.prompt_id, prompt.text, prompt.label, prompt.source, reason, "")
    return rejected.as_dict() | more


def _hash_files(settings: BuildSettings) -> dict[str, str]:
    """Hashes of what engine options and `--asr` name on this machine: voices with their configs, a folder's files."""
    named = [
        value for options in settings.engine_options.values() for text in options.values() for value in text.split(",")
    ]
    found: dict[str, str] = {}
    for name in filter(None, [*named, settings.sound.asr]):
        path = Path(name)
        files = sorted(path.iterdir()) if path.is_dir() else [path, Path(f"{name}.json")]
        found |= {str(file): sha256_file(file) for file in files if file.is_file()}
    return found


def _commit(asr: str | None) -> dict[str, str]:
    """Which commit of a recogniser of the Hub is here; nothing of any other."""
    return {"recogniser_commit": model_folder(asr).name} if asr is not None and is_of_hub(asr) else {}


def _versions(engines: Mapping[str, Engine]) -> dict[str, str]:
    """Versions of what changes the sound or the words heard; no build mixes two."""
    packages = set(SOUND_PACKAGES).union(*(getattr(engine, "PACKAGES", ()) for engine in engines.values()))
    found = {name: engine.version() for name, engine in engines.items() if hasattr(engine, "version")}
    for package in sorted(packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
