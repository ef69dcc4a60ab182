"""What the config of a Coqui model says of its speakers and language, without loading the model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builders.engines.common import language_and_accent
from demur.errors import EngineError, InputError
from demur.files import read_json

FETCHING = ("bark", "tortoise")
"""Families that download further files while they load."""
_TABLES = ("audio", "model_args")
_SPEAKER_FILES = ("speaker_file", "speakers_file")
_FILES = (
    *_SPEAKER_FILES,
    "d_vector_file",
    "language_ids_file",
    "speaker_encoder_config_path",
    "speaker_encoder_model_path",
)


def read_config(path: Path) -> dict[str, Any]:
    """A model's config, once it is sure that Coqui would fetch nothing that it names.

    Raises:
        EngineError: it is missing, not a config, or names something to fetch.
    """
    try:
        config = read_json(path)
    except InputError as error:
        raise EngineError(f"coqui.config: {error}") from None
    if not isinstance(config, dict) or any(not isinstance(config.get(part) or {}, dict) for part in _TABLES):
        raise EngineError(f"coqui.config: {path}: not the config of a model")
    if str(config.get("model")).startswith(FETCHING):
        raise EngineError(
            f"coqui.config: {path}: {config['model']} is not supported: it downloads files while it loads"
        )
    for key in _FILES:
        if "://" in str(_setting(config, key)):
            raise EngineError(f"coqui.config: {path}: {key} is an address; download the file and name it there instead")
    return config


def speakers_of(config: Mapping[str, Any], folder: Path) -> list[str]:
    """The speakers of a model whose config lies in `folder`, found where Coqui finds them; [] if it names none."""
    if _setting(config, "use_speaker_embedding"):
        listed = config.get("speakers")
        return list(listed) if listed else _names_in(_setting(config, *_SPEAKER_FILES))
    if _setting(config, "use_d_vector_file"):
        return _names_in(_setting(config, "d_vector_file"))
    if config.get("model") == "xtts" and (folder / "speakers_xtts.pth").is_file():
        return _names_in(folder / "speakers_xtts.pth")
    return []


def language_of(config: Mapping[str, Any]) -> tuple[str, str]:
    """Language and BCP 47 tag of the accent; English where the model speaks it among others, or does not say."""
    datasets = [part.get("language") for part in config.get("datasets") or [] if isinstance(part, dict)]
    tags = [str(tag) for tag in (config.get("languages") or datasets) if tag] or [
        config.get("phoneme_language") or "en"
    ]
    return language_and_accent(next((tag for tag in tags if tag.startswith("en")), tags[0]))


def _setting(config: Mapping[str, Any], *keys: str) -> Any:
    """The first of these that is set, in the model's arguments or else beside them."""
    arguments = config.get("model_args") or {}
    return next((value for key in keys if (value := arguments.get(key) or config.get(key))), None)


def _names_in(file: Any) -> list[str]:
    """Speakers in a JSON or `.pth` file: its keys, or the `name` of each clip where it holds embeddings by clip."""
    names: dict[str, None] = {}
    for path in [Path(part) for part in (file if isinstance(file, list) else [file]) if part]:
        table = _load_table(path)
        by_clip = [str(entry["name"]) for entry in table.values() if isinstance(entry, dict) and "name" in entry]
        names.update(dict.fromkeys(by_clip or map(str, table)))
    return list(names)


def _load_table(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise EngineError(f"coqui.config: {path}: the speakers should be in this file, but it does not exist")
    try:
        if path.suffix == ".pth":
            import torch

            table = torch.load(path, map_location="cpu", weights_only=True)
        else:
            table = read_json(path)
    except Exception as error:  # torch has no common base for its errors
        raise EngineError(f"coqui.config: {path}: cannot be read: {error}") from None
    if not isinstance(table, dict):
        raise EngineError(f"coqui.config: {path}: not a table of speakers")
    return table
