"""The client for programs: every kind of work, answered by whoever is well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from unbroken.config import Config
from unbroken.faces.client import operations
from unbroken.faces.client.building import Source, Values, from_environment, setup_of
from unbroken.faces.client.choice import AUTO, known_account
from unbroken.faces.client.core import Cabin
from unbroken.faces.client.custom import Chatting, Provider, provider_of
from unbroken.faces.client.estimates import estimate_of
from unbroken.faces.client.health import check
from unbroken.faces.client.operations import Generated, ProviderStatus
from unbroken.faces.client.results import (
    Answer,
    Embeddings,
    Estimate,
    Health,
    Made,
    Model,
    answer_of,
    embeddings_of,
    made_of,
)
from unbroken.faces.client.streams import Stream
from unbroken.faces.client.tally import Statistics
from unbroken.faces.client.wishes import (
    ChatOptions,
    CompleteOptions,
    EmbedOptions,
    ImageOptions,
    Messages,
    VideoOptions,
    chat_request,
    check_options,
    completion_request,
    film_request,
    picture_request,
    texts_request,
)
from unbroken.failures import UnbrokenError

if TYPE_CHECKING:
    from unbroken.faces.client.blocking import SyncUnbroken

__all__ = ["Unbroken"]

Given = TypeVar("Given", bound=Provider | type[Provider] | Chatting)


class Unbroken:
    """AI calls that stay answered when providers fail; `docs/client.md` teaches it.

        Unbroken("unbroken.yaml")                     a file, as `unbroken serve` reads it
        Unbroken(providers={"groq": {}, "own": ask})  what would stand in a file; a function is a provider too
        Unbroken.from_env()                           every provider whose key is in the environment
        Unbroken()                                    $UNBROKEN_CONFIG, ./unbroken.yaml, or the environment
        Unbroken.sync(...)                            the same for programs without an event loop

    One client serves any number of calls at once, and belongs to the event loop of its first one.
    Close it, or use it in an `async with`.  Calls raise an `UnbrokenError` (RequestError,
    TargetsExhausted or DeadlineExceeded), whose `failure` says what happened and whose `attempts`
    after what.  ConfigError says what is wrong with a configuration.
    """

    def __init__(
        self,
        source: Source = None,
        *,
        providers: Mapping[str, Any] | None = None,
        routes: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """`environ` is where keys are looked up: the process's own environment unless given."""
        given = {"providers": providers, "routes": routes, "defaults": defaults}
        values = {name: value for name, value in given.items() if value is not None}
        self._cabin = Cabin(setup_of(source, values, environ=environ))
        self._checks: dict[str, Health] = {}

    @classmethod
    def from_file(cls, path: str | Path, *, environ: Mapping[str, str] | None = None) -> Self:
        """A client for this configuration file."""
        return cls(path, environ=environ)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """A client for every provider whose key is in the environment, whatever files there are."""
        return cls(from_environment(environ))

    @staticmethod
    def sync(source: Source = None, **values: Unpack[Values]) -> SyncUnbroken:
        """The same client for programs without an event loop; it takes what `Unbroken` takes."""
        from unbroken.faces.client.blocking import SyncUnbroken  # noqa: PLC0415 - it is built on this class

        return SyncUnbroken(source, **values)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End what is under way and close every connection."""
        await self._cabin.close()

    @property
    def config(self) -> Config:
        """What is configured at this moment; `config.warnings` is what is probably not meant."""
        return self._cabin.config

    # -------------------------------------------------------------------------- calls

    async def chat(self, messages: Messages, **options: Unpack[ChatOptions]) -> Answer:
        """The answer to a text, or to messages as OpenAI's clients take them."""
        check_options("chat", options, known=ChatOptions)
        return await self._cabin.fly(chat_request(messages, options), options, made=answer_of)

    def stream(self, messages: Messages, **options: Unpack[ChatOptions]) -> Stream:
        """The same as it comes: `async for chunk in client.stream(...)`; one that breaks is gone on with elsewhere."""
        check_options("stream", options, known=ChatOptions)
        request = chat_request(messages, options, stream=True)
        return Stream(lambda done: self._cabin.stream(request, options, done=done))

    async def complete(self, prompt: str, **options: Unpack[CompleteOptions]) -> Answer:
        """A text carried on; a chat model is given it as a message."""
        check_options("complete", options, known=CompleteOptions)
        return await self._cabin.fly(completion_request(prompt, options), options, made=answer_of)

    async def embed(self, texts: str | Sequence[str], **options: Unpack[EmbedOptions]) -> Embeddings:
        """A vector for each text; only hosts of one model are asked, since vectors of two cannot be compared."""
        check_options("embed", options, known=EmbedOptions)
        return await self._cabin.fly(texts_request(texts, options), options, made=embeddings_of)

    async def image(self, prompt: str, **options: Unpack[ImageOptions]) -> Made:
        """A picture, or `count` of them; what is no picture counts as a failure."""
        check_options("image", options, known=ImageOptions)
        return await self._cabin.fly(picture_request(prompt, options), options, made=made_of)

    async def video(self, prompt: str, **options: Unpack[VideoOptions]) -> Made:
        """A film, which takes minutes: a job that fails is begun anew elsewhere."""
        check_options("video", options, known=VideoOptions)
        return await self._cabin.fly(film_request(prompt, options), options, made=made_of)

    def models(self) -> list[Model]:
        """What can be asked for: routes, other names for them, then each target by its own name."""
        named = {name: self.config.resolve(name) for name in (*self.config.routes, *self.config.aliases)}
        routes = [
            Model(id=name, targets=tuple(t.name for t in route.targets)) for name, route in named.items() if route
        ]
        single = {target.model_scope: target for target in reversed(self.config.targets)}
        return routes + [
            Model(
                id=name, targets=(name,), tasks=target.tasks, capabilities=target.capabilities,
                context_tokens=target.context_tokens, price=target.price,
            )
            for name, target in reversed(single.items())
            if name not in named
        ]  # fmt: skip

    def estimate_cost(self, messages: Messages, **options: Unpack[ChatOptions]) -> Estimate:
        """What a chat would cost, asked like this; nothing is sent."""
        check_options("estimate_cost", options, known=ChatOptions)
        request = chat_request(messages, options)
        return estimate_of(request, self._cabin.route_for(request, options))

    async def check_health(self, *providers: str) -> dict[str, Health]:
        """How these providers are, or all: each is asked for its list of models, or where it has none for one word.

        It changes nothing for requests: breakers learn from real work.
        """
        return {name: await self._check(name) for name in providers or self.config.accounts}

    # ------------------------------------------------------------- providers of one's own

    def register(
        self, name: str, provider: Provider | Chatting, *, route: str | None = AUTO, first: bool = False
    ) -> None:
        """Take in an async function or a `Provider` under this name, at the end of a route or as its `first`."""
        self._cabin.register(name, provider_of(provider), route=route, first=first)

    def provider(self, name: str, *, route: str | None = AUTO, first: bool = False) -> Callable[[Given], Given]:
        """As `register`, for a function or a class below it: `@client.provider("own")`."""

        def taken(given: Given) -> Given:
            self.register(name, given() if isinstance(given, type) else given, route=route, first=first)
            return given

        return taken

    # --------------------------------------------------- the operations of a provider manager

    async def generate_text(
        self,
        messages: Messages,
        preferred_provider: str | None = None,
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        tool_choice: str | Mapping[str, Any] | None = None,
    ) -> Generated:
        """`chat` with plain values: `content`, `provider`, `failover_occurred`; or `error`, and nothing is raised."""
        options: dict[str, Any] = {
            "prefer": preferred_provider, "model": model, "temperature": temperature, "max_tokens": max_tokens,
            "tools": tools, "tool_choice": tool_choice,
        }  # fmt: skip
        said = {name: value for name, value in options.items() if value is not None}
        try:
            return operations.generated(await self.chat(messages, **said))
        except UnbrokenError as error:
            return operations.failed(error)

    async def generate_image(
        self, prompt: str, preferred_provider: str | None = None, *, size: str = "", as_url: bool = False
    ) -> str | bytes:
        """A picture's bytes, or its address where that is wanted and there is one; raises as `image` does."""
        options: ImageOptions = {"size": size, "as_url": as_url}
        if preferred_provider is not None:
            options["prefer"] = preferred_provider
        made = await self.image(prompt, **options)
        return made.url or made.data

    async def health_check_all(self) -> dict[str, Health]:
        """`check_health` of every provider; each is true where it is well."""
        return await self.check_health()

    async def force_health_check(self, name: str) -> Health:
        """`check_health` of one provider, now, also of one that is disabled."""
        return await self._check(name)

    def get_provider_status(self) -> dict[str, ProviderStatus]:
        """How every provider stands, by name."""
        return operations.status(self._cabin, self._checks)

    def get_statistics(self) -> Statistics:
        """What was counted since the beginning, or the last reset."""
        return self._cabin.statistics()

    def reset_statistics(self) -> None:
        """Count from nought; breakers and what is known of speeds stay."""
        self._cabin.reset_statistics()

    def enable_provider(self, name: str) -> None:
        """Let a provider take part again, with its breaker closed."""
        operations.force(self._cabin, name, off=False)

    def disable_provider(self, name: str) -> None:
        """Ask this provider nothing more, not even as a last resort; what is under way ends."""
        operations.force(self._cabin, name, off=True)

    def set_failover_strategy(self, strategy: str, route: str | None = None) -> None:
        """How targets are chosen on a route, or on all: any strategy of a configuration, such as `weighted`."""
        operations.strategize(self._cabin, strategy, route=route)

    async def _check(self, name: str) -> Health:
        account = known_account(self.config, name)
        self._cabin.settle_in()
        health = self._checks[name] = await check(self._cabin.engine, account, targets=self._cabin.targets_of(name))
        return health
