"""A loaded audio language model, or a text-only one: what responding, capturing and training share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from demur.errors import InputError, ModelError
from demur.models import Answer
from demur.models.hf import checkpoint
from demur.models.hf.families import Family, find_family
from demur.models.hf.turns import Turn, fault, kinds_of, name_of, size_of, with_answers
from demur.models.local import check_transformers, find_folder
from demur.seeds import derive_seed

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LALM", "Turn", "load_lalm"]


@dataclass(frozen=True)
class _Sampling:
    max_new_tokens: int
    temperature: float
    seed: int


class LALM:
    """A loaded model with its processor and family."""

    def __init__(self, model: Any, processor: Any, family: Family) -> None:
        self.model, self.processor, self.family = model, processor, family
        self.tokenizer: Any = processor.tokenizer if family.audio else processor
        self.system: str | None = None
        """A system prompt for every turn that brings none of its own; None: what the chat template has."""
        self.fits_memory: int | None = None
        """How many turns are answered together since memory ran out; None where it never did."""
        self._stops = self._find_stops(model.generation_config.eos_token_id)
        model.generation_config = self._decoding()

    @property
    def device(self) -> Any:
        """Where the model is."""
        return self.model.device

    @property
    def sample_rate(self) -> int:
        """Hz of the audio that it takes."""
        return int(self.processor.feature_extractor.sampling_rate) if self.family.audio else 16_000

    @cached_property
    def max_audio_s(self) -> float | None:
        """Seconds of audio that a turn may have; what is longer is cut."""
        limit = self.family.max_audio_s(self.processor)
        return None if limit is None else float(limit)

    def encode(self, turns: Sequence[Turn]) -> "dict[str, Tensor]":
        """One left-padded batch on the model's device.

        Where every turn has an answer, also `labels` [B, T]: the answer's tokens and the token that ends a turn, and
        -100 elsewhere.

        Raises:
            InputError: a turn's audio is empty or not finite.
            ModelError: the model takes no audio, or not in one batch with turns without; or some turns have no answer.
        """
        self._check_kinds(turns)
        for turn in turns:
            if wrong := fault(turn, self.sample_rate):
                raise InputError(wrong)
        batch = self.family.encode(self, [self._conversation(self._cut(turn)) for turn in turns])
        answers = [turn.answer for turn in turns if turn.answer is not None]
        if answers and len(answers) < len(turns):
            raise ModelError("a batch for teacher forcing needs an answer to every turn")
        if answers:
            ends = [[*self._tokenize(answer), self.end_of_turn] for answer in answers]
            batch = with_answers(batch, ends, pad=self.tokenizer.pad_token_id)
        return {name: self._place(value) for name, value in batch.items()}

    def generate(
        self, turns: Sequence[Turn], *, max_new_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Answer]:
        """One answer to each turn, in order; the same turns and seed give the same answers.

        They are asked sorted by length, as many at a time as fit: where memory runs out, half as many, from then on.
        What is wrong with one turn alone is an `Answer` with `error`; where its audio was cut, `finish_reason` says so.

        Raises:
            ModelError: the model cannot run.
        """
        answers: dict[int, Answer] = {}
        for place, turn in enumerate(turns):
            if wrong := self._refusal(turn):
                answers[place] = Answer(None, error=wrong)
        waiting = sorted(
            (place for place in range(len(turns)) if place not in answers), key=lambda i: size_of(turns[i])
        )
        for kind in kinds_of(waiting, turns, mixed=self.family.mixed):
            answers |= self._answer_all(kind, turns, _Sampling(max_new_tokens, temperature, seed))
        return [self._say_cut(turns[place], answers[place]) for place in range(len(turns))]

    def _answer_all(self, places: Sequence[int], turns: Sequence[Turn], sampling: _Sampling) -> dict[int, Answer]:
        answers: dict[int, Answer] = {}
        waiting = list(places)
        while waiting:
            now = waiting[: self.fits_memory]
            try:
                found = self._complete([turns[place] for place in now], sampling)
            except (RuntimeError, MemoryError) as error:
                if out_of_memory(error):
                    found = None
                elif self.device.type == "cuda":  # after which a GPU may answer nothing any more
                    raise ModelError(f"{self.family.name}: {error}") from None
                else:
                    found = self._one_by_one(now, turns, sampling, error)
            except TemplateError as error:
                raise ModelError(f"{self.family.name}: its chat template does not take this ({error})") from None
            except (ValueError, TypeError, LookupError) as error:
                found = self._one_by_one(now, turns, sampling, error)
            if found is None and len(now) > 1:  # outside the handler, whose traceback holds on to the memory
                self.fits_memory = len(now) // 2
                continue
            answers |= zip(now, found or [Answer(None, error="out of memory on this turn alone")], strict=True)
            waiting = waiting[len(now) :]
        return answers

    def _one_by_one(
        self, places: Sequence[int], turns: Sequence[Turn], sampling: _Sampling, error: Exception
    ) -> list[Answer]:
        """Answers where a batch failed: what is wrong may be wrong with one turn alone."""
        if len(places) == 1:
            return [Answer(None, error=f"the model cannot take this turn ({' '.join(str(error).split())[:200]})")]
        found: dict[int, Answer] = {}
        for place in places:
            found |= self._answer_all([place], turns, sampling)
        return [found[place] for place in places]

    def _complete(self, turns: Sequence[Turn], sampling: _Sampling) -> list[Answer]:
        import torch

        batch = self.encode(turns)
        lengths = batch["attention_mask"].sum(1).tolist()
        fits = [self._context is None or length + sampling.max_new_tokens <= self._context for length in lengths]
        if not all(fits):
            kept = [turn for turn, fit in zip(turns, fits, strict=True) if fit]
            found = iter(self._complete(kept, sampling) if kept else ())
            too_long = Answer(None, error=f"the prompt leaves no room for an answer in {self._context} tokens")
            return [next(found) if fit else too_long for fit in fits]
        drawn = {"do_sample": True, "temperature": sampling.temperature, "top_k": 0} if sampling.temperature else {}
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices):
            torch.manual_seed(derive_seed("generate", sampling.seed, *map(name_of, turns)))
            tokens = self.model.generate(**batch, max_new_tokens=sampling.max_new_tokens, **drawn)
        return [self._read(row) for row in tokens[:, batch["input_ids"].shape[1] :].tolist()]

    def _read(self, tokens: list[int]) -> Answer:
        """The text up to the first stop token."""
        end = next((place for place, token in enumerate(tokens) if token in self._stops), None)
        text = self.tokenizer.decode(tokens[:end], skip_special_tokens=True)
        return Answer(text.strip(), finish_reason="length" if end is None else "stop")

    def _conversation(self, turn: Turn) -> list[dict[str, Any]]:
        """Messages as chat templates of the family take them: lists of parts, or for a text model strings."""
        if turn.messages:
            messages = [_message(each["role"], each["content"]) for each in turn.messages]
        else:
            system = self.system if turn.system is None else turn.system
            asked = _message("user", turn.text)
            if turn.audio is not None:
                asked["content"].insert(0, {"type": "audio", "audio": turn.audio})
            messages = [*([_message("system", system)] if system else []), asked]
        if self.family.audio:
            return messages
        return [{**each, "content": "".join(part["text"] for part in each["content"])} for each in messages]

    def _tokenize(self, text: str) -> list[int]:
        tokens: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return tokens

    @cached_property
    def end_of_turn(self) -> int:
        """The token that ends an assistant's answer: the first control token of the chat template after the answer."""
        if not self.family.needs_template:
            return int(self.tokenizer.eos_token_id)
        marker = "(answer)"
        asked, answered = {"role": "user", "content": "x"}, {"role": "assistant", "content": marker}
        conversation = self._conversation(Turn(messages=(asked, answered)))
        rendered = self.processor.apply_chat_template(conversation, tokenize=False)
        after = self._tokenize(rendered.rpartition(marker)[2])
        control = {*self.tokenizer.all_special_ids}
        return next((token for token in after if token in control), int(self.tokenizer.eos_token_id))

    def _find_stops(self, suggested: int | list[int] | None) -> frozenset[int]:
        """Tokens that end an answer: the checkpoint's, the tokenizer's and the chat template's."""
        ends = suggested if isinstance(suggested, list) else [suggested]
        return frozenset({*ends, self.tokenizer.eos_token_id, self.end_of_turn} - {None})

    def _decoding(self) -> Any:
        """Greedy, with the checkpoint's stop tokens: a top-p or a penalty of its own would make models incomparable."""
        from transformers import GenerationConfig

        config: Any = GenerationConfig
        return config(eos_token_id=sorted(self._stops), pad_token_id=self.tokenizer.pad_token_id)

    @cached_property
    def _context(self) -> int | None:
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return None if limit is None else int(limit)

    def _place(self, value: "Tensor") -> "Tensor":
        return value.to(self.device, self.model.dtype if value.is_floating_point() else value.dtype)

    def _cut(self, turn: Turn) -> Turn:
        if turn.audio is None or not self._too_long(turn):
            return turn
        return replace(turn, audio=turn.audio[: int(self.sample_rate * (self.max_audio_s or 0))])

    def _too_long(self, turn: Turn) -> bool:
        limit = self.max_audio_s
        return turn.audio is not None and limit is not None and len(turn.audio) > int(self.sample_rate * limit)

    def _say_cut(self, turn: Turn, answer: Answer) -> Answer:
        if answer.text is None or not self._too_long(turn):
            return answer
        return replace(answer, finish_reason=f"{answer.finish_reason}; audio cut at {self.max_audio_s:g} s")

    def _refusal(self, turn: Turn) -> str | None:
        """Why a turn cannot be asked at all."""
        if turn.audio is not None and not self.family.audio:
            return "a text model cannot hear"
        return fault(turn, self.sample_rate)

    def _check_kinds(self, turns: Sequence[Turn]) -> None:
        kinds = {turn.audio is not None for turn in turns}
        if True in kinds and not self.family.audio:
            raise ModelError("a text model cannot hear: give it turns without audio")
        if len(kinds) > 1 and not self.family.mixed:
            raise ModelError(f"{self.family.name} takes turns with audio and turns without in batches of their own")


def load_lalm(
    name: str | Path,
    *,
    adapter: Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    download: bool = False,
) -> LALM:
    """The model in a folder, or of a Hub repository in the local cache, with what an adapter folder adds to it.

    `dtype` "auto" is what the weights are saved in; `device` "auto" is the GPU if there is one.

    Raises:
        ModelError: it is not here, not whole, or not what it says.
        MissingDependency: transformers, torch or peft is not installed.
    """
    check_transformers()
    folder = find_folder(str(name), revision=revision, download=download)
    family = find_family(checkpoint.model_type(folder))
    processor = checkpoint.load_processor(folder, family, trust_remote_code=trust_remote_code)
    model = checkpoint.load_model(folder, family, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    try:
        lalm = LALM(model, processor, family)
    except TemplateError as error:
        raise ModelError(f"{folder}: its chat template cannot be used ({error})") from None
    if adapter is not None:
        from demur.models.hf.adapters import attach

        attach(lalm, adapter)
    return lalm


def out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, of a GPU or of the machine."""
    import torch

    said = str(error).casefold()
    ran_out = any(words in said for words in ("out of memory", "can't allocate memory", "alloc_failed"))
    return ran_out or isinstance(error, torch.OutOfMemoryError | MemoryError)


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}] if text else []}
