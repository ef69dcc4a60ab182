"""How much memory RRS takes in training, computed and not run: for a model that this machine could not hold.

    python benchmarks/finetune_memory.py

The decoder is made on PyTorch's meta device, which has shapes and no numbers. What autograd keeps for the backward pass
is counted by its saved-tensor hooks, storage by storage, at two depths; the difference is what one layer keeps. The
defaults are the decoder of Qwen2.5-Omni-7B's thinking part, which is Qwen2.5-7B, and questions of 5 s of speech.
"""

from typing import Annotated, Any

import typer

GIB = 2**30
AUDIO_TOKENS_A_SECOND = 25
TEXT_TOKENS = 60
"""System prompt, instruction and control tokens."""


def decoder(layers: int, sizes: dict[str, int]) -> Any:
    """A Qwen2 with adapters as RRS has them, in bf16 with fp32 adapters."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from demur.finetune.rrs import RRSOptions
    from demur.models.hf import anatomy

    options = RRSOptions()
    with torch.device("meta"):
        model = Qwen2ForCausalLM(Qwen2Config(num_hidden_layers=layers, tie_word_embeddings=False, **sizes)).bfloat16()
        config = LoraConfig(
            r=options.lora_r,
            lora_alpha=options.lora_alpha,  # type: ignore[arg-type]
            lora_dropout=options.lora_dropout,
            target_modules=anatomy.decoder_targets(model, options.targets),
        )
        return get_peft_model(model, config).train()


def kept_bytes(model: Any, batch: int, tokens: int) -> int:
    """Bytes of what autograd keeps of one forward pass, parameters left out."""
    import torch

    from demur.models.hf.anatomy import last_states

    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, Any] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    inputs: dict[str, Any] = {
        "input_ids": torch.ones(batch, tokens, dtype=torch.long, device="meta"),
        "attention_mask": {"full_attention": None},  # a mask would be looked into, and takes next to nothing
    }
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        states = last_states(model, inputs)
    del states
    return sum(storage.nbytes() for storage in kept.values())


def main(
    hidden: Annotated[int, typer.Option(help="Features.")] = 3584,
    inner: Annotated[int, typer.Option(help="Features inside the MLP.")] = 18944,
    layers: Annotated[int, typer.Option()] = 28,
    heads: Annotated[int, typer.Option()] = 28,
    kv_heads: Annotated[int, typer.Option()] = 4,
    vocabulary: Annotated[int, typer.Option()] = 152_064,
    weights_gb: Annotated[float, typer.Option(help="Of all weights in bf16, towers included, in 10^9 bytes.")] = 17.9,
    batch: Annotated[int, typer.Option(help="Questions in one forward pass.")] = 4,
    seconds: Annotated[float, typer.Option(help="Speech of a question.")] = 5.0,
) -> None:
    """Print a table of what is held, in GiB."""
    sizes = {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary,
    }
    tokens = round(AUDIO_TOKENS_A_SECOND * seconds) + TEXT_TOKENS
    few, more = decoder(1, sizes), decoder(2, sizes)
    layer = kept_bytes(more, batch, tokens) - kept_bytes(few, batch, tokens)
    adapters = layers * sum(
        parameter.numel() for name, parameter in few.named_parameters() if "lora_" in name and ".layers.0." in name
    )
    entering = batch * tokens * hidden * 2
    parts = {
        "weights, bf16": weights_gb * 1e9,
        f"adapters, {adapters / 1e6:.1f} M: fp32 weights, gradients, two moments": 16.0 * adapters,
        f"activations, {layers} layers of {layer / GIB:.3f} GiB": float(layers * layer),
        "  or with --gradient-checkpointing": float(layer + layers * entering),
    }
    for what, size in parts.items():
        print(f"{what:75} {size / GIB:7.2f} GiB")
    held, kept, less = sum(list(parts.values())[:2]), layers * layer, layer + layers * entering
    print(f"{batch} questions of {tokens} tokens: {(held + kept) / GIB:.1f} GiB,", end=" ")
    print(
        f"with --gradient-checkpointing {(held + less) / GIB:.1f} GiB, and what the GPU's libraries take (about 1 GiB)"
    )


if __name__ == "__main__":
    typer.run(main)
