import struct
from pathlib import Path

import numpy as np
import pytest

from demur.errors import InputError
from demur.tiny.whisper import encoder_weights


def text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def model_file(version: int = 6, *, cut: int = 0) -> bytes:
    """A file of one layer of width 2, each weight filled with numbers of its own."""
    shapes = {
        "encoder/conv1/weight": (2, 3, 3),
        "encoder/layer_0/self_attention/linear_0/weight": (6, 2),
        "encoder/layer_0/self_attention/linear_0/bias": (6,),
        "encoder/layer_0/ffn/layer_norm/gamma": (2,),
        "encoder/position_encodings/encodings": (5, 2),
        "decoder/layer_norm/beta": (2,),
    }
    made = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(shapes) + 1)
    for name, shape in shapes.items():
        values = np.arange(np.prod(shape), dtype="<f2")
        made += text(name) + struct.pack(f"<B{len(shape)}I", len(shape), *shape)
        made += struct.pack("<BI", 4, values.nbytes) + values.tobytes()
    made += text("encoder/num_heads") + struct.pack("<B", 0) + struct.pack("<BI", 2, 2) + b"\x06\x00"
    return made[: len(made) - cut]


def test_names_and_parts(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(model_file())
    weights = encoder_weights(tmp_path / "model.bin", positions=3)
    assert {name: value.shape for name, value in weights.items()} == {
        "conv1.weight": (2, 3, 3),
        "layers.0.self_attn.q_proj.weight": (2, 2),
        "layers.0.self_attn.k_proj.weight": (2, 2),
        "layers.0.self_attn.v_proj.weight": (2, 2),
        "layers.0.self_attn.q_proj.bias": (2,),
        "layers.0.self_attn.v_proj.bias": (2,),
        "layers.0.final_layer_norm.weight": (2,),
        "embed_positions.weight": (3, 2),
    }
    assert weights["layers.0.self_attn.k_proj.weight"].tolist() == [[4, 5], [6, 7]]
    assert weights["layers.0.self_attn.v_proj.bias"].tolist() == [4, 5]


@pytest.mark.parametrize("data", [b"", b"\x06\0\0", model_file(cut=40), b"PK\x03\x04" + bytes(50)])
def test_what_is_no_model_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.bin").write_bytes(data)
    with pytest.raises(InputError, match=r"model\.bin"):
        encoder_weights(tmp_path / "model.bin", positions=3)


def test_another_version(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(model_file(version=7))
    with pytest.raises(InputError, match="version 7; this reads version 6"):
        encoder_weights(tmp_path / "model.bin", positions=3)


@pytest.mark.slow
def test_the_encoder_hears_as_ctranslate2s_does() -> None:
    """The same states from the same sound: every weight is in its place, queries, keys and values in their order."""
    import ctranslate2
    import torch
    from transformers import WhisperFeatureExtractor
    from transformers.models.whisper.configuration_whisper import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    from demur.assets import WHISPER_TINY_EN, fetch

    folder = fetch(WHISPER_TINY_EN)
    config = WhisperConfig(encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536, d_model=384)
    encoder = WhisperEncoder(config).eval()
    weights = encoder_weights(folder / "model.bin", positions=1500)
    encoder.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
    sound = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    features = WhisperFeatureExtractor()(sound, sampling_rate=16_000, return_tensors="np")["input_features"]
    theirs = ctranslate2.models.Whisper(str(folder), compute_type="float32")
    expected = np.array(theirs.encode(ctranslate2.StorageView.from_array(features)))
    with torch.no_grad():
        found = encoder(torch.from_numpy(features)).last_hidden_state.numpy()
    np.testing.assert_allclose(found, expected, atol=2e-2)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9999
