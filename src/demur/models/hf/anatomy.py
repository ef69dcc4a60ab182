"""Where the text decoder and the output head of a model are: the one place that knows, for every family.

transformers' own `get_decoder()` and `get_output_embeddings()` say it, whatever the nesting; a model that PEFT wraps is
looked into.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from demur.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

_FUSED = {
    "q_proj": "qkv_proj",
    "k_proj": "qkv_proj",
    "v_proj": "qkv_proj",
    "gate_proj": "gate_up_proj",
    "up_proj": "gate_up_proj",
}
"""Where some decoders keep several linear layers as one."""


def base(model: "nn.Module") -> Any:
    """The transformers model inside the wrappers of several processes and of PEFT, or the model itself."""
    one = getattr(model, "module", model)
    inner = getattr(one, "get_base_model", None)
    return one if inner is None else inner()


def decoder(model: "nn.Module") -> "nn.Module":
    """The text decoder, which has `.layers` and `.norm`.

    Raises:
        ModelError: the model has none that can be found.
    """
    found: nn.Module | None = base(model).get_decoder()
    if found is None or not hasattr(found, "layers") or not hasattr(found, "norm"):
        raise ModelError(f"{type(base(model)).__name__}: no text decoder with .layers and .norm")
    return found


def head(model: "nn.Module") -> "nn.Module":
    """The output head: a linear layer from hidden state to logits.

    Raises:
        ModelError: the model has none that can be found.
    """
    found: nn.Module | None = base(model).get_output_embeddings()
    if found is None:
        raise ModelError(f"{type(base(model)).__name__}: no output head")
    return found


def head_weight(model: "nn.Module") -> "Tensor":
    """The head's weight, [V, d]: row v is what makes token v likely."""
    weight: Tensor = head(model).get_parameter("weight")
    return weight


def decoder_targets(model: "nn.Module", names: Sequence[str]) -> list[str]:
    """Full names of the text decoder's linear layers that end in one of `names`, for PEFT's `target_modules`.

    PEFT itself matches endings anywhere, so that `q_proj` would hit an audio tower too. Where a decoder keeps several
    layers as one (`qkv_proj`), the name of any of them stands for it. The experts of a mixture are bare parameters and
    no layers: they are left out.

    Raises:
        ModelError: a name is that of no linear layer in the decoder.
    """
    from torch import nn

    text = decoder(model)
    layers = next(name for name, module in base(model).named_modules() if module is text) + ".layers."
    linear = [
        name
        for name, module in base(model).named_modules()
        if name.startswith(layers) and isinstance(module, nn.Linear)
    ]
    endings = {name.rpartition(".")[2] for name in linear}
    wanted = {name if name in endings else _FUSED.get(name, name) for name in names}
    bare = {name.rpartition(".")[2] for name, _ in text.named_parameters()}
    if unknown := sorted(wanted - endings - bare):
        raise ModelError(
            f"{type(base(model)).__name__}: the text decoder has no linear layer {unknown[0]!r}; "
            f"there are: {', '.join(sorted(endings))}"
        )
    return [name for name in linear if name.rpartition(".")[2] in wanted]


def last_states(model: "nn.Module", batch: Mapping[str, "Tensor"]) -> "Tensor":
    """The head's input at the last position of a left-padded batch, [B, d]; with its graph where gradients are on.

    The head itself works on that position alone, also where a model's forward takes no `logits_to_keep`.
    """
    seen: list[Tensor] = []

    def keep_last(_head: "nn.Module", inputs: tuple["Tensor", ...]) -> tuple["Tensor"]:
        last = inputs[0][:, -1:].contiguous()  # of a slice, a product on a CPU copies the head's weight for each row
        seen.append(last[:, 0])
        return (last,)

    hook = head(model).register_forward_pre_hook(keep_last)
    try:
        model(**{name: value for name, value in batch.items() if name != "labels"}, use_cache=False)
    finally:
        hook.remove()
    return seen[-1]
