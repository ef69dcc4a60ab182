"""Audio language models of a few thousand random weights, as transformers folders with their real processors.

Each is made from its family's own config, model, feature extractor and processor classes. The tokenizer has a token for
each byte and the family's control tokens; the chat template renders as the family's published one does.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from demur.audio import Samples

RATE = 16_000
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}
"""Of a text decoder."""
CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}AUDIO{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Of the Qwen families; AUDIO stands for what each has for a clip."""


def tone(hertz: float, seconds: float = 0.6) -> Samples:
    """A sine at half of full scale."""
    times = np.arange(round(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def byte_tokenizer(special: Sequence[str], *, eos: str, pad: str, **names: str) -> Any:
    """A token for each byte, after the special ones."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=eos, pad_token=pad, additional_special_tokens=list(special), **names
    )


def _save(folder: Path, make: Callable[[], Any], processor: Any, *, gain: float = 4, **generation: Any) -> Path:
    """The same random weights every time, large enough that tokens differ in likelihood."""
    import torch

    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = make()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.mul_(gain)
    model.generation_config.update(**generation)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def make_audio_flamingo3(folder: Path) -> Path:
    """A window of 2 s, of which it takes two."""
    from transformers import (
        AudioFlamingo3Config,
        AudioFlamingo3ForConditionalGeneration,
        AudioFlamingo3Processor,
        WhisperFeatureExtractor,
    )

    tokenizer = byte_tokenizer(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<sound>"], eos="<|im_end|>", pad="<|endoftext|>"
    )
    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=2)
    processor = AudioFlamingo3Processor(
        extractor, tokenizer, chat_template=CHATML.replace("AUDIO", "<sound>"), max_audio_len=4
    )
    config = AudioFlamingo3Config(
        audio_config={
            "num_mel_bins": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "hidden_size": 16,
            "max_source_positions": 100,
        },
        text_config={"model_type": "qwen2", "vocab_size": len(tokenizer), **SIZES},
        audio_token_id=tokenizer.convert_tokens_to_ids("<sound>"),
    )
    return _save(folder, lambda: AudioFlamingo3ForConditionalGeneration(config), processor, eos_token_id=2)


def make_qwen2_audio(folder: Path) -> Path:
    """A window of 2 s."""
    from transformers import (
        Qwen2AudioConfig,
        Qwen2AudioForConditionalGeneration,
        Qwen2AudioProcessor,
        WhisperFeatureExtractor,
    )

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"]
    tokenizer = byte_tokenizer(special, eos="<|im_end|>", pad="<|endoftext|>")
    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=2)
    template = CHATML.replace("AUDIO", "Audio 1: <|audio_bos|><|AUDIO|><|audio_eos|>\n")
    processor = Qwen2AudioProcessor(extractor, tokenizer, chat_template=template)
    config = Qwen2AudioConfig(
        audio_config={
            "num_mel_bins": 16,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "d_model": 16,
            "max_source_positions": 100,
            "model_type": "qwen2_audio_encoder",
        },
        text_config={"model_type": "qwen2", "vocab_size": len(tokenizer), **SIZES},
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    return _save(folder, lambda: Qwen2AudioForConditionalGeneration(config), processor, eos_token_id=[0, 2])


MAKERS: dict[str, Callable[[Path], Path]] = {
    "audioflamingo3": make_audio_flamingo3,
    "qwen2_audio": make_qwen2_audio,
}
"""By `model_type`; every family that demur claims is here."""
