"""Audio language models of a few thousand random weights, as transformers folders with their real processors.

Each is made from its family's own config, model, feature extractor and processor classes. The tokenizer has a token for
each byte and the family's control tokens; the chat template renders as the family's published one does.
"""

import base64
import json
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
    """A token for each byte, after the special ones, of which some have a name of their own (`audio_token=`)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=eos, pad_token=pad, extra_special_tokens=names or list(special)
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
    return _make_flamingo(folder, "AudioFlamingo3", "<sound>")


def make_music_flamingo(folder: Path) -> Path:
    """The same with marks around a clip; no family of demur's own."""
    return _make_flamingo(folder, "MusicFlamingo", "<|sound_bos|><sound><|sound_eos|>")


def _make_flamingo(folder: Path, kind: str, clip: str) -> Path:
    import transformers

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<sound>", "<|sound_bos|>", "<|sound_eos|>"]
    tokenizer = byte_tokenizer(special, eos="<|im_end|>", pad="<|endoftext|>")
    processor = getattr(transformers, f"{kind}Processor")(
        transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=2),
        tokenizer,
        chat_template=CHATML.replace("AUDIO", clip),
        max_audio_len=4,
    )
    config = getattr(transformers, f"{kind}Config")(
        audio_config={
            "model_type": "audioflamingo3_encoder",
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
    model = getattr(transformers, f"{kind}ForConditionalGeneration")
    return _save(folder, lambda: model(config), processor, eos_token_id=2)


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


OMNI_TOKENS = {
    "audio_token": "<|AUDIO|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
    "image_token": "<|IMAGE|>",
    "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
}
OMNI_AUDIO = {
    "num_mel_bins": 16,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "d_model": 16,
    "max_source_positions": 200,
    "output_dim": SIZES["hidden_size"],
}


def _omni_tokenizer() -> Any:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *OMNI_TOKENS.values()]
    tokenizer = byte_tokenizer(special, eos="<|im_end|>", pad="<|endoftext|>", **OMNI_TOKENS)
    tokenizer.chat_template = CHATML.replace("AUDIO", "<|audio_bos|><|AUDIO|><|audio_eos|>")
    return tokenizer


def _save_ears(folder: Path, tokenizer: Any) -> None:
    """A window of 2 s; no settings for images and videos."""
    from transformers import WhisperFeatureExtractor

    WhisperFeatureExtractor(feature_size=16, chunk_length=2).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_qwen2_5_omni(folder: Path) -> Path:
    """The whole checkpoint's layout, of which demur takes the part that thinks."""
    from transformers import Qwen2_5OmniConfig, Qwen2_5OmniForConditionalGeneration

    tokenizer = _omni_tokenizer()
    thinker = {
        "audio_config": {**OMNI_AUDIO, "n_window": 20},
        "vision_config": {
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": SIZES["hidden_size"],
            "fullatt_block_indexes": [0],
        },
        "text_config": {
            **SIZES,
            "vocab_size": len(tokenizer),
            "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 2]},
        },
        "audio_token_index": tokenizer.audio_token_id,
        "image_token_index": tokenizer.image_token_id,
        "video_token_index": tokenizer.video_token_id,
        "audio_start_token_id": tokenizer.convert_tokens_to_ids("<|audio_bos|>"),
        "audio_end_token_id": tokenizer.convert_tokens_to_ids("<|audio_eos|>"),
        "vision_start_token_id": tokenizer.convert_tokens_to_ids("<|vision_bos|>"),
        "vision_end_token_id": tokenizer.convert_tokens_to_ids("<|vision_eos|>"),
    }
    config = Qwen2_5OmniConfig(thinker_config=thinker, enable_audio_output=False)
    _save_ears(folder, tokenizer)
    return _save(folder, lambda: Qwen2_5OmniForConditionalGeneration(config), tokenizer)


def make_qwen3_omni(folder: Path) -> Path:
    """The whole checkpoint's layout, of which demur takes the part that thinks."""
    from transformers import Qwen3OmniMoeConfig, Qwen3OmniMoeForConditionalGeneration

    tokenizer = _omni_tokenizer()
    thinker = {
        "audio_config": {**OMNI_AUDIO, "n_window": 50, "n_window_infer": 100, "downsample_hidden_size": 8},
        "vision_config": {
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": SIZES["hidden_size"],
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [],
        },
        "text_config": {
            **SIZES,
            "vocab_size": len(tokenizer),
            "head_dim": 8,
            "moe_intermediate_size": 16,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 1, 1]},
        },
        "audio_token_id": tokenizer.audio_token_id,
        "image_token_id": tokenizer.image_token_id,
        "video_token_id": tokenizer.video_token_id,
        "audio_start_token_id": tokenizer.convert_tokens_to_ids("<|audio_bos|>"),
        "vision_start_token_id": tokenizer.convert_tokens_to_ids("<|vision_bos|>"),
        "vision_end_token_id": tokenizer.convert_tokens_to_ids("<|vision_eos|>"),
    }
    config = Qwen3OmniMoeConfig(thinker_config=thinker, enable_audio_output=False)
    _save_ears(folder, tokenizer)
    return _save(folder, lambda: Qwen3OmniMoeForConditionalGeneration(config), tokenizer)


def make_voxtral(folder: Path) -> Path:
    """Its tokenizer is mistral-common's; the windows are of 30 s, which nothing can change."""
    from transformers import VoxtralConfig, VoxtralForConditionalGeneration, WhisperFeatureExtractor

    names = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]"]
    names += ["[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]"]
    names += ["[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]", "[ARGS]", "[CALL_ID]", "[SPARE_22]"]
    names += ["[SPARE_23]", "[AUDIO]", "[BEGIN_AUDIO]", "[TRANSCRIBE]"]
    tekken = {
        "config": {
            "pattern": r"[^\r\n]|[\r\n]",
            "num_vocab_tokens": 256,
            "default_vocab_size": 256 + len(names),
            "default_num_special_tokens": len(names),
            "version": "v11",
        },
        "vocab": [
            {"rank": byte, "token_bytes": base64.b64encode(bytes([byte])).decode(), "token_str": None}
            for byte in range(256)
        ],
        "special_tokens": [{"rank": rank, "token_str": name, "is_control": True} for rank, name in enumerate(names)],
        "audio": {
            "sampling_rate": RATE,
            "frame_rate": 12.5,
            "audio_encoding_config": {"num_mel_bins": 16, "hop_length": 160, "window_size": 400},
            "chunk_length_s": 30.0,
        },
    }
    config = VoxtralConfig(
        audio_config={
            "hidden_size": 16,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_mel_bins": 16,
        },
        text_config={"model_type": "llama", "vocab_size": 256 + len(names), "head_dim": 8, **SIZES},
        audio_token_id=names.index("[AUDIO]"),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tekken.json").write_text(json.dumps(tekken))
    extractor = WhisperFeatureExtractor(feature_size=16)
    return _save(folder, lambda: VoxtralForConditionalGeneration(config), extractor, eos_token_id=2)


MAKERS: dict[str, Callable[[Path], Path]] = {
    "audioflamingo3": make_audio_flamingo3,
    "qwen2_audio": make_qwen2_audio,
    "qwen2_5_omni": make_qwen2_5_omni,
    "qwen3_omni_moe": make_qwen3_omni,
    "voxtral": make_voxtral,
}
"""By `model_type`; every family that demur claims is here."""
