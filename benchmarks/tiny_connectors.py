"""Which connector hears better: Qwen2-Audio's one linear layer, or Audio Flamingo 3's two with a GELU between them.

    python benchmarks/tiny_connectors.py --training DIR --steps 500

Both classes of transformers have the same encoder, so that only the connector differs. Each is trained by the stage
`spell` of `demur.tiny.train`, whose folder DIR is, on the same clips in the same order, and its word error rate is what
the states of 200 held-out clips spell.
"""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from demur.files import read_jsonl
from demur.tiny import model, speech, stages
from demur.tiny.connector import examples
from demur.tiny.language import Writer


def linear() -> Any:
    """demur-tiny before any training, with Qwen2-Audio's connector."""
    import torch
    from transformers import Qwen2AudioConfig
    from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioMultiModalProjector

    whole = model.untrained()
    config = Qwen2AudioConfig(
        audio_config={"d_model": whole.config.audio_config.hidden_size},
        text_config={"model_type": "llama", "hidden_size": whole.config.text_config.hidden_size},
    )
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        whole.model.multi_modal_projector = Qwen2AudioMultiModalProjector(config)
    return whole


def main(
    training: Annotated[Path, typer.Option(help="Folder of a training whose speech is there.")],
    steps: Annotated[int, typer.Option(min=1, help="Of 32 clips.")] = 500,
) -> None:
    """Train and measure both."""
    lessons = list(read_jsonl(training / "lessons.jsonl"))
    count = min(len(lessons), speech.SHARD * len(list((training / "speech").glob("mel-*.npz"))))
    turns = examples(lessons[:count], speech.load(training / "speech", count), Writer().tokenizer)
    held, trained = turns[: stages.HELD_OUT], turns[stages.HELD_OUT :]
    for name, make in (("two layers", model.untrained), ("one linear layer", linear)):
        with tempfile.TemporaryDirectory() as scratch:
            stages.spell(held, trained, Path(scratch), make=make, steps=steps, seed=0)
            rows = list(read_jsonl(Path(scratch) / "log.jsonl"))
        print(f"{name}: word error rate {rows[-1]['spelt_wer']:.3f}, loss {rows[-1]['loss']:.3f}", flush=True)


if __name__ == "__main__":
    typer.run(main)
