"""The residual stream of a text decoder: what its layers give out, and adding to it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from demur.models.hf import anatomy

if TYPE_CHECKING:
    from torch import Tensor, nn


def count(model: "nn.Module") -> int:
    """How many layers the text decoder has."""
    return len(_layers(model))


def at_height(model: "nn.Module", height: float) -> int:
    """The number of the layer at a height from 0 (the first) to 1 (the last)."""
    return round(height * (count(model) - 1))


@contextmanager
def outputs(model: "nn.Module", numbers: Sequence[int]) -> Iterator[dict[int, "Tensor"]]:
    """What some layers give out, [B, T, d] by number: of the latest forward pass, graph and all."""
    seen: dict[int, Tensor] = {}

    def keep(number: int) -> Any:
        def hook(_layer: "nn.Module", _inputs: Any, output: Any) -> None:
            seen[number] = output[0] if isinstance(output, tuple) else output

        return hook

    hooks = [_layers(model)[number].register_forward_hook(keep(number)) for number in numbers]
    try:
        yield seen
    finally:
        for each in hooks:
            each.remove()


def steer(model: "nn.Module", number: int, vector: "Tensor") -> Any:
    """Add a vector [d] to what a layer gives out, at every position; `.remove()` of what is returned ends it."""

    def hook(_layer: "nn.Module", _inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (output[0] + vector.to(output[0]), *output[1:])
        return output + vector.to(output)

    return _layers(model)[number].register_forward_hook(hook)


def _layers(model: "nn.Module") -> Any:
    return anatomy.decoder(model).layers
