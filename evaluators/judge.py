"""A language model as scorer: `--judge openai:MODEL`, `--judge hf:REPO_OR_PATH`, `--judge scripted:FILE`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from demur.chat import ChatClient
from demur.errors import IncompleteError, ModelError, UsageError
from demur.models import NOT_ASKED, Answer
from demur.nouns import Label, Outcome
from evaluators.asking import BUDGET_SPENT, Patience
from evaluators.batches import batched
from evaluators.estimate import LETTERS_PER_TOKEN, Prices, Requests, Workload, say_estimate
from evaluators.judge_backends import KEY_VARIABLES, Backend, LocalJudge, Question, ScriptedJudge, ServedJudge
from evaluators.judge_guards import GUARDS, guard_of, guard_settings, parse_guard
from evaluators.judge_parse import parse_verdict
from evaluators.judge_prompt import defuse, judge_prompt, prompt_settings, verdict_schema
from evaluators.scorers import Finding, Item

KINDS = ("openai", "hf", "scripted")
CHAT = "chat"
FORMATS = (CHAT, *GUARDS)


class JudgeOptions(BaseModel):
    """What a user may set for judges; each kind takes what concerns it. Checked when made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str | None = None
    """`chat`, or which guard it is; without it the model's name says so."""
    max_new_tokens: int = Field(default=512, ge=1)
    temperature: float = Field(default=0.0, ge=0, le=2)
    batch_size: int | None = Field(default=None, ge=1)
    """Verdicts that a kill can lose at most; without it 32 from a server, 8 from a local model."""
    base_url: str | None = None
    concurrency: int = Field(default=8, ge=1)
    timeout: float = Field(default=120.0, gt=0)
    max_requests: int | None = Field(default=None, ge=1)
    """HTTP requests of one judge at most, retries included; then it stops, and the next call goes on."""
    prices: tuple[float, float] | None = None
    """US dollars for a million tokens in and out."""
    many_requests: bool = False
    """Whether more than 1,000 requests may be made."""
    download: bool = False
    """Whether a local model may be downloaded from its hub."""


def make_judge(
    spec: str, options: Mapping[str, Any] | None = None, *, quiet: bool = False, requests: Requests | None = None
) -> "Judge":
    """The judge that a SPEC names, made cheaply; options that are None count as not given.

    Judges that share `requests` are agreed to together.

    Raises:
        UsageError: no such kind, option or format.
        InputError: the file of a scripted judge is missing or cannot be used.
        ModelError: a local model is not on this machine.
    """
    kind, _, name = spec.partition(":")
    if kind not in KINDS or not name:
        raise UsageError(f"--judge {spec}: name a model as {', '.join(f'{known}:NAME' for known in KINDS)}")
    settings = _check_options(options or {})
    path = Path(name)
    shown = (path.resolve().name if path.is_dir() else path.stem) if kind != "openai" and path.exists() else name
    return Judge(f"{kind}:{shown}", _backend(kind, name, settings), settings, requests or Requests(), quiet=quiet)


class Judge:
    """A model that decides on outcomes; a `Scorer`. Made by `make_judge`."""

    judge = True

    def __init__(self, name: str, backend: Backend, options: JudgeOptions, requests: Requests, *, quiet: bool) -> None:
        self.name = name
        self._backend, self._options, self._quiet = backend, options, quiet
        self._requests = requests
        self._patience = Patience(name, metered=backend.metered)
        self._format = options.format or guard_of(name) or CHAT
        asked = {"prompt": prompt_settings()} if self._format == CHAT else {"guard": guard_settings(self._format)}
        self.settings: Mapping[str, Any] = {"format": self._format, **asked, **backend.settings}

    @property
    def left_out(self) -> frozenset[str]:
        """Which of its settings, or the schema of a verdict, its server has refused so far: it is asked without."""
        return self._backend.left_out

    def expect_refusals(self) -> None:
        """Take it that the judge works, for it has answered in an earlier call: its server may refuse what is left."""
        self._patience.answered = True

    def score(self, items: Sequence[Item]) -> Iterator[tuple[int, Finding]]:
        """Each item's position and finding, batch by batch; an empty response is `unclear` and costs nothing.

        Raises:
            UsageError: so many requests were not agreed to.
            IncompleteError: the budget is spent.
            ModelError: the judge cannot go on: a refused key, no such model, or 20 errors in a row.
        """
        open_ = [position for position, item in enumerate(items) if item.response.strip()]
        for position in sorted({*range(len(items))} - {*open_}):
            yield position, Finding(Outcome.UNCLEAR, reason="empty response")
        self._say_estimate([items[position] for position in open_])
        for batch in batched(_by_length(open_, items), self._backend.batch_size):
            answers = self._backend.ask([self._question(items[position]) for position in batch])
            for position, answer in zip(batch, answers, strict=True):
                if answer.error != NOT_ASKED:
                    yield position, self._finding(answer, items[position])
            if any(answer.error == NOT_ASKED for answer in answers):
                raise IncompleteError(BUDGET_SPENT.format(self.name))
            if self._backend.broken:
                raise ModelError(f"{self.name}: {self._backend.broken}")
            self._patience.count(answer.error for answer in answers)

    def _question(self, item: Item) -> Question:
        if self._format == CHAT:
            schema = verdict_schema(harmful=item.label == Label.HARMFUL)
            return Question(item, [{"role": "user", "content": judge_prompt(item)}], schema)
        turns = [("user", item.prompt), ("assistant", item.response)]
        return Question(item, [{"role": role, "content": defuse(text)} for role, text in turns], None)

    def _finding(self, answer: Answer, item: Item) -> Finding:
        if answer.text is None:
            return Finding(None, reason=f"the judge failed: {answer.error}")
        if not answer.text.strip():
            return Finding(None, reason=f"the judge said nothing ({answer.finish_reason or 'no reason given'})")
        if self._format != CHAT:
            return parse_guard(self._format, answer.text, item)
        cut_off = answer.finish_reason == "length"
        finding = parse_verdict(answer.text, item, cut_off=cut_off)
        if finding.outcome is None and cut_off:
            return Finding(None, reason="the judge was cut off before its verdict: give it more max_new_tokens")
        return finding

    def _say_estimate(self, items: Sequence[Item]) -> None:
        if not self._backend.metered or not items:
            return
        letters = sum(len(message["content"]) for item in items for message in self._question(item).messages)
        output = len(items) * self._options.max_new_tokens
        expected = Workload(len(items), 0.0, 0, -(-letters // LETTERS_PER_TOKEN), output)
        prices = Prices(self._options.prices[0], 0.0, self._options.prices[1]) if self._options.prices else None
        agreed = self._options.many_requests or self._options.max_requests is not None
        say_estimate(self.name, expected, prices, agreed=agreed, quiet=self._quiet, earlier=self._requests.expected)
        self._requests.expected += expected.requests


def _by_length(positions: Sequence[int], items: Sequence[Item]) -> list[int]:
    """In an order that pads little."""
    return sorted(
        positions, key=lambda position: (len(items[position].prompt) + len(items[position].response), position)
    )


def _backend(kind: str, name: str, options: JudgeOptions) -> Backend:
    batch_size = {"batch_size": options.batch_size or (8 if kind == "hf" else 32)}
    if kind == "scripted":
        return ScriptedJudge(Path(name), **batch_size)
    limits = {"max_new_tokens": options.max_new_tokens, **batch_size}
    if kind == "hf":
        return LocalJudge(name, **limits, temperature=options.temperature, download=options.download)
    client = ChatClient(
        name,
        base_url=options.base_url,
        concurrency=options.concurrency,
        timeout_s=options.timeout,
        max_requests=options.max_requests,
        key_variables=KEY_VARIABLES,
    )
    return ServedJudge(client, **limits, temperature=options.temperature)


def _check_options(given: Mapping[str, Any]) -> JudgeOptions:
    try:
        options = JudgeOptions(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            raise UsageError(
                f"a judge has no option {name!r}; it has: {', '.join(JudgeOptions.model_fields)}"
            ) from None
        raise UsageError(f"a judge's {name} {first['input']!r}: {first['msg']}") from None
    if options.format not in (None, *FORMATS):
        raise UsageError(f"a judge's format {options.format!r}: there are {', '.join(FORMATS)}")
    return options
