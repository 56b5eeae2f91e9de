"""How commands end that could not do what they were asked."""

from __future__ import annotations

from typing import NoReturn

import typer

__all__ = ["fail"]


def fail(message: str, *, code: int = 1) -> NoReturn:
    """End with one clear message on stderr.  1: it could not be done; 2: it was asked for wrongly."""
    typer.echo(f"unbroken: {message}", err=True)
    raise typer.Exit(code)
