"""`cascade:ASR+LLM`: speech is recognised, then a text model answers. `cascade-tiny` is the embedded one."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

from demur.asr import PACKAGED, Transcriber, is_of_hub, model_folder
from demur.assets import SMOLLM2_135M, WHISPER_TINY_EN
from demur.errors import UsageError
from demur.models import Answer, Model, ModelOptions, Query
from demur.models.hf.lalm import LALM, load_lalm
from demur.models.hf.turns import Turn, fault
from demur.models.local import find_folder, fingerprint
from demur.models.smollm import smollm2_folder

JOINT = "\n\n"
"""Between the instruction and the transcript: the instruction says what to do with what follows."""
DTYPE = "bfloat16"
"""Of the chat model: on a CPU it is faster than float32 in batches (`benchmarks/bench_respond.py` measures it)."""
_REMEMBERED = 100_000
"""Transcripts kept, so that the clips of `audio_only` are not heard again in `audio_text`: some 10 MB."""


class CascadeOptions(ModelOptions):
    """How to decode, and whether a model may be downloaded."""

    download: bool = False


class Cascade(Model):
    """Whisper through faster-whisper, then a chat model through transformers.

    The chat model is asked one user message: the transcript (`audio_only`), the text (`text_only`), or the instruction,
    an empty line and the transcript (`audio_text`). No system message but the one of its own chat template.
    """

    Options = CascadeOptions

    def __init__(self, name: str, options: CascadeOptions) -> None:
        asr, plus, llm = name.partition("+")
        if not (asr and plus and llm):
            raise UsageError(f"cascade:{name}: write it as cascade:ASR+LLM, for example cascade:{PACKAGED}+path/to/llm")
        folder = find_folder(llm, download=options.download)
        ears = None if asr == PACKAGED else model_folder(asr, download=options.download)
        parts = {
            "asr": _asr_part(asr, ears),
            "llm": {"name": Path(llm).name, "fingerprint": fingerprint(folder)},
        }
        title = f"cascade:{parts['asr']['name']}+{parts['llm']['name']}"
        self._set_up(title, str(ears or asr), lambda: folder, parts, options)

    def _set_up(
        self, name: str, asr: str, folder: Callable[[], Path], parts: Mapping[str, Any], options: CascadeOptions
    ) -> None:
        self.name, self._asr, self._folder, self._options = name, asr, folder, options
        self.batch_size, self.max_new_tokens = options.batch_size, options.max_new_tokens
        decoding = {"dtype": DTYPE, "max_new_tokens": options.max_new_tokens, "temperature": options.temperature}
        decoding |= {"seed": options.seed} if options.temperature else {}
        self.settings = {**parts, "joint": JOINT, **decoding}
        self._heard: dict[bytes, str] = {}

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """Transcribe what is heard, a clip a core, then generate all answers as one batch."""
        faults = [None if query.audio is None else fault(Turn(query.audio), query.rate) for query in queries]
        heard = iter(self._answer([query for query, wrong in zip(queries, faults, strict=True) if not wrong]))
        return [Answer(None, error=wrong) if wrong else next(heard) for wrong in faults]

    def _answer(self, queries: Sequence[Query]) -> list[Answer]:
        if len(self._heard) >= _REMEMBERED:
            self._heard.clear()
        clips = {_clip_key(query): query for query in queries if query.audio is not None}
        new = {key: query for key, query in clips.items() if key not in self._heard}
        if new:
            self._heard.update(zip(new, self._hear(list(new.values())), strict=True))
        # as messages: nothing may have been said in a clip, and the model is asked all the same
        turns = [Turn(messages=({"role": "user", "content": self._to_text(query)},)) for query in queries]
        options = self._options
        answers = self._llm.generate(
            turns, max_new_tokens=options.max_new_tokens, temperature=options.temperature, seed=options.seed
        )
        self.fits_memory = self._llm.fits_memory
        return answers

    def _hear(self, queries: Sequence[Query]) -> list[str]:
        transcriber = self._transcriber  # loaded here, not by several threads
        with ThreadPoolExecutor(_cores()) as pool:
            return list(pool.map(lambda query: transcriber.transcribe(query.audio, query.rate), queries))

    def _to_text(self, query: Query) -> str:
        if query.audio is None:
            return query.input_text
        transcript = self._heard[_clip_key(query)]
        return f"{query.input_text}{JOINT}{transcript}" if query.input_text else transcript

    @cached_property
    def _transcriber(self) -> Transcriber:
        return Transcriber(self._asr, language=None, download=self._options.download, workers=_cores())

    @cached_property
    def _llm(self) -> LALM:
        return load_lalm(self._folder(), dtype=DTYPE)


class CascadeTiny(Cascade):
    """Whisper tiny.en and SmolLM2-135M-Instruct, from wheels on PyPI: a real system that runs offline on a CPU."""

    def __init__(self, name: str, options: CascadeOptions) -> None:
        if name:
            raise UsageError(f"cascade-tiny takes no name ({name!r}); for models of your own: cascade:ASR+LLM")
        parts = {
            "asr": {"name": PACKAGED, "wheel_sha256": WHISPER_TINY_EN.sha256},
            "llm": {"name": "SmolLM2-135M-Instruct", "wheel_sha256": SMOLLM2_135M.sha256},
        }
        self._set_up("cascade-tiny", PACKAGED, smollm2_folder, parts, options)


def _asr_part(asr: str, folder: Path | None) -> dict[str, str]:
    """What tells one recogniser from another; the packaged one, which comes with demur, has no folder."""
    if folder is None:
        return {"name": asr}
    if is_of_hub(asr):
        return {"name": asr, "commit": folder.name}
    return {"name": folder.name, "fingerprint": fingerprint(folder)}


def _clip_key(query: Query) -> bytes:
    samples = b"" if query.audio is None else query.audio.tobytes()
    return hashlib.sha256(str(query.rate).encode() + b":" + samples).digest()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
