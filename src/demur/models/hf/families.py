"""What differs between families of audio language models: one row each.

A turn is rendered by the checkpoint's own chat template, audio first, then text; `text_only` is the same without the
audio, `audio_only` without the text. So a row says which class loads the model, how much audio it takes, and what
else is particular to it. Decoder and head are found by `anatomy` for all of them alike.

Any installed package may add a row, by its `model_type`:

    [project.entry-points."demur.families"]
    mytype = "my_package:FAMILY"        # FAMILY = Family(...)
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from demur import plugins
from demur.models.hf import voxtral

if TYPE_CHECKING:
    from torch import Tensor

    from demur.models.hf.lalm import LALM

Conversation = Sequence[Any]
"""Messages as chat templates take them; a clip is `{"type": "audio", "audio": samples}`."""


def by_template(lalm: "LALM", conversations: Sequence[Conversation]) -> "dict[str, Tensor]":
    """One left-padded batch that ends at the generation prompt; control tokens in what users say stay plain text."""
    shape: dict[str, Any] = {"padding": True, "return_tensors": "pt"}
    if lalm.family.audio:
        sound: dict[str, Any] = {"sampling_rate": lalm.sample_rate}
        if lalm.family.pads_to_window and (lengths := list(_clip_lengths(conversations))):
            sound["max_length"] = max(lengths)
        kwargs: Any = {"processor_kwargs": {"text_kwargs": shape, "audio_kwargs": sound}}
    else:
        kwargs = shape
    batch = lalm.processor.apply_chat_template(
        list(conversations),
        tokenize=True,
        return_dict=True,
        add_generation_prompt=True,
        sanitize_control_tokens=True,
        **kwargs,
    )
    return {name: value for name, value in batch.items() if value is not None}


def _clip_lengths(conversations: Sequence[Conversation]) -> Iterator[int]:
    for conversation in conversations:
        for message in conversation:
            yield from (len(part["audio"]) for part in message["content"] if part["type"] == "audio")


@dataclass(frozen=True)
class Family:
    """One family, by the `model_type` of its `config.json`."""

    name: str
    model_type: str
    model_class: str
    """Of transformers; what is loaded and trained."""
    max_audio_s: Callable[[Any], float | None]
    """Seconds of audio that one turn may have, from the processor; None: no limit of its own."""
    mixed: bool = True
    """Whether one batch may hold turns with audio and turns without."""
    encode: Callable[["LALM", Sequence[Conversation]], "dict[str, Tensor]"] = by_template
    """Conversations in, one left-padded batch out."""
    audio: bool = True
    pads_to_window: bool = False
    """Whether its processor pads every clip to a window (of minutes) that its encoder does not ask for."""
    config: str | None = None
    """The part of the checkpoint's config that the class wants, where the checkpoint holds more than one model."""
    leaves_aside: tuple[str, ...] = ()
    """Beginnings of names of weights that the checkpoint may hold beside the class's own."""
    processor: str | None = None
    """The processor's class where it also sees: demur then loads it without its eyes, which want torchvision."""
    needs_template: bool = True
    """Whether the checkpoint must have a jinja chat template."""
    package: str | None = None
    """What must be installed beside transformers: the extra is named after the family."""


def _window(processor: Any) -> float:
    """One window of Whisper's feature extractor."""
    return float(processor.feature_extractor.chunk_length)


def _whole_windows(processor: Any) -> float:
    """Audio Flamingo cuts into windows and takes so many whole ones as fit its limit."""
    window: float = processor.feature_extractor.chunk_length
    return float(processor.max_audio_len // window * window)


FAMILIES = (
    Family(
        "Audio Flamingo 3",
        "audioflamingo3",
        "AudioFlamingo3ForConditionalGeneration",
        max_audio_s=_whole_windows,
        mixed=False,  # the processor wants one clip for each text
    ),
    Family(
        "Qwen2-Audio",
        "qwen2_audio",
        "Qwen2AudioForConditionalGeneration",
        max_audio_s=_window,
    ),
    Family(
        "Qwen2.5-Omni",
        "qwen2_5_omni",
        "Qwen2_5OmniThinkerForConditionalGeneration",
        max_audio_s=_window,
        pads_to_window=True,
        config="thinker_config",
        processor="Qwen2_5OmniProcessor",
    ),
    Family(
        "Qwen3-Omni",
        "qwen3_omni_moe",
        "Qwen3OmniMoeThinkerForConditionalGeneration",
        max_audio_s=lambda _processor: None,  # its processor does not cut at the window
        config="thinker_config",
        processor="Qwen3OmniMoeProcessor",
    ),
    Family(
        "Voxtral",
        "voxtral",
        "VoxtralForConditionalGeneration",
        max_audio_s=lambda _processor: None,
        encode=voxtral.encode,
        needs_template=False,
        package="mistral_common",
    ),
)
TEXT = Family("text", "", "AutoModelForCausalLM", max_audio_s=lambda _processor: None, audio=False)
"""Every causal language model with a chat template."""


def find_family(model_type: str) -> Family:
    """The row of a `model_type`, here or in another package; what has none is taken for a text model."""
    if model_type in plugins.names(plugins.FAMILIES):
        found: Family = plugins.find(plugins.FAMILIES, model_type)
        return found
    return next((family for family in FAMILIES if family.model_type == model_type), TEXT)
