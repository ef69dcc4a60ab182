"""Tables from the Hugging Face Hub, through `datasets`: data files alone, never a repository's code."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from builders.prompts.source import Table
from demur.errors import InputError
from demur.files import sha256_bytes

if TYPE_CHECKING:
    import datasets

Part = tuple[str, str | None, str | None]
"""Repository, config and split; all splits where it is None."""


def load_tables(repo: str, config: str | None = None, split: str | None = None, *, advice: str = "") -> list[Table]:
    """The splits of a dataset as tables, named `repo/config/split`; labels by their names, no audio or images.

    Raises:
        InputError: it cannot be reached or loaded; the message says to download it and pass its path.
    """
    from datasets import Dataset, load_dataset

    try:
        data = load_dataset(repo, config, split=split)
    except Exception as error:  # datasets raises a dozen kinds: network, gated, no such config, broken files
        reason = str(error).strip().partition("\n")[0][:200]
        wanted = advice or "download its file and pass the file's path"
        raise InputError(f"{repo}: cannot be loaded from the Hugging Face Hub ({reason}); {wanted}") from None
    parts = {split: data} if isinstance(data, Dataset) else data
    return [_table("/".join(filter(None, [repo, config, str(name)])), part) for name, part in parts.items()]


def _table(name: str, data: "datasets.Dataset") -> Table:
    from datasets import ClassLabel, Value

    columns = [
        column
        for column, feature in data.features.items()
        if isinstance(feature, dict | ClassLabel) or (isinstance(feature, Value) and "binary" not in feature.dtype)
    ]
    rows = data.select_columns(columns).to_list()
    for column in columns:
        feature = data.features[column]
        if isinstance(feature, ClassLabel):
            for row in rows:
                row[column] = None if row[column] is None else feature.int2str(row[column])
    if not rows:
        raise InputError(f"{name}: no rows")
    data_hash = sha256_bytes(json.dumps(rows, sort_keys=True, default=str).encode())
    return Table(name, tuple(columns), rows, data_hash)


def published(
    homepage: str, parts: Mapping[str, Part], default: Sequence[str] = ()
) -> Callable[[str | None], list[Table]]:
    """How a known set is loaded from the Hub: all its parts (or those in `default`), or one by name."""

    def load(part: str | None) -> list[Table]:
        if part is not None and part not in parts:
            raise InputError(f"no file and no part named {part!r}; the parts are: {', '.join(parts) or 'none'}")
        if not parts:
            raise InputError(f"not on the Hugging Face Hub; download it from {homepage} and pass its path")
        advice = f"download it from {homepage} and pass its path"
        names = [part] if part else list(default or parts)
        return [table for name in names for table in load_tables(*parts[name], advice=advice)]

    return load
