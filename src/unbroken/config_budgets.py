"""The budgets of a configuration: what its sections say, with routes and keys looked up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from unbroken.config_file import Document
from unbroken.config_server import Server
from unbroken.config_shape import BudgetSection
from unbroken.keys import digest_of
from unbroken.policy import Route, SpendLimit

__all__ = ["budgets", "of_keys", "unpriced"]


def budgets(
    sections: Sequence[BudgetSection], routes: Mapping[str, Route], *, keys: Sequence[str], document: Document
) -> tuple[SpendLimit, ...]:
    """The budgets, named by their place and whose they are; what makes no sense is reported to the document."""
    made = []
    for at, section in enumerate(sections):
        path = ("budgets", str(at))
        for name, route in (("route", section.route), ("to", section.to)):
            if route and route not in routes:
                document.problem((*path, name), f"there is no route `{route}`")
        if section.to and section.then == "stop":
            document.problem((*path, "to"), "a budget that stops leads nowhere: it needs `then: downgrade`")
        if section.to and section.to == section.route:
            document.problem((*path, "to"), "this is the route that the budget is for")
        if section.key is not None and section.key.value not in keys:
            document.problem((*path, "key"), "not one of `server.keys`, so nobody could spend from it")
        asker = digest_of(section.key.value) if section.key is not None else ""
        made.append(
            SpendLimit(
                name=_name(section, at), usd_per_day=section.usd_per_day, route=section.route, asker=asker,
                then=section.then, to=section.to,
            )
        )  # fmt: skip
    return tuple(made)


def of_keys(server: Server) -> tuple[SpendLimit, ...]:
    """The budgets of the keys that were issued; those of revoked ones stay, or what was spent would be forgotten."""
    return tuple(limit for entry in server.issued if (limit := entry.spend_limit) is not None)


def unpriced(limits: Sequence[SpendLimit], routes: Mapping[str, Route]) -> Iterator[str]:
    """Warnings of targets whose price is not known: nothing that they do is counted."""
    found = {
        target.name
        for limit in limits
        for route in routes.values()
        for target in route.targets
        if limit.route in {"", route.name} and not target.price.known
    }
    for name in sorted(found):
        yield f"target {name}: its price is not known, so no budget counts it; give it a `price`"


def _name(section: BudgetSection, at: int) -> str:
    """What errors and records call it: `1 (route chat, key ALICE_KEY)`."""
    key = (section.key.name or "given") if section.key is not None else ""
    whose = ", ".join(f"{what} {name}" for what, name in (("route", section.route), ("key", key)) if name)
    return f"{at + 1} ({whose or 'everything'})"
