"""What `--adapter` takes: a folder, of PEFT's own form or of one of demur's small ones.

adapter_config.json, adapter_model.safetensors    PEFT's
adapter.json                                      demur's: {"kind": KIND, ...}, see `KINDS`
run.json                                          beside either: how `demur finetune` made it
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.errors import InputError, MissingDependency, ModelError
from demur.files import read_json, sha256_file, sha256_json
from demur.models.hf import anatomy, layers

if TYPE_CHECKING:
    from demur.models.hf.lalm import LALM

PEFT_CONFIG, PEFT_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
SMALL = "adapter.json"
RUN = "run.json"

STEER, SAFETY_PROMPT = "steer", "safety-prompt"
STEER_WEIGHTS = "steer.safetensors"


def attach(lalm: "LALM", folder: Path) -> None:
    """Change a loaded model into what the adapter makes of it.

    Raises:
        InputError: the folder holds no adapter, or one that does not fit the model.
        MissingDependency: peft is not installed.
    """
    check(folder)
    if (folder / SMALL).is_file():
        described = read_json(folder / SMALL)
        KINDS[described["kind"]](lalm, folder, described)
    else:
        lalm.model = _with_peft(lalm.model, folder)


def check(folder: Path) -> None:
    """Say what is wrong with an adapter's folder, before a model is loaded.

    Raises:
        InputError: it holds no adapter, or half of one.
    """
    if (folder / SMALL).is_file():
        described = read_json(folder / SMALL)
        kind = described.get("kind") if isinstance(described, dict) else None
        if kind not in KINDS:
            raise InputError(f"{folder / SMALL}: no adapter of kind {kind!r}; there are: {', '.join(sorted(KINDS))}")
        return
    if not (folder / PEFT_CONFIG).is_file():
        raise InputError(f"{folder}: no adapter here (neither {PEFT_CONFIG} nor {SMALL})")
    if not (folder / PEFT_WEIGHTS).is_file():
        raise InputError(f"{folder}: no {PEFT_WEIGHTS}; pickled weights are not read")


def fingerprint(folder: Path) -> str:
    """Tells what one adapter does to a model from what another does: by all bytes of the files that do it."""
    parts = (SMALL, PEFT_CONFIG, PEFT_WEIGHTS, STEER_WEIGHTS)
    return sha256_json({name: sha256_file(folder / name) for name in parts if (folder / name).is_file()})


def training_prompts(folder: Path) -> frozenset[str]:
    """`prompt_id` of every prompt that an adapter was made with; none where it does not say.

    Raises:
        InputError: its `run.json` is damaged.
    """
    if not (folder / RUN).is_file():
        return frozenset()
    record = read_json(folder / RUN)
    listed = record.get("training_prompts", []) if isinstance(record, dict) else None
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise InputError(f"{folder / RUN}: training_prompts is not a list of ids")
    return frozenset(listed)


def _with_peft(model: Any, folder: Path) -> Any:
    """The model in PEFT's wrapper, not merged, so that its numbers are those of training."""
    try:
        from peft import PeftModel
    except ImportError:
        raise MissingDependency("peft", extra="models") from None
    import safetensors

    try:
        wrapped = PeftModel.from_pretrained(model, str(folder), low_cpu_mem_usage=False)
        _check_keys(wrapped, folder)
    except (ValueError, RuntimeError, KeyError, TypeError, OSError, safetensors.SafetensorError) as error:
        line = " ".join(str(error).split())[:300]
        raise InputError(f"{folder}: this adapter does not fit {type(anatomy.base(model)).__name__} ({line})") from None
    return wrapped.eval()


def _check_keys(wrapped: Any, folder: Path) -> None:
    """Every weight of the adapter has its place, and every place its weight; PEFT itself takes what it can use."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(folder / PEFT_WEIGHTS, framework="pt") as file:
        there = len(file.keys())
    # read once more, for what is said of it; names of an older layout are PEFT's to translate
    found = wrapped.load_adapter(str(folder), wrapped.active_adapter)
    if differing := [*found.missing_keys, *found.unexpected_keys]:
        name = min(differing).replace(f".{wrapped.active_adapter}.", ".")
        raise ModelError(f"{folder}: weights and {PEFT_CONFIG} do not match: {name}")
    if there != (wanted := len(get_peft_model_state_dict(wrapped, save_embedding_layers=False))):
        raise ModelError(f"{folder}: {there} weights, where {PEFT_CONFIG} asks for {wanted}")


def _steer(lalm: "LALM", folder: Path, described: Mapping[str, Any]) -> None:
    """`layer`, `strength`, and beside it `vector` [d] in `steer.safetensors`: added to what the layer gives out."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        number, strength = int(described["layer"]), float(described["strength"])
        vector = load_file(folder / STEER_WEIGHTS)["vector"]
    except (KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
        raise InputError(f"{folder}: not a whole steering adapter ({error}); make it again") from None
    size = anatomy.head_weight(lalm.model).shape[1]
    if vector.shape != (size,) or not 0 <= number < layers.count(lalm.model):
        raise InputError(
            f"{folder}: this adapter does not fit the model: a vector of {vector.numel()} features at layer {number}, "
            f"where the model has {size} features and {layers.count(lalm.model)} layers"
        )
    layers.steer(lalm.model, number, strength * vector.to(lalm.device))


def _safety_prompt(lalm: "LALM", folder: Path, described: Mapping[str, Any]) -> None:
    """`system`: a system prompt for every turn that brings none."""
    prompt = described.get("system")
    if not isinstance(prompt, str) or not prompt:
        raise InputError(f"{folder / SMALL}: no system prompt; make it again")
    lalm.system = prompt


KINDS: dict[str, Callable[["LALM", Path, Mapping[str, Any]], None]] = {STEER: _steer, SAFETY_PROMPT: _safety_prompt}
"""What to do with a small adapter, by its `kind`: change the loaded model, given the folder and its `adapter.json`."""
