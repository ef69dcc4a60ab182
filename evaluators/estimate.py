"""What a run of a metered model will ask for, said before it starts."""

from collections.abc import Container, Mapping
from dataclasses import dataclass

from demur.console import say
from demur.errors import UsageError
from demur.models import Model
from evaluators.run_folder import Key, RunFolder, key_of

LARGE = 1000
"""Requests from which on a run must be agreed to: some dollars at the prices of 2025's audio models."""
AUDIO_TOKENS_PER_S = 10
"""OpenAI counts a token for every 100 ms of a user's audio; other servers count up to 25 a second."""
LETTERS_PER_TOKEN = 4
"""Of English text, the usual rule of thumb."""


@dataclass(frozen=True)
class Prices:
    """US dollars for a million tokens."""

    text: float
    audio: float
    output: float


@dataclass(frozen=True)
class Workload:
    """What is still to be asked; `output_tokens` is a bound, the others are estimates."""

    requests: int
    audio_s: float
    audio_tokens: int
    text_tokens: int
    output_tokens: int

    def __str__(self) -> str:
        minutes = f" with {self.audio_s / 60:.1f} minutes of audio" if self.audio_s else ""
        audio = f"{self.audio_tokens:,} tokens of audio and " if self.audio_s else ""
        return (
            f"{self.requests:,} requests{minutes}; about {audio}{self.text_tokens:,} tokens of text in, "
            f"at most {self.output_tokens:,} out"
        )

    def cost(self, prices: Prices) -> float:
        """US dollars."""
        parts = (self.text_tokens, prices.text), (self.audio_tokens, prices.audio), (self.output_tokens, prices.output)
        return sum(tokens * price for tokens, price in parts) / 1e6


def estimate(folder: RunFolder, answered: Container[Key], controls: Mapping[Key, int], max_new_tokens: int) -> Workload:
    """What the samples of a run that have no answer yet will take, and so many controls of some."""
    requests, audio_s, letters = 0, 0.0, 0
    for row in folder.samples(("id", "modality", "duration_s", "input_text")):
        times = (key_of(row) not in answered) + controls.get(key_of(row), 0)
        requests += times
        audio_s += times * (row["duration_s"] or 0.0)
        letters += times * len(row["input_text"])
    tokens = round(audio_s * AUDIO_TOKENS_PER_S), -(-letters // LETTERS_PER_TOKEN)
    return Workload(requests, audio_s, *tokens, output_tokens=requests * max_new_tokens)


def check_estimate(
    folder: RunFolder,
    controls: Mapping[Key, int],
    model: Model,
    prices: Prices | None,
    *,
    agreed: bool,
    quiet: bool,
) -> None:
    """Say what a run and its controls will take, if there is anything left to ask.

    Raises:
        UsageError: it is large and was not agreed to.
    """
    answered = {key for key, ok in folder.answered().items() if ok}
    expected = estimate(folder, answered, controls, model.max_new_tokens)
    if expected.requests:
        say_estimate(model.name, expected, prices, agreed=agreed, quiet=quiet)


@dataclass
class Requests:
    """How many were expected so far in one call, of all that it asks: they are agreed to together."""

    expected: int = 0


def say_estimate(
    name: str, expected: Workload, prices: Prices | None, *, agreed: bool, quiet: bool, earlier: int = 0
) -> None:
    """Say what a model, or a judge, will be asked; `earlier` requests of this call count for what must be agreed to.

    Raises:
        UsageError: it is large and was not agreed to.
    """
    cost = f"; about ${expected.cost(prices):,.2f}, retries not counted" if prices else ""
    say(f"{name}: {expected}{cost}", quiet=quiet)
    if earlier + expected.requests > LARGE and not agreed:
        after = f" after {earlier:,} in this call" if earlier else ""
        raise UsageError(
            f"{name}: {expected}{cost}{after}: agree to this with --yes, or bound it by --max-requests or --limit"
            f"{'' if prices else '; --price-per-million says what it costs'}"
        )
