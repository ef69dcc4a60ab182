"""A model's folder in; its model and processor out, whole, or one line that says what is wrong with it.

Weights come from safetensors alone. What the folder's config asks for and what its weights hold must be the same.
"""

import importlib.util
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from demur.errors import InputError, MissingDependency, ModelError
from demur.files import read_json
from demur.models.hf.families import Family
from demur.models.local import no_progress_bars

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def _faults() -> tuple[type[Exception], ...]:
    """What transformers raises, from many depths, where a file does not hold what it should."""
    from huggingface_hub import errors

    strict = getattr(errors, "StrictDataclassError", ValueError)  # newer hubs check the types in a config
    return OSError, ValueError, RuntimeError, AttributeError, ImportError, TypeError, KeyError, ArithmeticError, strict


def model_type(folder: Path) -> str:
    """What its `config.json` says it is; needs no transformers.

    Raises:
        ModelError: there is no such file, or not a model's.
    """
    try:
        config = read_json(folder / "config.json")
        return str(config["model_type"])
    except InputError as error:
        raise ModelError(f"{error}; {folder} is no transformers model, or one that is half downloaded") from None
    except (KeyError, TypeError):
        raise ModelError(f"{folder / 'config.json'}: names no model_type") from None


def load_model(folder: Path, family: Family, *, device: str, dtype: str, trust_remote_code: bool) -> Any:
    """The family's model, in evaluation mode.

    Raises:
        ModelError: weights are missing, damaged, of another shape or name than the config says, or fit no memory.
    """
    import safetensors
    import torch
    import transformers

    _check_shards(folder)
    place = _device(device)
    load: Any = getattr(transformers, family.model_class).from_pretrained
    try:
        with no_progress_bars(), _errors_alone():
            model, info = load(
                folder,
                config=_config(folder, family, trust_remote_code=trust_remote_code),
                dtype=dtype if dtype == "auto" else getattr(torch, dtype),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=trust_remote_code,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # for `_check_keys` to name
            )
        _check_keys(folder, family, info)
        return model.to(place).eval()
    except safetensors.SafetensorError as error:
        raise ModelError(f"{folder}: damaged weights ({error}); fetch it again") from None
    except _faults() as error:
        raise ModelError(
            f"{folder}: no {family.name} model that can be loaded from safetensors ({_line(error)})"
        ) from None


def load_processor(folder: Path, family: Family, *, trust_remote_code: bool) -> Any:
    """The processor of an audio model, the tokenizer of a text one; it pads on the left.

    Raises:
        ModelError: there is none, or it has no chat template.
    """
    import transformers

    if family.package is not None and importlib.util.find_spec(family.package) is None:
        raise MissingDependency(family.package.replace("_", "-"), extra=family.name.lower())
    kind = "processor" if family.audio else "tokenizer"
    load: Any = getattr(transformers, f"Auto{kind.capitalize()}").from_pretrained
    if family.processor is not None:
        load = partial(_load_ears, family.processor)
    try:
        processor = load(folder, local_files_only=True, trust_remote_code=trust_remote_code)
    except _faults() as error:
        raise ModelError(f"{folder}: no {kind} that transformers can load ({_line(error)})") from None
    tokenizer = processor.tokenizer if family.audio else processor
    if family.needs_template and not getattr(processor, "chat_template", None):
        raise ModelError(f"{folder}: this model has no chat template, so that it cannot be asked; take an instruct one")
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return processor


@contextmanager
def _errors_alone() -> Iterator[None]:
    """No reports of transformers' own: what matters in them ends in an error of ours."""
    import transformers

    logging: Any = transformers.utils.logging
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _load_ears(kind: str, folder: Path, **kwargs: Any) -> Any:
    """A processor of a class that also sees, with nothing in the place of its eyes, which would want torchvision."""
    import transformers
    from transformers.image_processing_utils import BaseImageProcessor
    from transformers.video_processing_utils import BaseVideoProcessor

    whole: Any = getattr(transformers, kind)
    ears: Any = type(kind, (_Ears, whole), {})
    auto: Any = transformers
    tokenizer = auto.AutoTokenizer.from_pretrained(folder, **kwargs)
    extractor = auto.AutoFeatureExtractor.from_pretrained(folder, **kwargs)
    described, _ = whole.get_processor_dict(folder, **kwargs)
    parts: dict[str, Any] = {
        "image_processor": BaseImageProcessor,
        "video_processor": BaseVideoProcessor,
        "feature_extractor": lambda: extractor,
        "tokenizer": lambda: tokenizer,
    }
    wanted = {name: parts[name]() for name in whole.get_attributes()}
    return ears(**wanted, chat_template=described.get("chat_template") or tokenizer.chat_template)


class _Ears:
    """What a processor need not check where it only hears."""

    def check_argument_for_proper_class(self, *_: Any) -> None:
        """The classes that see cannot even be looked up without torchvision."""

    def validate_inputs(self, *_: Any, **__: Any) -> None:
        """It takes a control token that a user wrote, which stays plain text, for a clip or an image."""


def _config(folder: Path, family: Family, *, trust_remote_code: bool) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
    except ValueError as error:
        if "trust_remote_code" in str(error):
            raise ModelError(
                f"{folder}: needs code that comes with the model; read that code, then allow it: --trust-remote-code"
            ) from None
        raise
    return config if family.config is None else getattr(config, family.config, config)


def _check_shards(folder: Path) -> None:
    """Say which weights are not there, which transformers says less plainly."""
    index = folder / INDEX
    if index.is_file():
        try:
            shards = set(read_json(index)["weight_map"].values())
        except (InputError, KeyError, TypeError, AttributeError):
            raise ModelError(f"{index}: not an index of weights; fetch it again") from None
        if missing := sorted(name for name in shards if not (folder / name).is_file()):
            raise ModelError(
                f"{folder}: {len(missing)} of {len(shards)} files of weights are missing (first: {missing[0]}); "
                "fetch the model again"
            )
    elif not (folder / WEIGHTS).is_file():
        raise ModelError(f"{folder}: no weights in safetensors ({WEIGHTS}); pickled ones are not read")


def _check_keys(folder: Path, family: Family, info: dict[str, Any]) -> None:
    """The weights are those of the config, but for parts that the family leaves aside; tied ones count as there."""
    unexpected = [key for key in info["unexpected_keys"] if not key.startswith(family.leaves_aside)]
    for what, keys in (
        ("has in another shape", [key for key, *_ in info["mismatched_keys"]]),
        ("lacks", info["missing_keys"]),
        ("has, which its config does not know,", unexpected),
    ):
        if keys:
            raise ModelError(f"{folder}: weights and config.json do not match: it {what} {_some(keys)}")


def _some(keys: Iterable[str]) -> str:
    first, *others = sorted(keys)
    return f"{first} and {len(others)} more" if others else first


def _device(name: str) -> str:
    import torch

    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    try:
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"--device {name}: there is none such here ({_line(error)})") from None
    return chosen


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
