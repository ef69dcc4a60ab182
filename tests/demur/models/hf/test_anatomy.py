from collections.abc import Callable

import pytest
import torch

from demur.errors import ModelError
from demur.models.hf import anatomy
from demur.models.hf.lalm import LALM, Turn

Load = Callable[[str], LALM]


def test_a_text_model_has_the_same_anatomy(load: Load) -> None:
    lalm = load("text")
    batch = lalm.encode([Turn(text="Hi?"), Turn(text="How is bread baked?")])
    states = anatomy.last_states(lalm.model, batch)
    assert states.requires_grad
    made = states @ anatomy.head_weight(lalm.model).T
    torch.testing.assert_close(made, lalm.model(**batch).logits[:, -1])
    assert anatomy.decoder_targets(lalm.model, ["q_proj"]) == [f"model.layers.{n}.self_attn.q_proj" for n in (0, 1)]


def test_a_model_that_peft_wraps_is_looked_into(load: Load) -> None:
    from copy import deepcopy

    from peft import LoraConfig, get_peft_model

    bare = deepcopy(load("qwen2_audio").model)
    layers = anatomy.decoder(bare)
    wrapped = get_peft_model(bare, LoraConfig(target_modules=anatomy.decoder_targets(bare, ["q_proj"])))
    assert anatomy.decoder(wrapped) is layers
    assert {name.split(".lora_")[0] for name, _ in wrapped.named_parameters() if "lora_" in name} == {
        f"base_model.model.model.language_model.layers.{number}.self_attn.q_proj" for number in (0, 1)
    }
    batch = load("qwen2_audio").encode([Turn(text="Hi?")])
    anatomy.last_states(wrapped, batch).square().sum().backward()
    assert all(parameter.grad is not None for name, parameter in wrapped.named_parameters() if "lora_B" in name)


def test_a_layer_that_no_decoder_has_is_named(load: Load) -> None:
    with pytest.raises(ModelError, match=r"no linear layer 'query'; there are: down_proj"):
        anatomy.decoder_targets(load("text").model, ["query"])
