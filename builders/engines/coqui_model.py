"""Where a Coqui model lies: a file of the user's, or Coqui's own cache. Nothing is downloaded unasked."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.engines.coqui_config import FETCHING, language_of, read_config, speakers_of
from demur.errors import EngineError, EngineUnavailable
from demur.files import read_json

CPML_URL = "https://tts-hub.github.io/cpml"
_CHECKPOINTS = ("model_file.pth", "model_file.pth.tar", "model.pth", "checkpoint.pth")


@dataclass(frozen=True)
class Located:
    """A model's files, and what a corpus must say of its voices."""

    checkpoint: Path
    config: Path
    speakers: Mapping[str, str | None]
    """Voice name to the model's own name of the speaker; None for the only speaker of a model."""
    language: str
    accent: str
    license: str
    vocoder: Path | None = None
    vocoder_config: Path | None = None


def locate(package: Path, model: str, config: str, *, download: bool) -> Located:
    """Find the model that the options name; `package` is the folder of Coqui's own package.

    Raises:
        EngineError: there is none, it is not in the cache, or the user has not accepted its licence.
        EngineUnavailable: it was to be downloaded and could not be.
    """
    if not model:
        raise EngineError("coqui needs a model: --engine-option coqui.model=FILE, or a name from: tts --list_models")
    if Path(model).exists():
        return _local(Path(model), config)
    if config or not model.startswith("tts_models/"):
        raise EngineError(f"coqui.model: {model}: no such file, nor a name such as tts_models/en/vctk/vits")
    return _named(model, read_json(package / ".models.json"), download=download)


def _local(model: Path, config: str) -> Located:
    folder = model if model.is_dir() else model.parent
    path = Path(config) if config else folder / "config.json"
    settings = read_config(path)
    if (settings.get("audio") or {}).get("stats_path"):
        raise EngineError(f"{path}: audio.stats_path names a pickle, which could run any code; demur does not load it")
    is_xtts = settings.get("model") == "xtts"
    if is_xtts:
        _check_terms(str(model), folder)
    language, accent = language_of(settings)
    speakers = _by_voice(speakers_of(settings, folder) or ["default"])
    return Located(model, path, speakers, language, accent, "CPML" if is_xtts else "unknown")


def _named(name: str, registry: Mapping[str, Any], *, download: bool) -> Located:
    item = _item(name, registry)
    if item.get("tos_required"):
        _check_terms(name, _data_folder(name))
    vocoder = item.get("default_vocoder")
    wanted = {part: _item(part, registry) for part in (name, vocoder) if part}
    if not all(_cached(part, entry) for part, entry in wanted.items()):
        if not download:
            raise EngineError(
                f"coqui.model: {name} is not in Coqui's cache; to download it: --engine-option coqui.download=yes, "
                f"or: tts --model_name {name} --text Hello --out_path hello.wav"
            )
        _download(wanted)
    files = {part: _files(part, _cached(part, entry)) for part, entry in wanted.items()}
    checkpoint, config = files[name]
    settings = read_config(config)
    language, accent = language_of(settings)
    speakers = _by_voice(speakers_of(settings, config.parent) or ["-".join(name.split("/")[2:])])
    license_name = str(item.get("license") or "unknown")
    return Located(checkpoint, config, speakers, language, accent, license_name, *files.get(vocoder, (None, None)))


def _by_voice(speakers: list[str]) -> dict[str, str | None]:
    alone = len(speakers) == 1  # Coqui takes no speaker's name where there is no choice
    return {str(speaker).strip(): None if alone else speaker for speaker in speakers}


def _item(name: str, registry: Mapping[str, Any]) -> Mapping[str, Any]:
    """What Coqui's registry says of a model; Meta's `fairseq` models are not in it and all have one licence."""
    group, language, dataset, kind = [*name.split("/"), "", "", ""][:4]
    if dataset == "fairseq":
        return {"license": "CC BY-NC 4.0"}
    siblings: Mapping[str, Any] = registry.get(group, {}).get(language, {})
    item: Mapping[str, Any] | None = siblings.get(dataset, {}).get(kind)
    if item is None:
        known = [f"{group}/{language}/{other}/{model}" for other, models in siblings.items() for model in models]
        raise EngineError(f"coqui.model: no model {name}; there are: {', '.join(known) or 'see tts --list_models'}")
    if kind.startswith(FETCHING):
        raise EngineError(f"coqui.model: {name} is not supported: it downloads files while it loads")
    return item


def _check_terms(model: str, folder: Path) -> None:
    """The licence of XTTS is the user's to accept, never ours."""
    if os.environ.get("COQUI_TOS_AGREED") != "1" and not (folder / "tos_agreed.txt").is_file():
        raise EngineError(
            f"{model}: its licence, the CPML ({CPML_URL}), forbids commercial use and is yours to accept: "
            "read it, and if you agree set the environment variable COQUI_TOS_AGREED=1"
        )


def _data_folder(name: str) -> Path:
    try:
        from trainer.io import get_user_data_dir
    except ImportError as error:
        raise EngineError(f"coqui-tts cannot be imported: {error}") from None
    return Path(get_user_data_dir("tts")) / name.replace("/", "--")


def _cached(name: str, item: Mapping[str, Any]) -> Path | None:
    """The folder that Coqui has downloaded a model to, if it has: its own, or the Hugging Face cache."""
    if "repo_id" not in item:
        folder = _data_folder(name)
        return folder if folder.is_dir() else None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                item["repo_id"],
                allow_patterns=item.get("allow"),
                ignore_patterns=item.get("ignore"),
                local_files_only=True,
            )
        )
    except LocalEntryNotFoundError:
        return None


def _download(names: Iterable[str]) -> None:
    try:
        from TTS.utils.manage import ModelManager

        manager = ModelManager(progress_bar=True)
        for name in names:
            manager.download_model(name)
    except Exception as error:  # Coqui has no common base for its errors
        raise EngineUnavailable(f"coqui could not download {', '.join(names)}: {error}") from None


def _files(name: str, folder: Path | None) -> tuple[Path, Path]:
    """The checkpoint and config of a downloaded model."""
    if folder is not None and (folder / "config.json").is_file():
        named = [folder / file for file in _CHECKPOINTS if (folder / file).is_file()]
        if checkpoints := named or sorted(folder.rglob("*.pt*")):
            return checkpoints[0], folder / "config.json"
    raise EngineError(f"coqui.model: {name}: {folder} does not hold a whole model; delete it and download it again")
