"""Voxtral's turns: mistral-common renders them, from files of sound and without a jinja template."""

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from demur.audio import encode_flac

if TYPE_CHECKING:
    from torch import Tensor

    from demur.models.hf.lalm import LALM


def encode(lalm: "LALM", conversations: Sequence[Sequence[Any]]) -> "dict[str, Tensor]":
    """One left-padded batch that ends where the answer begins; clips are padded to whole windows of 30 s."""
    rate = lalm.sample_rate
    batch = lalm.processor.apply_chat_template([_as_files(_without_system(each), rate) for each in conversations])
    return dict(batch)


def _without_system(conversation: Sequence[Any]) -> Sequence[Any]:
    """A system prompt is the user's first words where there is audio, beside which Voxtral takes none."""
    first, *others = conversation
    if first["role"] != "system" or not any(part["type"] == "audio" for part in others[0]["content"]):
        return conversation
    said = "\n\n".join(part["text"] for part in (*first["content"], *others[0]["content"]) if part["type"] == "text")
    clips = [part for part in others[0]["content"] if part["type"] == "audio"]
    return [{"role": "user", "content": [*clips, {"type": "text", "text": said}]}]


def _as_files(conversation: Sequence[Any], rate: int) -> list[Any]:
    return [{**message, "content": [_part(part, rate) for part in message["content"]]} for message in conversation]


def _part(part: dict[str, Any], rate: int) -> dict[str, Any]:
    if part["type"] != "audio":
        return part
    return {"type": "audio", "base64": base64.b64encode(encode_flac(part["audio"], rate)).decode()}
