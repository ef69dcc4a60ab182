"""LoRA on the language model: first, on text, to repeat when asked; then to read sound; at last, on text, to refuse.

SmolLM2-135M does not repeat a sentence when it is told to; what it cannot do on text it cannot be shown to do on sound.
All else that it says stays as it was: its own distribution is the target wherever nothing else is wanted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from demur.models.hf.anatomy import decoder_targets

if TYPE_CHECKING:
    from torch import Tensor

SCALE = 2
"""alpha / r, of every one."""
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj")


def add_lora(model: Any, rank: int, *, seed: int = 0) -> "dict[str, Tensor]":
    """Put LoRA into the text decoder, in place; its parameters by name, float32, the only ones that are trained."""
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=rank, lora_alpha=SCALE * rank, lora_dropout=0.0, target_modules=decoder_targets(model, MODULES)
    )
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)
    found = {}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if "lora_" in name:
            parameter.data = parameter.data.float()
            found[name] = parameter
    return found


@contextmanager
def without_lora(model: Any) -> Iterator[None]:
    """The model as it was before."""
    layers = _layers(model)
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def _layers(model: Any) -> list[Any]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
