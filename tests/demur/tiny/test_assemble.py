from pathlib import Path

import pytest
import torch

from demur.errors import InputError
from demur.tiny import assemble
from demur.tiny.lora import add_lora, without_lora


@pytest.fixture
def small() -> torch.nn.Module:
    """A text model of two layers inside a shell, as the trained parts name it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=64,
    )
    return LlamaForCausalLM(config).eval()


def test_lora_is_folded_in(small: torch.nn.Module) -> None:
    """The plain weights with the sum in place answer as the model with LoRA beside its weights."""
    from copy import deepcopy

    plain = deepcopy(small)
    lora = add_lora(small, 4)
    ids = torch.arange(8)[None]
    with torch.no_grad():
        before = plain(ids).logits
        for value in lora.values():
            value.copy_(torch.randn_like(value) / 10)
        expected = small(ids).logits
        with without_lora(small):
            torch.testing.assert_close(small(ids).logits, before)
        parts = {}
        for name, value in lora.items():
            module, _, end = name.removesuffix(".default.weight").rpartition(".lora_")
            parts[f"reading.{module}.{end}"] = value
        assemble.place(plain, parts)
        torch.testing.assert_close(plain(ids).logits, expected, rtol=1e-4, atol=1e-5)
    assert float((expected - before).abs().max()) > 1e-3


def test_only_lora_is_trained(small: torch.nn.Module) -> None:
    lora = add_lora(small, 4)
    assert {name for name, value in small.named_parameters() if value.requires_grad} == set(lora)
    assert {name.split(".")[4] for name in lora} == {"q_proj", "k_proj", "v_proj", "o_proj"}


def test_a_part_without_a_place(small: torch.nn.Module) -> None:
    with pytest.raises(InputError, match=r"no place in the model: engine\.weight"):
        assemble.place(small, {"engine.weight": torch.zeros(1)})


def test_damaged_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "demur-tiny.safetensors"
    damaged.write_bytes(b"half")
    monkeypatch.setattr(assemble, "WEIGHTS", damaged)
    monkeypatch.setattr(assemble, "weights_sha256", lambda: "0" * 64)
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match="damaged; install demur again"):
        assemble.tiny_folder()
