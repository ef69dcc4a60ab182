"""Prompts from anywhere: the built-in set, the field's published sets, or any table of the user's own.

`load_prompts` reads what the user named into a `PromptSet`, in which nothing is dropped without being counted.
A prompt source is one small file, `SOURCE = Source(...)`, and one entry point in the group `demur.sources`.
"""

from builders.prompts.loading import InputFile, PromptSet, Rejection, load_prompts
from builders.prompts.selection import select
from builders.prompts.source import Item, Source, Table, TableOptions

__all__ = [
    "InputFile",
    "Item",
    "PromptSet",
    "Rejection",
    "Source",
    "Table",
    "TableOptions",
    "load_prompts",
    "select",
]
