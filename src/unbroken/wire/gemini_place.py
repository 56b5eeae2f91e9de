"""Where Google's models are asked: the Gemini API and Vertex AI, whose bodies are the same.

    place(target) -> Target      with the address below which the models are
    address(target, verb)        the path of a model's method below it
    model_and_verb(path)         the same read from a caller's path
    paths(*verbs)                where these methods are mounted for callers

The Gemini API shows its key in `x-goog-api-key`; Vertex AI wants a bearer token (`Target.auth`).
`options["project"]` and `options["location"]` stand in for an address of Vertex AI written out.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote, unquote

from unbroken.types import Target

__all__ = ["KEY_IN", "address", "is_vertex", "model_and_verb", "paths", "place"]

KEY_IN = "x-goog-api-key"
_REGIONS = frozenset(("us", "eu"))
_DEVELOPERS = "generativelanguage.googleapis.com"


def place(target: Target) -> Target:
    """The target with the address below which its models are; the address' own query stays behind it."""
    base, mark, query = target.base_url.partition("?")
    base = base.rstrip("/").removesuffix("/openai")  # the address of Google's own OpenAI format
    project = target.options.get("project")
    if project and "/projects/" not in base:
        location = target.options.get("location") or "global"
        if not base or _DEVELOPERS in base:
            base = f"https://{_host(location)}/{target.options.get('api_version') or 'v1'}"
        base += f"/projects/{quote(project)}/locations/{quote(location)}/publishers/google"
    return replace(target, base_url=base + mark + query)


def _host(location: str) -> str:
    if location == "global":
        return "aiplatform.googleapis.com"
    if location in _REGIONS:
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{quote(location)}-aiplatform.googleapis.com"


def is_vertex(target: Target) -> bool:
    """Whether models are asked at Vertex AI."""
    return "/publishers/" in place(target).base_url


def address(target: Target, verb: str) -> str:
    """The path of a model's method; tuned models are beside `models`."""
    model = quote(target.model.removeprefix("models/"), safe="/@.-_~")
    folder = "" if model.startswith("tunedModels/") else "models/"
    return f"/{folder}{model}:{verb}"


# ----------------------------------------------------------------------- from a caller

_ROOTS = (
    "/v1beta",
    "/v1",
    "/v1beta1/projects/{project}/locations/{location}/publishers/{publisher}",
    "/v1/projects/{project}/locations/{location}/publishers/{publisher}",
    "/v1beta1/publishers/{publisher}",
    "/v1/publishers/{publisher}",
)
"""Of the Gemini API, of Vertex AI, and of Vertex AI with a key in place of a project."""


def paths(*verbs: str) -> tuple[str, ...]:
    """Where a gateway mounts these methods."""
    return tuple(f"{root}/models/{{model}}:{verb}" for root in _ROOTS for verb in verbs)


def model_and_verb(path: str) -> tuple[str, str]:
    """The model and the method that a path names, empty where it names none."""
    name, _, verb = path.partition("?")[0].rpartition(":")
    return unquote(name.rpartition("/models/")[2] if "/models/" in name else ""), verb
