"""`hf:REPO_OR_PATH`: an audio language model, or a text-only one, that transformers runs on this machine."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from demur.audio import resample
from demur.errors import UsageError
from demur.models import EVERY_MODALITY, Answer, Model, ModelOptions, Query
from demur.models.hf import adapters, checkpoint
from demur.models.hf.families import find_family
from demur.models.hf.lalm import LALM, Turn, load_lalm
from demur.models.local import find_folder, fingerprint
from demur.nouns import Modality


class HFOptions(ModelOptions):
    """How to load and to decode."""

    AUTO_BATCH_SIZE: ClassVar[int] = 64
    """Halved whenever memory runs out."""

    adapter: Path | None = None
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    revision: str | None = None
    trust_remote_code: bool = False
    download: bool = False


class HFModel(Model):
    """A model of a family that `demur.models.hf.families` knows, or any text model with a chat template.

    It is asked one user turn: the clip (`audio_only`), the text (`text_only`), or the clip and then the instruction
    (`audio_text`), by the chat template of the checkpoint. No system prompt but the template's own.
    """

    Options = HFOptions

    def __init__(self, name: str, options: HFOptions) -> None:
        if not name:
            raise UsageError("hf needs the name of a model: hf:REPO_OR_PATH")
        if options.revision and Path(name).is_dir():
            raise UsageError(f"--revision is of a Hub repository, and {name} is a folder")
        folder = find_folder(name, revision=options.revision, download=options.download)
        # A folder of the Hub's cache is named after the commit, which says as much as all bytes of the files.
        weights = {"fingerprint": fingerprint(folder)} if Path(name).is_dir() else {"commit": folder.name}
        self._set_up(f"hf:{Path(name).resolve().name}", lambda: folder, weights, options, checkpoint.model_type(folder))

    def _set_up(
        self, name: str, folder: Callable[[], Path], weights: dict[str, Any], options: HFOptions, model_type: str
    ) -> None:
        """All that `__init__` does once it knows the model; `weights` tells its files from any other's."""
        self._folder, self._options = folder, options
        self._family = find_family(model_type)
        self.name = name
        self.modalities = EVERY_MODALITY if self._family.audio else frozenset({Modality.TEXT_ONLY})
        self.batch_size, self.max_new_tokens = options.batch_size, options.max_new_tokens
        self.settings = {
            **weights,
            "model_type": model_type,
            "dtype": options.dtype,
            "max_new_tokens": options.max_new_tokens,
            "temperature": options.temperature,
            **({"seed": options.seed} if options.temperature else {}),
        }
        if options.adapter is not None:
            adapters.check(options.adapter)
            self.name = f"{name}+{options.adapter.resolve().name}"
            self.settings |= {
                "adapter": options.adapter.resolve().name,
                "adapter_fingerprint": adapters.fingerprint(options.adapter),
                "base": name,
            }
            self.training_prompts = adapters.training_prompts(options.adapter)

    @cached_property
    def lalm(self) -> LALM:
        """The loaded model, adapter and all."""
        options = self._options
        return load_lalm(
            self._folder(),
            adapter=options.adapter,
            device=options.device,
            dtype=options.dtype,
            trust_remote_code=options.trust_remote_code,
        )

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """All answers as one batch, or as several where memory runs out."""
        turns = [self._to_turn(query) for query in queries]
        options = self._options
        answers = self.lalm.generate(
            turns, max_new_tokens=options.max_new_tokens, temperature=options.temperature, seed=options.seed
        )
        self.fits_memory = self.lalm.fits_memory
        return answers

    def _to_turn(self, query: Query) -> Turn:
        turn = Turn(text=query.input_text)
        if query.audio is None:
            return turn
        return replace(turn, audio=resample(query.audio, query.rate, self.lalm.sample_rate))
