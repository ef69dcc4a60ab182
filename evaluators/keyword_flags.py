"""Flags that say how a published list of phrases is used, for the commands that have them."""

from typing import Annotated

import typer

Opening = Annotated[int | None, typer.Option(min=1, help="With a published list: look into so many characters only.")]
Exact = Annotated[bool, typer.Option("--exact", help="With a published list: case and apostrophes count.")]
