"""Models under test behind one small protocol: a batch of queries in, as many answers out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator

from demur import plugins
from demur.audio import Samples
from demur.nouns import Modality
from demur.options import check_options

NOT_ASKED = "not asked: the request budget is spent"
"""`Answer.error` of a query that a model left out because of `max_requests`; never recorded, always asked again."""
EVERY_MODALITY = frozenset(Modality)


@dataclass(frozen=True)
class Query:
    """What a model is given, and nothing else: speech (mono float32 at `rate` Hz) or None, and a text or ""."""

    audio: Samples | None
    rate: int
    input_text: str


@dataclass(frozen=True)
class KeyedQuery(Query):
    """A query that says where it comes from, without its audio: for a model that looks its answers up (`keyed`)."""

    id: str
    prompt_id: str
    prompt: str
    modality: Modality


@dataclass(frozen=True)
class Answer:
    """What a model said; `text` is None where `error` says why it said nothing."""

    text: str | None
    finish_reason: str | None = None
    error: str | None = None
    latency_s: float | None = None
    """Seconds that this answer took, where the model knows; else the batch's time is shared out evenly."""


class ModelOptions(BaseModel):
    """What a user may set for a model; each kind of model adds its own. Checked when made."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    AUTO_BATCH_SIZE: ClassVar[int | None] = None
    """What `auto` stands for as a batch size; None: the default."""

    batch_size: int = Field(default=16, ge=1)
    max_new_tokens: int = Field(default=128, ge=1)
    temperature: float = Field(default=0.0, ge=0, le=2)
    seed: int = 0
    """Of what is drawn at a temperature, where the model runs here; a server draws as it likes."""

    @field_validator("batch_size", mode="before")
    @classmethod
    def _auto(cls, value: Any) -> Any:
        return cls.AUTO_BATCH_SIZE or cls.model_fields["batch_size"].default if value == "auto" else value


class Model(Protocol):
    """A model under test. Made cheaply (names and settings checked); what is heavy is loaded on the first `answer`.

    Registered by entry point as a class that is called with what follows the colon of its SPEC and its options:

        [project.entry-points."demur.models"]
        mymodel = "my_package:MyModel"      # class MyModel(Model): Options = ModelOptions
    """

    Options: ClassVar[type[ModelOptions]] = ModelOptions

    name: str
    """As it appears in responses and on the leaderboard."""
    modalities: frozenset[Modality] = EVERY_MODALITY
    """Which it takes; others are refused before any work."""
    settings: Mapping[str, Any]
    """Everything that changes its answers (decoding, revision, prompts), as JSON; recorded, compared on resume."""
    batch_size: int = 16
    """How many queries it is given at once."""
    max_new_tokens: int = 128
    """Tokens of one answer, at most."""
    batch_matters: bool = True
    """Whether an answer may depend on the other queries of its batch (padding): then a batch is asked as a whole."""
    keyed: bool = False
    """Whether it looks answers up and must be told which sample a query is."""
    metered: bool = False
    """Whether each request may cost money: an estimate is said first."""
    left_out: frozenset[str] = frozenset()
    """Of `settings`: what its server refused, so that it was asked without; known once it has answered."""
    broken: str = ""
    """Why the last batch was cut short: a server that had answered took the key, the model or the account no more."""
    fits_memory: int | None = None
    """How many queries are answered together since memory ran out; None where it never did, or before an answer."""
    training_prompts: frozenset[str] = frozenset()
    """`prompt_id` of every prompt that it was tuned on."""

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """One answer for each query, in order.

        Raises:
            ModelError: the model cannot go on at all. What concerns one query alone is an `Answer` with `error`.
        """
        ...


def make_model(spec: str, options: Mapping[str, Any] | None = None) -> Model:
    """The model that a SPEC names: `kind:name` or a registered name; options that are None count as not given.

    Raises:
        InputError: nothing is registered under the kind, or the name cannot be used.
        UsageError: the kind does not take one of the options, or not this value.
    """
    kind, _, name = spec.partition(":")
    factory = plugins.find(plugins.MODELS, kind)
    model: Model = factory(name, check_options(factory.Options, options or {}, f"a model of kind {kind!r}"))
    return model
