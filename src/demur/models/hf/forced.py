"""How likely given answers are to a model: what stays of an answer when a model was changed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demur.errors import InputError
from demur.models.hf.turns import Turn

if TYPE_CHECKING:
    from demur.models.hf.lalm import LALM


@dataclass(frozen=True)
class Likelihood:
    """Of some answers together, token by token, each given the true tokens before it."""

    tokens: int
    likeliest: int
    """Tokens of which no other was likelier."""
    loss: float
    """Sum of -log p, in nats."""

    @property
    def agreement(self) -> float:
        """Share of tokens that the model would have said, too."""
        return self.likeliest / self.tokens

    @property
    def perplexity(self) -> float:
        """exp of the mean loss; 1 where every token is certain."""
        return math.exp(self.loss / self.tokens)


def likelihood(lalm: "LALM", turns: Sequence[Turn], cut: Sequence[bool], *, batch_size: int = 8) -> Likelihood:
    """Of the answers of some turns.

    Where an answer was cut at so many tokens (`cut`), its end is no choice of anyone's and does not count.

    Raises:
        InputError: there is no turn to be asked.
    """
    import torch
    from torch.nn import functional

    if not turns:
        raise InputError("no answers to look at")
    tokens = likeliest = 0
    loss = 0.0
    for start in range(0, len(turns), batch_size):
        part = slice(start, start + batch_size)
        batch = lalm.encode(turns[part])
        labels = batch.pop("labels")
        labels[torch.tensor(cut[part]), -1] = -100
        with torch.inference_mode():
            logits = lalm.model(**batch, use_cache=False).logits[:, :-1]
        counted = labels[:, 1:] != -100
        wanted, said = labels[:, 1:][counted], logits[counted].float()
        tokens += len(wanted)
        likeliest += int((said.argmax(-1) == wanted).sum())
        loss += float(functional.cross_entropy(said, wanted, reduction="sum"))
    return Likelihood(tokens, likeliest, loss)
