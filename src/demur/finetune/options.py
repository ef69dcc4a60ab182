"""The choices that methods share. Every default is the published one, where there is one.

A field's description is the help of its command-line option: `learning_rate` is `--learning-rate`.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from demur.nouns import Modality

Height = Annotated[float, Field(ge=0, le=1)]
"""Of a layer: 0 is the first, 1 the last."""


class Options(BaseModel):
    """What every method may be told."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    plain_benign: bool = Field(
        False, description="Also use the plain benign prompts of the corpus, beside the benign twins."
    )
    validation: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Part of the pairs that is kept for validation; the best checkpoint is chosen there.",
    )
    validation_tokens: int = Field(48, ge=1, description="Tokens of a validation answer, at most.")
    validation_modalities: tuple[Modality, ...] = Field(
        (Modality.AUDIO_TEXT,),
        min_length=1,
        description="How validation questions are asked; name it several times for several. Rates are their mean.",
    )
    token: str = Field("I", min_length=1, description="The token that a refusal of this model begins with.")
    batch_size: int = Field(
        16, ge=1, description="Questions that are captured or answered together; no effect on training."
    )


class TrainOptions(Options):
    """What every method that trains low-rank adapters may be told."""

    epochs: int = Field(10, ge=1, description="Times that training goes through the data.")
    learning_rate: float = Field(5e-5, gt=0, description="Of AdamW at the start; it falls in a line to 0.")
    train_batch: int = Field(4, ge=1, description="Questions in one forward pass on one device.")
    accumulation: int = Field(2, ge=1, description="Forward passes in one step of the optimiser.")
    beta1: float = Field(0.9, ge=0, lt=1, description="AdamW's decay of the mean gradient.")
    beta2: float = Field(0.98, ge=0, lt=1, description="AdamW's decay of the mean squared gradient.")
    weight_decay: float = Field(1e-3, ge=0, description="AdamW's weight decay.")
    clip: float = Field(1.0, gt=0, description="Largest norm of the gradient; a longer one is scaled down.")
    lora_r: int = Field(16, ge=1, description="Rank of the adapters: more can change more, and needs more memory.")
    lora_alpha: float = Field(4.0, gt=0, description="Scale of the adapters; what they add is multiplied by alpha / r.")
    lora_dropout: float = Field(0.1, ge=0, lt=1, description="Dropout before the adapters, in training.")
    targets: tuple[str, ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        min_length=1,
        description="Linear layers of the text decoder that get an adapter; name it several times for several.",
    )
    gradient_checkpointing: bool = Field(
        False, description="Compute activations twice instead of keeping them: less memory, about a third slower."
    )
    keep_checkpoints: bool = Field(False, description="Keep the adapter and optimiser of every epoch.")
