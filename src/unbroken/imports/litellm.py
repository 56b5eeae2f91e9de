"""A configuration of the LiteLLM proxy as one of ours.

    draft, report = litellm(text, file="config.yaml", read=..., partial=False)

`model_list` becomes providers and routes, one route for each `model_name`; the settings
become `defaults`, and what follows when a model fails becomes the further targets of its
route, because here a route has one list.  What LiteLLM does was read in its documentation
and source, version 1.109.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from unbroken.config_file import ConfigError
from unbroken.imports.draft import Draft, Entry, Spread, attempts, route
from unbroken.imports.litellm_budgets import budgets
from unbroken.imports.litellm_deployment import Deployment, Deployments
from unbroken.imports.litellm_settings import caching, defaults, probing, server, watching
from unbroken.imports.litellm_source import Source, read_source
from unbroken.imports.litellm_words import CHECKS, LOST, ROUTINGS, SHUFFLE
from unbroken.imports.report import Report
from unbroken.imports.secrets import Secrets
from unbroken.imports.source import Item

__all__ = ["litellm"]

DEPTH_MAX = 5
"""How far fallbacks of fallbacks are followed: LiteLLM's own limit."""

_FALLBACKS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
_MORE_OFTEN = {"speed": ", the faster ones more often", "cost": ", the cheaper ones more often"}


def litellm(text: str, *, file: str, read: Callable[[str], str], partial: bool = False) -> tuple[Draft, Report]:
    """Translate; `read` gives the text of a file that is included, OSError where it cannot.

    ConfigError names every model that cannot be used, unless `partial`: then they are left
    out and the report says so.
    """
    report = Report(file)
    source = read_source(text, file=file, read=read, report=report)
    translation = _Translation(source)
    translation.run(partial=partial)
    for part in source.roots:
        report.cover(part, LOST)
    return translation.draft, report


@dataclass(slots=True)
class _Group:
    """The deployments of one `model_name`, and LiteLLM's strategy among them."""

    name: str
    deployments: list[Deployment] = field(default_factory=list)
    routing: str = SHUFFLE
    named: list[Item] = field(default_factory=list)
    """Where the name is said."""


class _Translation:
    """Fills a draft."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.report = source.report
        self.draft = Draft()
        self.groups: dict[str, _Group] = {}
        self.ids: dict[str, Deployment] = {}
        self.shown: dict[str, str] = {}
        self.wild: list[Deployment] = []
        self.secrets = Secrets(self.report)
        self.next: dict[str, dict[str, list[str]]] = {}

    def run(self, *, partial: bool) -> None:
        self._environment()
        self._deployments(partial=partial)
        self.draft.server |= server(self.source, self.secrets)
        self.draft.defaults |= defaults(self.source)
        self._routings()
        self.next = {name: self._fallbacks(name) for name in _FALLBACKS}
        self._routes()
        if cache := caching(self.source, route_of=self._shown):
            self.draft.defaults["cache"] = cache
        of_groups = (deployment for group in self.groups.values() for deployment in group.deployments)
        self.draft.budgets += budgets(self.source, self.draft, deployments=[*of_groups, *self.wild])
        probing(self.source, self.draft)
        watching(self.source)
        self._remarks()

    # -------------------------------------------------------------- sections

    def _environment(self) -> None:
        """Variables that LiteLLM sets for itself have to be there from outside."""
        for section in self.source.settings("environment_variables"):
            for name, item in section.fields.items():
                self.report.differs(item, "variables are not set by a configuration here: set it before the start")
                self.report.needed(name, item, text="as it is there")

    def _credentials(self) -> Mapping[str, Item]:
        found: dict[str, Item] = {}
        for item in self.source.list("credential_list"):
            name, values = item.get("credential_name"), item.get("credential_values")
            if name is not None and values is not None:
                self.report.kept(name, "for the models that name it")
                found[name.text] = values
            if (info := item.get("credential_info")) is not None:
                self.report.lost(info, "only a remark: a model's prefix says which provider it is")
        return found

    def _deployments(self, *, partial: bool) -> None:
        drop = self.source.setting("drop_params")
        wanted = drop is not None and drop.text == "true"
        if drop is not None:
            self.report.kept(drop, "may_drop of providers whose format lacks words" if wanted else "nothing is dropped")
        at_once = self.source.number(
            "default_max_parallel_requests", text="limits.concurrent_max of targets without limits", exact=True
        )
        reader = Deployments(
            self.draft, self.secrets, credentials=self._credentials(), may_drop=("*",) if wanted else (),
            concurrent_max=int(at_once) if at_once else None,
        )  # fmt: skip
        found = []
        for item in self.source.list("model_list"):
            if (deployment := reader.deployment(item)) is not None:
                found.append(deployment)
            else:
                self.report.lost(item, f"left out: {reader.problems[-1].message}")
        if reader.problems and not partial:
            raise ConfigError(reader.problems)
        for deployment in found:
            if deployment.wild:
                self._wildcard(deployment)
        for deployment in (reader.named(d) for d in found if not d.wild):
            group = self.groups.setdefault(deployment.group, _Group(deployment.group))
            group.deployments.append(deployment)
            group.named.append(deployment.item.fields["model_name"])
            if (name := deployment.info.get("id")) is not None:
                self.ids[name.text] = deployment
                self.report.kept(name, "by this name fallbacks may mean this target")

    def _wildcard(self, deployment: Deployment) -> None:
        """`openai/*` is the provider: here `provider/model` is asked without being listed."""
        item, entry = deployment.item.get("model_name") or deployment.item, deployment.entry
        head, _, rest = deployment.group.partition("/")
        self.wild.append(deployment)
        if rest == "*" == entry.model and self.draft.named(head, deployment.place):
            self._say(head, entry)
            self.report.kept(item, f"the provider `{head}`: any `{head}/MODEL` is asked of it")
            return
        if entry.model != "*":
            self.report.lost(item, "only whole providers are open to every name; list the models")
            return
        account = self.draft.account(deployment.place)
        self.draft.list(account)
        self._say(account, entry)
        self.report.differs(item, f"callers ask for `{account}/MODEL`; other names without a route are refused")

    def _say(self, account: str, entry: Entry) -> None:
        """What is said of all models of a provider: only one model can be like a known one."""
        self.draft.say(account, {name: said for name, said in entry.details.items() if name != "model_like"})

    # -------------------------------------------------------------- settings

    def _routings(self) -> None:
        """Each model's strategy, and the groups of models that may be asked for by one name."""
        usual = self._routing(self.source.setting("routing_strategy"))
        for group in self.groups.values():
            group.routing = usual
        item = self.source.setting("routing_groups")
        for part in item.parts if item else []:
            routing, models = self._routing(part.get("routing_strategy")), part.get("models")
            members = [
                self.groups[model.text] for model in (models.parts if models else []) if model.text in self.groups
            ]
            for group in members:
                group.routing = routing
            name = part.get("group_name")
            if models is None or name is None or not members or name.text in self.groups:
                continue
            self.report.kept(models, "with a strategy of their own")
            together = [deployment for group in members for deployment in group.deployments]
            self.groups[name.text] = _Group(name.text, together, routing, [name])

    def _routing(self, item: Item | None) -> str:
        """LiteLLM's name of a strategy, with a note of what it is here."""
        if item is None:
            return SHUFFLE
        if item.text not in ROUTINGS:
            self.report.lost(item, "there is no such strategy: targets are chosen at random")
            return SHUFFLE
        routing = ROUTINGS[item.text]
        if routing.note:
            self.report.differs(item, routing.note)
        else:
            self.report.kept(item, routing.ours + (", or weighted where there are weights" * (item.text == SHUFFLE)))
        return item.text

    def _fallbacks(self, name: str) -> dict[str, list[str]]:
        """Who is asked after whom, by the name of a model; `*` stands for all that are not named."""
        found: dict[str, list[str]] = {}
        item = self.source.setting(name)
        for rule in item.parts if item else []:
            for model, others in rule.fields.items():
                found[model] = [other for part in others.parts if (other := self._other(part))]
                self._note_fallback(name, others, known=model in self.groups or model == "*")
        if name == "fallbacks" and (item := self.source.setting("default_fallbacks")) is not None:
            found["*"] = [other for part in item.parts if (other := self._other(part))]
            self.report.kept(item, "behind the targets of every route that names no others")
        return found

    def _other(self, part: Item) -> str:
        """The name of a model to fall back to; one that nobody has is said to be lost."""
        name = part.get("model") if part.fields else part
        text = name.text if name else ""
        if text in self.groups or text in self.ids or self._direct(text) is not None:
            if part.fields and name is not None:
                self.report.kept(name, "a further target")
            return text
        self.report.lost(part, "there is no model of this name")
        return ""

    def _note_fallback(self, name: str, others: Item, *, known: bool) -> None:
        if not known:
            self.report.lost(others, "there is no model of this name to fall back from")
        elif any(part.fields for part in others.parts):  # what is said besides a model's name is found to be lost
            plain = [part for part in others.parts if not part.fields and not self.report.says(part)]
            self._note(plain, self.report.kept, text="a further target")
        elif name == "fallbacks":
            self.report.kept(others, "further targets of the route, in this order")
        elif name == "context_window_fallbacks":
            self.report.differs(others, "further targets of the route: asked for prompts that are too long, and last")
        else:
            self.report.differs(others, "further targets of the route, with `on_refusal: failover`")

    def _direct(self, name: str) -> Entry | None:
        """A target of a provider that is open to every name."""
        head, _, model = name.partition("/")
        return Entry(head, model) if model and head in self.draft.document.get("providers", {}) else None

    # ---------------------------------------------------------------- routes

    def _routes(self) -> None:
        if (checks := self.source.setting("enable_pre_call_checks")) is not None:
            self.report.kept(checks, "always so: a prompt that is certainly too long for a target goes to another")
        more = self.source.setting("optional_pre_call_checks")
        for check in more.parts if more else []:
            if check.text in CHECKS:
                self.report.kept(check, CHECKS[check.text])
        own = {name: self._tiers(group) for name, group in self.groups.items()}
        for name in self.groups:
            self._add_route(name, own)
        for alias in self.source.settings("router_settings", "litellm_settings"):
            for name, item in (part.fields if (part := alias.get("model_group_alias")) else {}).items():
                self._alias(name, item)

    def _tiers(self, group: _Group) -> Spread:
        """Those of the lowest `order` share the requests; the others are there for when they fail."""
        orders = sorted({d.number("order") or 0.0 for d in group.deployments})
        tiers = [[d for d in group.deployments if (d.number("order") or 0.0) == order] for order in orders]
        for item in (d.said("order") for d in group.deployments):
            if item is not None:
                self.report.kept(item, "its place in the route")
        rest = [deployment.entry for tier in tiers[1:] for deployment in tier]
        return Spread(self._shares(tiers[0], shuffled=group.routing == SHUFFLE), rest)

    def _shares(self, tier: list[Deployment], *, shuffled: bool) -> list[tuple[Entry, float]]:
        """LiteLLM's own order: by weight where any has one, else by rpm, else by tpm."""
        by = next((m for m in ("weight", "rpm", "tpm") if any(d.number(m) for d in tier)), "") if shuffled else ""
        for item in (d.said(by) for d in tier) if by and len(tier) > 1 else ():
            if item is not None and by == "weight":
                self.report.kept(item, "its weight")
            elif item is not None:
                self.report.kept(item, "its weight too, as LiteLLM shares by it")
        for item in (d.said("weight") for d in tier) if len(tier) == 1 or not shuffled else ():
            if item is not None:
                self.report.lost(item, "there is nobody to share with" if len(tier) == 1 else "not used there either")
        return [(d.entry, max(0.0, d.number(by) or 0.0) if by else 1.0) for d in tier]

    def _chain(self, name: str, own: Mapping[str, Spread], *, seen: set[str]) -> Iterator[Spread]:
        """Who is asked after this model: its fallbacks and theirs, then those for long prompts and refusals."""
        if len(seen) > DEPTH_MAX:
            return
        rules = [self.next[kind].get(name, self.next[kind].get("*", [])) for kind in _FALLBACKS]
        for other in (other for rule in rules for other in rule):
            if other in seen:
                continue
            seen.add(other)
            if other in own:
                yield own[other]
                yield from self._chain(other, own, seen=seen)
            elif other in self.ids:
                yield Spread([(self.ids[other].entry, 1.0)])
            elif (entry := self._direct(other)) is not None:
                yield Spread([(entry, 1.0)])

    def _add_route(self, name: str, own: Mapping[str, Spread]) -> None:
        others = list(self._chain(name, own, seen={name}))
        spread, twice = own[name].then(others).merged()
        item = self.groups[name].deployments[0].item
        for target in twice:
            if target in {entry.target for entry in own[name].entries}:
                text = (
                    f"{target} is in `{name}` more than once: here it is once, with all shares and the first's limits"
                )
                self.report.default(text, item)
        group = self.groups[name]
        routing = ROUTINGS[group.routing]
        by_shares = group.routing == SHUFFLE and len({share for _, share in spread.first}) > 1
        if group.routing != SHUFFLE and spread.rest and len(spread.first) > 1:
            how = f"the first is chosen by lot{_MORE_OFTEN.get(routing.prefer, '')}"
            self.report.default(f"`{name}`: so that its fallbacks stay behind, {how}", item)
        policy = self._policy(name, spread, groups=1 + len(others))
        by = "weighted" if by_shares else routing.ours
        self._call(group, route(spread, spread_by=by, prefer=routing.prefer, policy=policy))

    def _policy(self, name: str, spread: Spread, *, groups: int) -> dict[str, Any]:
        """Where this route differs: enough attempts for what LiteLLM would try, and what a refusal does."""
        retries = self.draft.defaults.get("retries", {}).get("same_target_max", 1)
        policy = attempts(max(len(spread.entries), (retries + 1) * groups))
        refused = self.next["content_policy_fallbacks"]
        return policy | ({"on_refusal": "failover"} if refused.get(name) or refused.get("*") else {})

    def _call(self, group: _Group, section: Mapping[str, Any]) -> None:
        """Give the route its name or, where it cannot have that, an alias; no route where the name alone does it."""
        name = group.name
        if section == {"targets": [name]} and name.partition("/")[0] in self.draft.accounts:
            self.draft.list(name.partition("/")[0])
            self._note(group.named, self.report.kept, text="a target is asked for by this name without a route")
            self.shown[name] = name
            return
        shown = self.draft.called(name, section, besides=self.groups)
        self.draft.routes[shown] = dict(section)
        self.shown[name] = shown
        if shown == name:
            self._note(group.named, self.report.kept, text="a route of this name")
            return
        self.draft.aliases[name] = shown
        text = f"the route `{shown}`; callers may ask for `{name}`, its alias, which lists of models leave out"
        self._note(group.named, self.report.differs, text=text)

    def _shown(self, name: str) -> str | None:
        """What a model is called here; None where there is none of this name."""
        entry = self._direct(name)
        return self.shown.get(name) or (entry.target if entry else None)

    @staticmethod
    def _note(items: Iterable[Item], note: Callable[[Item, str], None], *, text: str) -> None:
        for item in items:
            note(item, text)

    def _alias(self, name: str, item: Item) -> None:
        """Another name for a route or a target."""
        target, hidden = (item.get("model"), item.get("hidden")) if item.fields else (item, None)
        meant = self._shown(target.text) if target else None
        if target is None or meant is None or name in {*self.draft.routes, *self.draft.aliases, "auto"}:
            self.report.lost(item, "there is no model of that name, or there is one of this already")
            return
        self.draft.aliases[name] = meant
        if hidden is not None and hidden.text == "true":
            self.report.kept(target, f"the alias `{name}` of `{meant}`")
            self.report.kept(hidden, "lists of models leave aliases out")
            return
        for part in (target, hidden):
            if part is not None:
                self.report.differs(part, f"the alias `{name}` of `{meant}`, which lists of models leave out")

    def _remarks(self) -> None:
        """What is otherwise although the file does not mention it."""
        self.report.default("listens on 127.0.0.1:4100, LiteLLM on 0.0.0.0:4000: see `server.host` and `server.port`")
        if any(section.get("strategy") for section in self.draft.routes.values()):
            self.report.default("when a target fails, the others of its route are asked, whichever was chosen first")
