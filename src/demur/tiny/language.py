"""SmolLM2 as a writer: it samples what people might say to it, and answers it, in batches on a CPU or GPU.

The chat format is SmolLM2's own (ChatML), without the system turn that its template puts in by default: demur-tiny is
asked in the same way, so that what the language model answers to a text is what demur-tiny should answer to its sound.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from demur.models.smollm import smollm2_folder

USER = "<|im_start|>user\n"
ASSISTANT = "<|im_end|>\n<|im_start|>assistant\n"
SYSTEM = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
"""SmolLM2's default; with it before them, the user turns that it samples read like a person's."""
END_OF_TURN = 2
_CANDIDATES = 64
"""Tokens to sample among, at each step."""


class Writer:
    """SmolLM2-135M-Instruct in bfloat16, loaded when first used; or the model that is given."""

    def __init__(self, model: Any = None) -> None:
        if model is not None:
            self.model = model

    @property
    def device(self) -> Any:
        """Where the model is."""
        return self.model.device

    @cached_property
    def tokenizer(self) -> Any:
        """Pads on the left."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(smollm2_folder(), padding_side="left")

    @cached_property
    def model(self) -> Any:
        """In evaluation mode."""
        import torch
        from transformers import AutoModelForCausalLM

        load: Any = AutoModelForCausalLM.from_pretrained
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return load(smollm2_folder(), dtype=torch.bfloat16).to(device).eval()

    def sample(self, openings: Sequence[str], *, tokens: int, seed: int) -> list[str]:
        """A user's first sentence for each opening (which it holds), drawn at temperature 1 among likely tokens.

        At most `tokens` more than the opening; the same for the same batch and seed.
        """
        return self._sample(openings, [USER + opening for opening in openings], SYSTEM, tokens, seed)

    def tell(self, scene: str, openings: Sequence[str], *, tokens: int, seed: int) -> list[str]:
        """A sentence for each opening (which it holds) that goes on from a scene, as `sample` draws; no chat."""
        return self._sample(openings, openings, scene, tokens, seed)

    def _sample(
        self, openings: Sequence[str], prompts: Sequence[str], prefix: str, tokens: int, seed: int
    ) -> list[str]:
        import torch

        generator = torch.Generator().manual_seed(seed)

        def draw(logits: Any) -> Any:
            top, index = logits.float().topk(_CANDIDATES)
            chosen = torch.multinomial(top.softmax(-1).cpu(), 1, generator=generator)
            return index.gather(-1, chosen.to(index.device))[:, 0]

        rows = self._continue(prompts, tokens, draw, stops=self._sentence_ends, prefix=prefix)
        texts = self.tokenizer.batch_decode(rows, skip_special_tokens=True)
        return [opening + text for opening, text in zip(openings, texts, strict=True)]

    def answer(self, messages: Sequence[str], *, tokens: int) -> list[str]:
        """The greedy answer to each message of a user, at most `tokens` long."""
        prompts = [USER + message + ASSISTANT for message in messages]
        rows = self._continue(prompts, tokens, lambda logits: logits.argmax(-1), stops=[END_OF_TURN])
        texts: list[str] = self.tokenizer.batch_decode(rows, skip_special_tokens=True)
        return texts

    @cached_property
    def _sentence_ends(self) -> list[int]:
        """Tokens that end a sentence or a line."""
        texts = self.tokenizer.batch_decode([[token] for token in range(len(self.tokenizer))])
        return [END_OF_TURN, *(n for n, text in enumerate(texts) if text.endswith((".", "?", "!")) or "\n" in text)]

    def _continue(
        self, prompts: Sequence[str], tokens: int, choose: Any, *, stops: Sequence[int], prefix: str = ""
    ) -> list[list[int]]:
        """Tokens that follow each prompt, up to and with the first stop.

        A plain decoding loop, since `generate` takes several times as long over a small model's steps; a prefix that
        all prompts share is read once.
        """
        import torch

        batch = self.tokenizer(list(prompts), add_special_tokens=False, padding=True, return_tensors="pt")
        ids, mask = batch["input_ids"].to(self.device), batch["attention_mask"].to(self.device)
        ends = torch.tensor(list(stops), device=self.device)
        done = torch.zeros(len(ids), dtype=torch.bool, device=self.device)
        columns: list[Any] = []
        with torch.inference_mode():
            cache, read = self._read_prefix(prefix, len(ids))
            positions = read + (mask.cumsum(-1) - 1).clamp(min=0)
            mask = torch.cat([mask.new_ones(len(mask), read), mask], dim=1)
            while len(columns) < tokens and not bool(done.all()):
                step = self.model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                )
                cache = step.past_key_values
                chosen = torch.where(done, END_OF_TURN, choose(step.logits[:, -1]))
                columns.append(chosen)
                done |= torch.isin(chosen, ends)
                ids, positions = chosen[:, None], positions[:, -1:] + 1
                mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        rows = torch.stack(columns, dim=1).tolist()
        ending = frozenset(stops)
        return [row[: next((n + 1 for n, token in enumerate(row) if token in ending), len(row))] for row in rows]

    def _read_prefix(self, prefix: str, rows: int) -> tuple[Any, int]:
        """What the model remembers of a text, for so many rows, and how many tokens that was."""
        if not prefix:
            return None, 0
        batch = self.tokenizer(prefix, add_special_tokens=False, return_tensors="pt").to(self.device)
        cache = self.model(**batch, use_cache=True).past_key_values
        cache.batch_repeat_interleave(rows)
        return cache, batch["input_ids"].shape[1]
