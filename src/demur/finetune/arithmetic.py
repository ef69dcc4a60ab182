"""The arithmetic of RRS (Yang et al., EMNLP 2025, arXiv 2505.19670) on captured representations.

N questions of a class, d features, V tokens:

    delta     = mean(H_R) - mean(H_B)          refusal shift, [d]
    c         = w_I * delta                    what each feature adds to the logit of "I", [d]
    delta_hat = mask(c) * delta                [d]
    t_H       = H_H + scale * delta_hat        targets, [N, d]
    t_B       = H_B - scale * delta_hat        ("away"), or H_B ("stay")
    penalty   = sum over modules of ||s B A||_F^2 = s^2 trace((B^T B)(A A^T)),  A [r, in], B [out, r]

Everything here takes and gives fp32; means are taken in fp64.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from demur.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Mask = Literal["positive", "top-m"]


@dataclass(frozen=True)
class Shift:
    """Where refusals lie, and the part of that way that makes "I" likelier."""

    delta: "Tensor"
    """[d]"""
    kept: "Tensor"
    """bool [d]: which features the mask keeps."""
    gain: float
    """Sum of the kept c: what the masked shift adds to the logit of "I"."""
    whole_gain: float
    """Sum of all c: what the whole shift adds."""

    @property
    def masked(self) -> "Tensor":
        """delta_hat, [d]."""
        return self.delta * self.kept


def refusal_shift(refusing: "Tensor", others: "Tensor") -> "Tensor":
    """mean(refusing) - mean(others), [N, d] and [M, d] to [d]."""
    return (refusing.double().mean(dim=0) - others.double().mean(dim=0)).float()


def mask_shift(delta: "Tensor", row: "Tensor", mask: Mask = "positive", fraction: float = 0.25) -> Shift:
    """Keep the features of a shift that raise a logit: `delta` [d] and the head's `row` of the token, [d].

    `positive` keeps every c >= 0; `top-m` the round(fraction * d) largest.

    Raises:
        InputError: the kept features do not raise the logit.
    """
    import torch

    c = row.float() * delta
    if mask == "positive":
        kept = c >= 0
    else:
        kept = torch.zeros_like(c, dtype=torch.bool)
        kept[c.topk(round(fraction * len(c))).indices] = True
    gain = float(c.double()[kept].sum())
    if not gain > 0:
        raise InputError(
            f"the refusal shift does not make refusals likelier: its {int(kept.sum())} kept features change the logit "
            f"of the refusal's first token by {gain:.3g}; this model does not follow the instruction to refuse, so "
            "there is nothing to move towards (try --centroid harmful, or align the model first)"
        )
    return Shift(delta, kept, gain, float(c.double().sum()))


def targets(states: "Tensor", shift: Shift, scale: float) -> "Tensor":
    """Where representations are to go: states + scale * delta_hat, [N, d]; a negative scale leads away."""
    return states + scale * shift.masked


def begins_with(states: "Tensor", weight: "Tensor", token: int) -> float:
    """Part of the rows whose likeliest token is this one: states [N, d], head weight [V, d]."""
    return float((head_logits(states, weight).argmax(dim=1) == token).float().mean())


def head_logits(states: "Tensor", weight: "Tensor") -> "Tensor":
    """What a head without bias makes of states [N, d]: fp32 [N, V], since in bfloat16 every fifth row has a tie."""
    return states.to(weight.device).float() @ weight.float().T


def adapted(model: Any) -> Iterator[tuple["Tensor", "Tensor", float]]:
    """A [r, in], B [out, r] and s of every low-rank adapter in a model that PEFT wraps."""
    for module in model.modules():
        for name, a in getattr(module, "lora_A", {}).items():
            yield a.weight, module.lora_B[name].weight, module.scaling[name]


def low_rank_penalty(adapters: Iterable[tuple["Tensor", "Tensor", float]]) -> "Tensor":
    """Sum of ||s B A||_F^2, a scalar, without a product of size [out, in]."""
    import torch

    return torch.stack([s**2 * ((b.T @ b) * (a @ a.T)).sum() for a, b, s in adapters]).sum()


def first_token(tokenizer: Any, word: str = "I") -> int:
    """The id of the token that is a word without a space before it.

    Raises:
        InputError: the tokenizer has no such single token.
    """
    ids = tokenizer.encode(word, add_special_tokens=False)
    unknown = getattr(tokenizer, "unk_token_id", None)
    if len(ids) != 1 or (unknown is not None and ids[0] == unknown):
        raise InputError(
            f"this model's tokenizer has no single token {word!r} (it gives {len(ids)}): name the token that its "
            "refusals begin with by --token"
        )
    return int(ids[0])
