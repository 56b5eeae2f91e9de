"""What an operator does to a gateway that runs, as commands: thin, over the paths under `/admin`.

targets disable | enable | check NAME
breaker open | close | release SCOPE
strategy ROUTE NAME
reload
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from unbroken.faces.cli.remote import AdminKey, Url, asked

__all__ = ["breaker", "reload", "strategy", "targets"]

_SETTINGS: dict[str, Any] = {
    "no_args_is_help": True,
    "context_settings": {"help_option_names": ["-h", "--help"]},
    "rich_markup_mode": "markdown",
}
targets = typer.Typer(help="Take targets of a running gateway out of every route, bring them back.", **_SETTINGS)
breaker = typer.Typer(help="Hold breakers of a running gateway open or closed, let them go.", **_SETTINGS)

TargetName = Annotated[str, typer.Argument(metavar="TARGET", help="As `unbroken status` names it: openai/gpt-x#2.")]
Scope = Annotated[
    str,
    typer.Argument(
        metavar="SCOPE", help="A provider, `provider/model`, `provider#key` or `provider/model#key`: whatever can fail."
    ),
]


@targets.command()
def disable(target: TargetName, *, url: Url = "", admin_key: AdminKey = "") -> None:
    """Send a target nothing any more; what it is answering goes on to its end.

    It stays so through reloads, until it is enabled or the gateway restarts: `unbroken targets disable openai/gpt-x`
    """
    _print_targets(asked(url, admin_key, "targets", target, "disable"))


@targets.command()
def enable(target: TargetName, *, url: Url = "", admin_key: AdminKey = "") -> None:
    """Send a target requests again.

    `unbroken targets enable openai/gpt-x`
    """
    _print_targets(asked(url, admin_key, "targets", target, "enable"))


@targets.command()
def check(
    target: TargetName,
    *,
    word: Annotated[bool, typer.Option("--word", help="Ask for one word, which is billed.")] = False,
    url: Url = "",
    admin_key: AdminKey = "",
) -> None:
    """Ask a target how it is, now; what it says counts. Ends with 1 where it is not well.

    For nothing: `unbroken targets check openai/gpt-x`; `--word` shows that the model itself answers
    """
    told = asked(url, admin_key, "targets", target, "health", body={"word": word})
    typer.echo(f"{target}: {told['state']} ({told['asked']}, {told['seconds']:.2f} s) {told['failure']}".rstrip())
    _print_targets({"targets": [told["target"]]})
    raise typer.Exit(int(told["state"] == "failing"))


@breaker.command("open")
def open_(scope: Scope, *, url: Url = "", admin_key: AdminKey = "") -> None:
    """Hold it open: nothing goes there, not even as a last resort.

    A whole provider: `unbroken breaker open openai`
    """
    _print_targets(asked(url, admin_key, "breakers", scope, body={"open": True}))


@breaker.command()
def close(scope: Scope, *, url: Url = "", admin_key: AdminKey = "") -> None:
    """Hold it closed: requests go there whatever fails.

    `unbroken breaker close openai/gpt-x`
    """
    _print_targets(asked(url, admin_key, "breakers", scope, body={"open": False}))


@breaker.command()
def release(scope: Scope, *, url: Url = "", admin_key: AdminKey = "") -> None:
    """Let it decide by itself again.

    `unbroken breaker release openai`
    """
    _print_targets(asked(url, admin_key, "breakers", scope, body={"open": None}))


def strategy(route: str, name: str, *, url: str, admin_key: str) -> None:
    """Choose by another strategy on a route."""
    told = asked(url, admin_key, "routes", route, "strategy", body={"strategy": name})
    typer.echo(f"{told['name']}: {told['strategy']}, until the configuration is read anew")


def reload(*, url: str, admin_key: str) -> None:
    """Have the configuration read anew, and say what is different."""
    told = asked(url, admin_key, "reload")
    for line in (*told["changes"], *(f"{what}: only after a restart" for what in told["restart"])):
        typer.echo(line)
    if not told["changes"]:
        typer.echo("nothing has changed")


def _print_targets(told: dict[str, Any]) -> None:
    for target in told["targets"]:
        obstacle = f", {target['obstacle']}" if target["obstacle"] else ""
        typer.echo(f"{target['name']}: {target['state'].replace('_', ' ')}{obstacle}")
    if not told["targets"]:
        typer.echo("done; no target of the configuration needs it")
