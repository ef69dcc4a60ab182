"""LoRA on the language model, learnt on text alone: first to repeat when asked, later to refuse.

SmolLM2-135M does not repeat a sentence when it is told to; what it cannot do on text it cannot be shown to do on sound.
All else that it says stays as it was: its own distribution is the target wherever nothing else is wanted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from demur.models.hf.anatomy import decoder_targets

if TYPE_CHECKING:
    from torch import Tensor

RANK, ALPHA = 16, 32
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj")


def add_lora(model: Any, *, seed: int = 0) -> "dict[str, Tensor]":
    """Put LoRA into the text decoder, in place; its parameters by name, float32, the only ones that are trained."""
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=decoder_targets(model, MODULES))
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


def merge_lora(model: Any) -> None:
    """Add LoRA to the weights that it stands beside, and take it out: the model is a plain one again."""
    for layer, parent, name in list(_layers(model)):
        layer.merge()
        setattr(parent, name, layer.get_base_layer())


@contextmanager
def without_lora(model: Any) -> Iterator[None]:
    """The model as it was before."""
    layers = [layer for layer, _, _ in _layers(model)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def _layers(model: Any) -> Iterator[tuple[Any, Any, str]]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, BaseTunerLayer):
                yield child, parent, name
