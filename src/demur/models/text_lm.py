"""A text model run by transformers: batches of chats in, texts out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from demur.errors import MissingDependency, ModelError
from demur.files import sha256_file, sha256_json
from demur.models import Answer
from demur.seeds import derive_seed

Chat = list[dict[str, str]]
"""Messages, each with `role` and `content`."""


class TextLM:
    """A chat model in a local folder, in bfloat16, on the GPU if there is one; loaded on the first `generate`.

    On a CPU bfloat16 is faster than float32 in batches (`benchmarks/bench_respond.py` measures it); answers may differ
    where two tokens are about as likely.
    """

    def __init__(
        self, folder: Path, *, max_new_tokens: int = 128, temperature: float = 0.0, dtype: str = "bfloat16"
    ) -> None:
        self.folder, self.max_new_tokens, self.temperature, self.dtype = folder, max_new_tokens, temperature, dtype

    def generate(self, chats: Sequence[Chat]) -> list[Answer]:
        """One answer for each chat, all as one batch, padded on the left: the same batch gives the same answers.

        With a temperature, the draw is seeded by the batch itself. A chat that leaves no room for an answer in the
        model's context is an `Answer` with `error`.

        Raises:
            ModelError: the folder holds no chat model, or it cannot run.
        """
        prompts = [self._render(chat) for chat in chats]
        fits = [self._count(prompt) + self.max_new_tokens <= self._context for prompt in prompts]
        texts = iter(self._complete([prompt for prompt, fit in zip(prompts, fits, strict=True) if fit]))
        too_long = Answer(None, error=f"the prompt leaves no room for an answer in {self._context} tokens")
        return [next(texts) if fit else too_long for fit in fits]

    def _complete(self, prompts: list[str]) -> list[Answer]:
        if not prompts:
            return []
        import torch

        batch = self._tokenizer(prompts, add_special_tokens=False, padding=True, return_tensors="pt").to(
            self._model.device
        )
        devices = [self._model.device] if self._model.device.type == "cuda" else []
        try:
            with torch.inference_mode(), torch.random.fork_rng(devices):
                torch.manual_seed(derive_seed("generate", *prompts))
                tokens = self._model.generate(**batch)
        except RuntimeError as error:  # out of memory, a faulty checkpoint
            raise ModelError(f"{self.folder.name}: {error}") from None
        return [self._read(row) for row in tokens[:, batch["input_ids"].shape[1] :].tolist()]

    def _read(self, tokens: list[int]) -> Answer:
        """The text up to the first stop token."""
        end = next((place for place, token in enumerate(tokens) if token in self._stops), None)
        text = self._tokenizer.decode(tokens[:end], skip_special_tokens=True)
        return Answer(text.strip(), finish_reason="length" if end is None else "stop")

    def _render(self, chat: Chat) -> str:
        rendered: str = self._tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        return rendered

    def _count(self, prompt: str) -> int:
        return len(self._tokenizer(prompt, add_special_tokens=False)["input_ids"])

    @cached_property
    def _context(self) -> int:
        return int(self._model.config.get_text_config().max_position_embeddings)

    @cached_property
    def _stops(self) -> frozenset[int]:
        """Token ids that end an answer."""
        return frozenset(self._model.generation_config.eos_token_id)

    def _decoding(self, suggested: Any) -> Any:
        """Ours, with the checkpoint's stop tokens: a top-p or a penalty of its own would make models incomparable."""
        import transformers

        eos = suggested.eos_token_id
        stops = {*(eos if isinstance(eos, list) else [eos]), self._tokenizer.eos_token_id} - {None}
        drawn = {"do_sample": True, "temperature": self.temperature, "top_k": 0} if self.temperature else {}
        config: Any = transformers.GenerationConfig
        return config(
            **drawn,
            max_new_tokens=self.max_new_tokens,
            eos_token_id=sorted(stops),
            pad_token_id=self._tokenizer.pad_token_id,
        )

    @cached_property
    def _tokenizer(self) -> Any:
        check_transformers()
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(self.folder, padding_side="left", local_files_only=True)
        except (OSError, ValueError) as error:
            raise ModelError(f"{self.folder}: no tokenizer that transformers can load ({error})") from None
        if tokenizer.chat_template is None:
            raise ModelError(
                f"{self.folder}: this model has no chat template, so that it cannot be asked; take an instruct one"
            )
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    @cached_property
    def _model(self) -> Any:
        check_transformers()
        import torch
        from transformers import AutoModelForCausalLM

        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = getattr(torch, self.dtype)
        load: Any = AutoModelForCausalLM.from_pretrained
        try:
            with no_progress_bars():
                model = load(self.folder, dtype=dtype, local_files_only=True, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise ModelError(f"{self.folder}: no model that transformers can load from safetensors ({error})") from None
        # Not given to `generate`, which would fill what it leaves open from the checkpoint's.
        model.generation_config = self._decoding(model.generation_config)
        return model.to(device).eval()


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Loading inside this block shows no bars of transformers' own."""
    import transformers

    logging: Any = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def find_folder(name: str, *, revision: str | None = None, download: bool = False) -> Path:
    """The folder of a model: a path, or a Hub repository that is in the local cache (or may be downloaded).

    Raises:
        ModelError: it is not on this machine.
    """
    if Path(name).is_dir():
        return Path(name)
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError:
        raise MissingDependency("huggingface-hub", extra="models") from None
    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=not download))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        if download:
            raise ModelError(f"{name}: cannot be downloaded ({error})") from None
        raise ModelError(f"{name}: no such folder, and not in the Hub's cache here; allow it with --download") from None


def fingerprint(folder: Path) -> str:
    """Tells one model's files from another's, by all of their bytes."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sha256_json(
        {path.name: _hash(path.resolve(), path.stat().st_size, path.stat().st_mtime_ns) for path in files}
    )


@lru_cache(maxsize=4096)
def _hash(path: Path, _size: int, _mtime_ns: int) -> str:
    """A file's hash; read again only where its size or time has changed, for large files take a while."""
    return sha256_file(path)


def check_transformers() -> None:
    """Raise MissingDependency where torch or transformers is not installed."""
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingDependency(error.name or "transformers", extra="models") from None
