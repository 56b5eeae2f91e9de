"""One entry of LiteLLM's `model_list`: which provider, which model, and what is said of them.

read = Deployments(draft, secrets, credentials={}, may_drop=())
deployment = read.deployment(item)          None where `read.problems` says why it cannot be used
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from unbroken.catalog import Provider, nearest, providers
from unbroken.config_file import Problem
from unbroken.imports.draft import Draft, Entry, Pairs, Place, address_problem, host_words, literal, slug, variable
from unbroken.imports.litellm_words import FAMILIES, LIMITS, MODES, PARTNERS, PREFIXES, PRICES, Prefix
from unbroken.imports.secrets import Secrets
from unbroken.imports.source import Item, problem_at

__all__ = ["Deployment", "Deployments"]

NAME_CHARS_MAX = 256
"""The longest name of a route."""

_VARIABLE = re.compile(r".*\$\{(\w+?)(?:_API)?(?:_KEY|_BASE|_URL|_TOKEN)?\}.*")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_AZURE = ".openai.azure.com"
_AZURE_PATH = "/openai/deployments/{model}?api-version={api_version}"
_BEDROCK_WAYS = ("converse/", "converse_like/", "invoke/")
_OPTIONS: Mapping[str, str] = {
    "api_version": "api_version", "vertex_project": "project", "vertex_location": "location",
    "aws_region_name": "region",
}  # fmt: skip
"""LiteLLM's words for what our rows call options."""
_ABILITIES: Mapping[str, str] = {
    "supports_function_calling": "tools", "supports_vision": "vision", "supports_response_schema": "schema",
    "supports_audio_input": "audio",
}  # fmt: skip
_USUAL_AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_AZURE_LOGIN = ("azure_ad_token", "tenant_id", "client_id", "client_secret", "azure_username", "azure_password")
_SECRET_HEADER = re.compile(r"auth|key|token|secret|cookie", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """An entry of the list: the name that callers use, our account and target, and what its order is made of."""

    group: str
    prefix: str
    item: Item
    place: Place
    entry: Entry
    params: Mapping[str, Item] = field(default_factory=dict)
    info: Mapping[str, Item] = field(default_factory=dict)

    @property
    def wild(self) -> bool:
        """Whether it stands for all models of a provider."""
        return "*" in self.group or "*" in self.entry.model

    def number(self, name: str) -> float | None:
        """A number that is said of it, among its parameters or beside them; None where there is none."""
        found = self.params.get(name) or self.item.get(name) or self.info.get(name)
        return found.number if found else None

    def said(self, name: str) -> Item | None:
        """Where that is said."""
        return self.params.get(name) or self.item.get(name) or self.info.get(name)


class Deployments:
    """Reads entries; what cannot be used is a problem, what was taken over a note."""

    def __init__(
        self,
        draft: Draft,
        secrets: Secrets,
        *,
        credentials: Mapping[str, Item],
        may_drop: tuple[str, ...],
        concurrent_max: int | None = None,
    ) -> None:
        """`credentials` are the named ones.

        `may_drop` is for formats that have no words for some parameters, `concurrent_max` for
        deployments that have no limits of their own.
        """
        self.draft = draft
        self.secrets = secrets
        self.report = secrets.report
        self.problems: list[Problem] = []
        self._credentials = credentials
        self._may_drop = may_drop
        self._concurrent_max = concurrent_max

    def deployment(self, item: Item) -> Deployment | None:
        """What an entry of the list comes to."""
        name, given = item.get("model_name"), item.get("litellm_params")
        model = given.get("model") if given else None
        if name is None or not 0 < len(name.text) <= NAME_CHARS_MAX:
            self.problems.append(
                problem_at(name or item, f"a model needs a `model_name`, of {NAME_CHARS_MAX} characters at most")
            )
            return None
        if given is None or model is None or not model.text:
            self.problems.append(problem_at(item, "a model needs a `litellm_params.model`"))
            return None
        params = {
            **self._credential(given),
            **{key: part for key, part in given.fields.items() if part.value is not None},
        }
        wrong = len(self.problems)
        head, rest = _split(model, params)
        prefix = self._prefix(head, model, params=params)
        if prefix is None or (prefix.row == "vertex" and self._is_partner(rest, model)):
            return None
        place, rest = self._place(prefix, rest, params=params)
        if not rest or len(self.problems) > wrong:
            self.problems += (
                [] if len(self.problems) > wrong else [problem_at(model, "a prefix needs a model behind it")]
            )
            return None
        info = item.get("model_info")
        entry = Entry("", literal(rest), self._details(params, info, item=item))
        if (custom := params.get("custom_llm_provider")) is not None:
            self.report.kept(custom, "the provider")
        self.secrets.options(place, item)
        self.report.kept(model, f"{prefix.row or head}: {rest}" + (f"; {prefix.note}" if prefix.note else ""))
        return Deployment(
            group=name.text,
            prefix=head,
            item=item,
            place=place,
            entry=entry,
            params=params,
            info=info.fields if info else {},
        )

    def named(self, deployment: Deployment) -> Deployment:
        """With an account in the draft; the words that tell it from others come from its address, region or key."""
        place = deployment.place
        options = dict(place.options)
        told = (place.base_url, options.get("resource"), options.get("region"), options.get("project"), place.key)
        words = next((word for word in told if word), "")
        hint = _VARIABLE.sub(r"\1", words) if "${" in words else host_words(words)
        account = self.draft.account(place, hint=slug(hint.replace("_", "-")).removeprefix(f"{place.like}-"))
        return replace(deployment, entry=replace(deployment.entry, account=account))

    # -------------------------------------------------------------- provider

    def _credential(self, given: Item) -> Mapping[str, Item]:
        """What a named credential says."""
        name = given.get("litellm_credential_name")
        if name is None:
            return {}
        found = self._credentials.get(name.text)
        if found is None:
            self.problems.append(problem_at(name, "there is no credential of this name in `credential_list`"))
            return {}
        self.report.kept(name, "its values are taken")
        return found.fields

    def _prefix(self, head: str, model: Item, *, params: Mapping[str, Item]) -> Prefix | None:
        """What stands behind a prefix; None, with a problem, where that is unknown."""
        if found := PREFIXES.get(head):
            return found
        if params.get("api_base") is not None:
            note = f"`{head or model.text}` is taken for an OpenAI-compatible server, as it has an `api_base`"
            self.report.differs(model, note)
            return Prefix()
        hint = nearest(head or model.text, PREFIXES)
        meant = f"; did you mean `{hint}/`?" if hint else ""
        what = f"nothing is known of the provider `{head}`" if head else "which provider is this? No prefix says so"
        self.problems.append(problem_at(model, f"{what}, and there is no `api_base`{meant}"))
        return None

    def _is_partner(self, rest: str, model: Item) -> bool:
        """Whether this is a model at Vertex AI that our format does not reach."""
        if not any(word in rest.lower() for word in PARTNERS):
            return False
        self.problems.append(problem_at(model, "of Vertex AI only Google's own models can be asked here"))
        return True

    def _place(self, prefix: Prefix, rest: str, *, params: Mapping[str, Item]) -> tuple[Place, str]:
        """The account, and the model's name without what LiteLLM puts into it."""
        base = self._base(prefix, params)
        row = providers().get(prefix.row)
        if (base and prefix.own) or row is None:
            row = _row_at(base)
        options, address = self._options(params), base
        if prefix.row == "azure-deployments":
            options, address = self._azure(base, options)
        elif prefix.row == "bedrock":
            rest, options = _bedrock(rest, options)
        elif prefix.row == "huggingface" and row is not None and rest.count("/") == 2:
            at, _, rest = rest.partition("/")
            rest = f"{rest}:{at}"
        elif row is not None and base == row.base_url:
            address = ""
        place = Place(
            like=row.name if row else "",
            base_url=address,
            format=prefix.format,
            key=self._key(prefix, row, params=params, words=_key_words(row, base)),
            options=tuple(options.items()),
            headers=self._headers(params),
            may_drop=self._may_drop if row is not None and row.format != "openai_chat" else (),
            same_target_max=self._retries(params),
        )
        return place, rest

    def _base(self, prefix: Prefix, params: Mapping[str, Item]) -> str:
        """The address that is given, or that the prefix has; empty where the row knows it."""
        item = params.get("api_base") or params.get("base_url") or params.get("aws_bedrock_runtime_endpoint")
        if item is None:
            return f"${{{prefix.base}}}" if prefix.base else prefix.base_url
        base = self.secrets.text(item).rstrip("/")
        if problem := address_problem(base):
            self.problems.append(problem_at(item, problem))
            return ""
        if base.startswith("${") and (prefix.path or prefix.row == "azure-deployments"):
            self.report.differs(item, "the address in that variable must not end in a slash")
        elif prefix.row in {"gemini", "vertex", "cohere"}:
            self.report.differs(item, "taken as the address below which the provider's own paths are")
        else:
            self.report.kept(item, "the provider's base_url")
        return base + prefix.path if not base.endswith(prefix.path or "/") else base

    def _azure(self, base: str, options: dict[str, str]) -> tuple[dict[str, str], str]:
        """Options and address of a resource; an address that is not Azure's own usual one is kept."""
        host = urlsplit(base).hostname or "" if "${" not in base else ""
        if host.endswith(_AZURE):
            return {"resource": host.removesuffix(_AZURE), **options}, ""
        return options, base if "/openai/" in base else base + _AZURE_PATH

    def _options(self, params: Mapping[str, Item]) -> dict[str, str]:
        found = {ours: params[theirs] for theirs, ours in _OPTIONS.items() if theirs in params}
        for ours, item in found.items():
            self.report.kept(item, f"the option `{ours}`")
        return {ours: self.secrets.text(item) for ours, item in found.items()}

    def _retries(self, params: Mapping[str, Item]) -> int | None:
        item = params.get("num_retries") or params.get("max_retries")
        if item is None or item.number is None:
            return None
        self.report.kept(item, "same_target_max of the provider")
        return max(0, int(item.number))

    # ------------------------------------------------------------------ keys

    def _key(self, prefix: Prefix, row: Provider | None, *, params: Mapping[str, Item], words: str) -> str:
        """A reference to the key; empty where our row looks for the same one itself."""
        if prefix.row == "bedrock":
            return self._aws(params)
        if prefix.row == "vertex":
            return self._google(params.get("vertex_credentials"))
        if prefix.row == "azure-deployments" and "api_key" not in params and any(n in params for n in _AZURE_LOGIN):
            return self._entra(params)
        key = self.secrets.key(params.get("api_key"), words=words)
        if not params.get("api_key") and prefix.key and not (row is None and params.get("api_base")):
            key = f"${{{prefix.key}}}"
        return "" if row is not None and "api_key" not in params and key[2:-1] in row.key_env else key

    def _aws(self, params: Mapping[str, Item]) -> str:
        """AWS' own ways to find credentials do what LiteLLM's parameters did, if they are in the usual variables."""
        given = [params[n] for n in ("aws_access_key_id", "aws_secret_access_key", "aws_session_token") if n in params]
        for item, usual in zip(given, _USUAL_AWS, strict=False):
            if item.text == f"os.environ/{usual}":
                self.report.kept(item, "AWS' usual variable, which is looked up")
            else:
                self.report.differs(item, f"AWS' usual chain is asked: set {usual}, or write a profile")
                self.report.needed(usual, item, text="for Bedrock; several accounts are profiles: `key: aws:PROFILE`")
        if (profile := params.get("aws_profile_name")) is not None:
            self.report.kept(profile, "the key aws:PROFILE")
            return f"aws:{self.secrets.text(profile)}"
        if (role := params.get("aws_role_name")) is not None:
            self.report.lost(role, "make a profile with this `role_arn`, and write `key: aws:PROFILE`")
        return self.secrets.key(params.get("api_key"), words="aws_bearer_token_bedrock")

    def _google(self, item: Item | None) -> str:
        if item is None:
            return ""
        if isinstance(item.value, dict) or item.text.startswith("{"):
            self.report.differs(
                item, "write the service account's key into a file and set VERTEX_CREDENTIALS to its path"
            )
            self.report.needed("VERTEX_CREDENTIALS", item, text="the path of a service account's key")
            return "google:${VERTEX_CREDENTIALS}"
        self.report.differs(item, "taken as the path of a service account's key")
        return f"google:{self.secrets.text(item)}"

    def _entra(self, params: Mapping[str, Item]) -> str:
        for item in (params[name] for name in _AZURE_LOGIN if name in params):
            self.report.differs(item, "Azure's usual login is used: set AZURE_TENANT_ID, AZURE_CLIENT_ID and so on")
        return "azure-ad:"

    def _headers(self, params: Mapping[str, Item]) -> Pairs:
        """Further headers; one that looks like a key becomes a reference."""
        found: dict[str, str] = {}
        for item in (params.get("extra_headers"), params.get("headers"), params.get("default_headers")):
            for name, value in item.fields.items() if item else ():
                secret = bool(_SECRET_HEADER.search(name))
                found[name] = self.secrets.key(value, words=variable(name)) if secret else self.secrets.text(value)
                if not secret:
                    self.report.kept(value, "a header of the provider")
        if (organization := params.get("organization")) is not None:
            self.report.kept(organization, "the header openai-organization")
            found["openai-organization"] = self.secrets.text(organization)
        return tuple(found.items())

    # --------------------------------------------------------------- details

    def _details(self, params: Mapping[str, Item], info: Item | None, *, item: Item) -> dict[str, Any]:
        """What a route says of this target; some of it may stand beside its parameters, in `item` itself."""
        said = {**(info.fields if info else {}), **params}
        details = {
            "tasks": self._tasks(said.get("mode")),
            "capabilities": self._capabilities(said),
            "context_tokens": self._context(said.get("max_input_tokens")),
            "model_like": self._like(said.get("base_model")),
            "price": dict(self._prices(said)),
            "regions": self._regions(said.get("region_name")),
            "deadlines": dict(self._deadlines(params)),
            "limits": dict(self._limits({**said, **{n: p for n in LIMITS if (p := params.get(n) or item.get(n))}})),
        }
        return {key: value for key, value in details.items() if value}

    def _tasks(self, mode: Item | None) -> list[str]:
        task = MODES.get(mode.text) if mode else None
        if mode is None or task is None:
            return []
        self.report.kept(mode, "the target's tasks" if task != "chat" else "a target takes any work, so chat too")
        return [] if task == "chat" else [task]

    def _capabilities(self, said: Mapping[str, Item]) -> list[str]:
        """Only what is denied says something here: all is assumed until then."""
        flags = {ours: said[theirs] for theirs, ours in _ABILITIES.items() if theirs in said}
        for item in flags.values():
            self.report.kept(item, "among the capabilities" if item.text == "false" else "assumed unless it is denied")
        denied = {ours for ours, item in flags.items() if item.text == "false"}
        return [ability for ability in _ABILITIES.values() if ability not in denied] if denied else []

    def _context(self, item: Item | None) -> int | None:
        if item is None or not item.number or item.number < 1:
            return None
        self.report.kept(item, "context_tokens")
        return int(item.number)

    def _like(self, item: Item | None) -> str:
        if item is None:
            return ""
        self.report.kept(item, "model_like: limits, abilities and price are that model's")
        return self.secrets.text(item)

    def _regions(self, item: Item | None) -> list[str]:
        if item is None or not item.text:
            return []
        self.report.kept(item, "regions of the target")
        return [self.secrets.text(item)]

    def _limits(self, said: Mapping[str, Item]) -> Iterator[tuple[str, int]]:
        """What it may take; LiteLLM's general number of requests at once is for those of which nothing is said."""
        known = False
        for theirs, ours in LIMITS.items():
            item = said.get(theirs)
            if item is None or item.number is None or item.number < 1:
                continue
            known = True
            if ours == "concurrent_max":
                self.report.kept(item, f"limits.{ours}")
            else:
                text = f"limits.{ours}: beyond it others are asked, or the request waits; LiteLLM heeds it if told to"
                self.report.differs(item, text)
            yield ours, int(item.number)
        if not known and self._concurrent_max is not None:
            yield "concurrent_max", self._concurrent_max

    def _prices(self, said: Mapping[str, Item]) -> Iterator[tuple[str, float]]:
        for theirs, (ours, factor) in PRICES.items():
            item = said.get(theirs)
            if item is not None and item.number is not None and item.number >= 0:
                self.report.kept(item, f"price.{ours}" + (", by the million" if factor > 1 else ""))
                yield ours, round(item.number * factor, 9)

    def _deadlines(self, params: Mapping[str, Item]) -> Iterator[tuple[str, float]]:
        """One attempt's limits: until it begins to answer, and between two pieces of a stream."""
        for theirs, ours, means in (
            ("timeout", "first_content_s", "until an answer begins; a plain one begins when it is complete"),
            ("stream_timeout", "gap_s", "between two pieces of a stream"),
        ):
            item = params.get(theirs)
            if item is not None and item.number is not None and item.number > 0:
                self.report.differs(item, f"deadlines.{ours}: {means}")
                yield ours, item.number


def _split(model: Item, params: Mapping[str, Item]) -> tuple[str, str]:
    """Prefix and the rest, as LiteLLM takes a name apart; the prefix is empty where nothing tells it."""
    head, slash, rest = model.text.partition("/")
    if (custom := params.get("custom_llm_provider")) is not None:
        return custom.text, rest if head == custom.text else model.text
    if slash and (head in PREFIXES or not model.text.startswith("ft:")):
        return head, rest
    family = next((prefix for beginning, prefix in FAMILIES if model.text.startswith(beginning)), "")
    return family or ("openai" if "api_base" in params else ""), model.text


def _row_at(base: str) -> Provider | None:
    """The hosted provider whose address this is."""
    rows = (row for row in providers().values() if not row.local and row.base_url == base)
    return next(rows, None) if base else None


def _key_words(row: Provider | None, base: str) -> str:
    """What the variable of a key is called."""
    return row.key_env[0] if row is not None and row.key_env else f"{host_words(base)}_api_key"


def _bedrock(rest: str, options: dict[str, str]) -> tuple[str, dict[str, str]]:
    """A Bedrock model without the way it is asked and the region, which may both stand before it."""
    for way in _BEDROCK_WAYS:
        rest = rest.removeprefix(way)
    region, slash, model = rest.partition("/")
    if slash and _REGION.fullmatch(region):
        return model, {"region": region, **options}
    return rest, options
