"""Configuration: what a file or the environment comes to, and what is said about a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from unbroken.config import EXPLICIT_MAX, Config, ConfigError, Problem, Server, load
from unbroken.policy import Policy
from unbroken.types import Task

PLANTED = "planted4Secret7Value"


def read(tmp_path: Path, text: str, **environ: str) -> Config:
    file = tmp_path / "unbroken.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file, environ)


def problems(tmp_path: Path, text: str, **environ: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, **environ)
    return caught.value.problems


ROUTE = "routes:\n  fast:\n    targets: [{}]\n"
OWN = "providers:\n  mine:\n    base_url: http://10.0.0.5:8000/v1\n"

WRONG: list[tuple[str, int, str, str]] = [
    # unknown keys
    ("sever: {}", 1, "sever", "did you mean `server`?"),
    ("server:\n  prt: 1", 2, "server.prt", "did you mean `port`?"),
    ("providers:\n  openai:\n    modle: x", 3, "providers.openai.modle", "did you mean `model`?"),
    (ROUTE.format("openai/a") + "    startegy: race", 4, "routes.fast.startegy", "did you mean `strategy`?"),
    (ROUTE.format("openai/a") + "    retries: {}", 4, "routes.fast.retries", "belongs under `policy`"),
    (ROUTE.format("{target: openai/a, wieght: 2}"), 3, "routes.fast.targets[0].wieght", "did you mean `weight`?"),
    ("defaults:\n  deadlines:\n    total: 5", 3, "defaults.deadlines.total", "did you mean `total_s`?"),
    ("defaults:\n  zzz: 5", 2, "defaults.zzz", "known here: deadlines, retries"),
    # wrong types
    ("[a, b]", 1, "", "expected a mapping"),
    ("server: yes", 1, "server", "expected a mapping"),
    ("server: {port: soon}", 1, "server.port", "expected a whole number, found text"),
    ("server: {port: '4100'}", 1, "server.port", "expected a whole number, found text"),
    ("server: {port: 4100.5}", 1, "server.port", "expected a whole number, found `4100.5`"),
    ("server: {port: [1]}", 1, "server.port", "expected a whole number, found a list"),
    ("server:\n  port:", 2, "server.port", "expected a whole number, found nothing"),
    ("server: {host: 4}", 1, "server.host", "expected text, found a number; put it in quotes"),
    ("server: {body_limit_mb: 1:30}", 1, "server.body_limit_mb", "expected a number, found `1:30`"),
    ("server: {body_limit_mb: .inf}", 1, "server.body_limit_mb", "expected a number"),
    ("server: {keys: {a: b}}", 1, "server.keys", "expected a list, found a mapping"),
    ("server: {host: !thing x}", 1, "server.host", "tags"),
    ("{[a]: b}", 1, "", "expected a plain name as key"),
    ("defaults: {hedging: {p95: 3}}", 1, "defaults.hedging.p95", "expected true or false"),
    # words and numbers
    ("server: {port: 70000}", 1, "server.port", "between 0 and 65535"),
    ("defaults: {on_empty: failovr}", 1, "defaults.on_empty", "did you mean `failover`?"),
    ("defaults: {on_refusal: x}", 1, "defaults.on_refusal", "one of return, failover"),
    ("defaults: {stream: {rescue: restart}}", 1, "defaults.stream.rescue", "restart-if-unseen"),
    ("defaults: {stream: {tool_calls: wole}}", 1, "defaults.stream.tool_calls", "did you mean `whole`?"),
    ("defaults: {deadlines: {read_s: 0}}", 1, "defaults.deadlines.read_s", "more than 0"),
    ("defaults: {deadlines: {gap_s: -1}}", 1, "defaults.deadlines.gap_s", "more than 0, not `-1`"),
    ("defaults: {deadlines: {reserve_share: 1.5}}", 1, "defaults.deadlines.reserve_share", "between 0 and 1"),
    ("defaults: {breaking: {failure_rate: 50}}", 1, "defaults.breaking.failure_rate", "between 0 and 1"),
    ("defaults: {retries: {attempts_max: 0}}", 1, "defaults.retries.attempts_max", "at least 1"),
    (ROUTE.format("openai/a") + "    strategy: priorty", 4, "routes.fast.strategy", "did you mean `priority`?"),
    (ROUTE.format("openai/a") + "    width: 0", 4, "routes.fast.width", "at least 1"),
    ("providers: {openai: {prefix: flg}}", 1, "providers.openai.prefix", "did you mean `flag`?"),
    ("providers: {openai: {capabilities: [tols]}}", 1, "providers.openai.capabilities[0]", "did you mean `tools`?"),
    ("providers: {openai: {tasks: [chatt]}}", 1, "providers.openai.tasks[0]", "did you mean `chat`?"),
    # YAML itself
    ("a: [", 1, "", "not YAML"),
    ("server:\n\tport: 1", 2, "", "tab"),
    ("a: 1\n---\nb: 2", 2, "", "only one document"),
    ("a: \x01", 0, "", "control character"),
    ("a: " + "[" * 50, 1, "", "nested too deeply"),
    ("server:\n  port: 1\n  port: 2", 3, "server.port", "given twice: the first is in line 2"),
    # what does not fit together
    ("providers:\n  opnai:", 2, "providers.opnai", "did you mean `openai`?"),
    ("providers:\n  mine: {like: gogle, base_url: http://x}", 2, "providers.mine.like", "did you mean `gemini`?"),
    ("providers:\n  a/b: {base_url: http://x}", 2, "providers.a/b", "letters, digits"),
    ("providers:\n  mine: {base_url: x}", 2, "providers.mine.base_url", "http://"),
    ("providers:\n  mine: {base_url: 'http://x:99999'}", 2, "providers.mine.base_url", "not an address"),
    ("providers:\n  mine: {base_url: http://u:p@x}", 2, "providers.mine.base_url", "no user"),
    ("providers:\n  openai: {format: opnai_chat}", 2, "providers.openai.format", "no such wire format"),
    ("providers:\n  openai: {key: a, keys: [b]}", 2, "providers.openai.key", "either"),
    ("providers:\n  openai: {keys: [a, a]}", 2, "providers.openai.keys", "twice"),
    ('providers:\n  openai: {key: "a\\nb"}', 2, "providers.openai.key", "header"),
    (ROUTE.format(""), 3, "routes.fast.targets", "at least one target"),
    ("routes:\n  fast:", 2, "routes.fast.targets", "at least one target"),
    ("routes:\n  fast: {width: 1}", 2, "routes.fast", "`targets` is missing"),
    (ROUTE.format("opnai/a"), 3, "routes.fast.targets[0]", "did you mean `openai`?"),
    (ROUTE.format("zzzzzz/a"), 3, "routes.fast.targets[0]", "providers here: none"),
    (ROUTE.format("{weight: 1}"), 3, "routes.fast.targets[0]", "`target` is missing"),
    (ROUTE.format("openai/a, openai/a"), 3, "routes.fast.targets[1]", "already"),
    (ROUTE.format("vllm"), 3, "routes.fast.targets[0]", "which model of vllm?"),
    (ROUTE.format("openai/"), 3, "routes.fast.targets[0]", "which model of openai?"),
    ("routes:\n  openai/a: {targets: [openai/b]}", 2, "routes.openai/a", "the first of this route"),
    ("routes:\n  openai/a: {targets: [openai/b, openai/a]}", 2, "routes.openai/a", "the first of this route"),
    ("routes:\n  ' ': {targets: [openai/b]}", 2, "routes. ", "1 to 256"),
    # safety and the environment
    ("server:\n  host: 0.0.0.0", 2, "server.host", "give `server.keys`"),
    ("server:\n  keys: ['']", 2, "server.keys", "empty"),
    ("server:\n  keys:\n    - ${GATEWAY_KEY}", 3, "server.keys[0]", "environment variable GATEWAY_KEY is not set"),
    ("server:\n  keys: [${EMPTY}]", 2, "server.keys[0]", "environment variable EMPTY is empty"),
    ("server:\n  host: ${1x}", 2, "server.host", "${NAME:-default}"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "key", "says"), WRONG, ids=[f"{c[2]}:{c[3][:20]}" for c in WRONG])
def test_wrong_configurations(tmp_path: Path, text: str, line: int, key: str, says: str) -> None:
    """An error names file, line and key, and says what was expected or meant."""
    found = [problem for problem in problems(tmp_path, text, EMPTY="") if says in problem.message]

    assert [(line, key)] == [(problem.line, problem.key) for problem in found]
    assert found[0].file.endswith("unbroken.yaml")


def test_all_errors_are_reported_together(tmp_path: Path) -> None:
    """One run names every error of a file, in the order of its lines."""
    found = problems(tmp_path, "server:\n  prt: 1\n  port: x\nroutes:\n  fast:\n    targets: [opnai/a]\n")

    assert [2, 3, 6] == [problem.line for problem in found]
    assert "unbroken.yaml:2: server.prt: unknown key; did you mean `port`?" in str(found[0])


def test_an_error_is_not_repeated_by_its_consequences(tmp_path: Path) -> None:
    """A route that names a provider with an error in it is not an error of its own."""
    assert len(problems(tmp_path, "providers:\n  mine: {}\n" + ROUTE.format("mine/a"))) == 1


def test_columns_point_at_the_value(tmp_path: Path) -> None:
    """The column is that of the value, so that a mark can stand under it."""
    (problem,) = problems(tmp_path, "server: {host: localhost, port: 70000}")

    assert problem.source[problem.column - 1 :].startswith("70000")


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_unreadable_files(tmp_path: Path, name: str) -> None:
    """A file that is not there or not a file is an error like any other."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / name, {})


def test_files_that_are_not_text_or_too_large(tmp_path: Path) -> None:
    """A wrong path to something binary or huge is told as such."""
    file = tmp_path / "x"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(file, {})

    file.write_bytes(b"#" * 4_000_001)
    with pytest.raises(ConfigError, match="hardly a configuration"):
        load(file, {})


# ------------------------------------------------------------------- good files


def test_a_format_that_exists(tmp_path: Path) -> None:
    """Any module of a wire format can be named."""
    config = read(tmp_path, "providers:\n  openai: {format: openai_embeddings, key: k}\n")

    assert config.targets[0].format == "openai_embeddings"


def test_targets_of_a_file(tmp_path: Path) -> None:
    """Every key of a provider is a target of its own, next to the others, with everything that was said of it."""
    config = read(
        tmp_path,
        """
providers:
  mine:
    base_url: ${URL:-http://10.0.0.5:8000/v1/}
    keys: [${KEY_A}, literal-key]
    model: small
    headers: {X-Team: search, x-number: 5, x-flag: "${FLAG:-}"}
    prefix: assistant
    capabilities: [tools, local]
    tasks: chat
    context_tokens: 8192
    deadlines: {read_s: 60, first_byte_s: 3}
    quota_group: ours
routes:
  fast:
    targets: [{target: mine/large, weight: 2, deadlines: {gap_s: 1e1}}, mine]
    strategy: weighted
""",
        KEY_A="value-a",
    )
    first, second, third, fourth = config.routes["fast"].targets

    assert ["mine/large#1", "mine/large#2", "mine/small#1", "mine/small#2"] == [t.name for t in config.targets]
    assert ("mine", "large", "http://10.0.0.5:8000/v1") == (first.provider, first.model, first.base_url)
    assert ("value-a", "KEY_A") == (first.key, first.key_name)
    assert ("literal-key", "2") == (second.key, second.key_name)
    assert first.headers == {"x-team": "search", "x-number": "5"}
    assert first.deadlines == {"first_byte_s": 3.0, "first_content_s": 60.0, "gap_s": 10.0}
    assert third.deadlines == {"first_byte_s": 3.0, "first_content_s": 60.0}
    assert (first.weight, second.weight, fourth.weight) == (1.0, 1.0, 0.5)
    assert first.capabilities == {"tools", "local"}
    assert (first.prefix, first.context_tokens, set(first.tasks)) == ("assistant", 8192, {Task.CHAT})
    assert first.quota_group == "ours"
    assert first.endpoint == "mine"


def test_policies_of_a_file(tmp_path: Path) -> None:
    """A route's policy is laid over the defaults, field by field, and these over the built-in ones."""
    config = read(
        tmp_path,
        ROUTE.format("openai/a") + "    policy: {hedging: {after_s: 2}, deadlines: {total_s: null}}\n"
        "defaults: {hedging: {samples_min: 5, p95: on}, deadlines: {total_s: 40, gap_s: 5}, on_empty: return}\n",
    )
    policy = config.routes["fast"].policy

    assert (2.0, True, 5) == (policy.hedging.after_s, policy.hedging.p95, policy.hedging.samples_min)
    assert (None, 5.0) == (policy.deadlines.total_s, policy.deadlines.gap_s)
    assert config.defaults.deadlines.total_s == 40
    assert config.routes["auto"].policy == config.defaults
    assert policy.on_empty == "return"
    assert policy.retries == Policy().retries


def test_merges_and_anchors(tmp_path: Path) -> None:
    """Anchors and merges work, and what is said beside a merge wins."""
    config = read(
        tmp_path,
        "routes:\n  a: &a\n    targets: [openai/x]\n    width: 2\n    strategy: race\n"
        "  b:\n    <<: *a\n    width: 3\n  c:\n    <<: [*a, {width: 4}]\n",
    )

    assert [("race", 2), ("race", 3), ("race", 2)] == [
        (config.routes[n].strategy, config.routes[n].width) for n in "abc"
    ]


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("${HOST}", "localhost"),
        ("${NONE:-localhost}", "localhost"),
        ("${EMPTY:-localhost}", "localhost"),
        ("local${PART}", "localhost"),
        ('"${HOST}"', "localhost"),
    ],
)
def test_references(tmp_path: Path, written: str, read_as: str) -> None:
    """References are filled in, in any text, with the default where the variable is unset or empty."""
    config = read(tmp_path, f"server:\n  host: {written}\n", HOST="localhost", EMPTY="", PART="host")

    assert config.server.host == read_as


def test_references_in_numbers_and_lists(tmp_path: Path) -> None:
    """A reference may stand for a number, in `[...]` too, and `$${` is not one."""
    config = read(
        tmp_path,
        "server: {port: ${PORT}, keys: [${A}, '${B:-x,y}', $${A}], body_limit_mb: '${MB:-1.5}'}",
        PORT="5000", A="key-a",
    )  # fmt: skip

    assert (5000, 1.5) == (config.server.port, config.server.body_limit_mb)
    assert config.server.keys == ("key-a", "x,y", "${A}")


def test_catalogue_providers_need_not_be_listed(tmp_path: Path) -> None:
    """A route may name any provider of the catalogue; its key comes from the environment."""
    config = read(tmp_path, ROUTE.format("openai/gpt-x, groq/openai/gpt-oss-120b"), OPENAI_API_KEY=" k ")
    openai, groq = config.targets

    assert ("k", "OPENAI_API_KEY", "https://api.openai.com/v1") == (openai.key, openai.key_name, openai.base_url)
    assert groq.capabilities == {"tools", "schema", "reasoning"}
    assert [w for w in config.warnings if "provider groq: no key found; set GROQ_API_KEY" in w]


def test_an_optional_key(tmp_path: Path) -> None:
    """A key that is given but empty is none: the catalogue's variable is looked up, or nothing is sent."""
    text = "providers:\n  groq: {keys: ['${A:-}', '${B:-}'], model: x}\n  vllm: {key: '${C:-}', model: y}\n"
    groq, vllm = read(tmp_path, text, GROQ_API_KEY="k").targets

    assert ("groq/x", "k", "GROQ_API_KEY") == (groq.name, groq.key, groq.key_name)
    assert ("", "") == (vllm.key, vllm.key_name)


def test_another_account_like_a_known_one(tmp_path: Path) -> None:
    """`like` makes a second account with the row's address, under a name and breaker of its own."""
    config = read(tmp_path, "providers:\n  second: {like: mistral, key: k}\n")
    (target,) = config.targets

    assert ("second", "flag", "https://api.mistral.ai/v1") == (target.provider, target.prefix, target.base_url)


def test_local_alone_rules_nothing_out(tmp_path: Path) -> None:
    """Saying only that a target is local says nothing about what it can do."""
    config = read(tmp_path, OWN + "    capabilities: local\n    model: x\n")

    assert config.targets[0].capabilities == {"local", "tools", "vision", "schema", "audio"}


def test_auto_is_everything_in_order(tmp_path: Path) -> None:
    """`auto` has the targets of the routes, then of idle providers and chosen models, each once."""
    text = "providers:\n  groq:\n  openai: {model: chosen}\n  vllm:\n" + ROUTE.format("openai/a, mistral/b")
    config = read(tmp_path, text)
    expected = ["openai/a", "mistral/b", "groq/openai/gpt-oss-120b", "openai/chosen"]

    assert expected == [target.name for target in config.routes["auto"].targets]
    assert list(config.routes) == ["fast", "auto"]


def test_an_own_auto_stays(tmp_path: Path) -> None:
    """A route called `auto` in the file is that route."""
    config = read(tmp_path, "routes:\n  auto: {targets: [openai/a], strategy: race}\n  b: {targets: [groq/c]}\n")

    assert config.routes["auto"].strategy == "race"
    assert len(config.routes["auto"].targets) == 1


def test_warnings(tmp_path: Path) -> None:
    """Routes that cannot fail over, or only to the same address, are allowed and warned of."""
    config = read(tmp_path, OWN + "routes:\n  one: {targets: [mine/a]}\n  same: {targets: [mine/a, mine/b]}\n")

    assert config.warnings == (
        "route one: only one target, so there is nothing to fail over to",
        "route same: all targets are at 10.0.0.5:8000; if it fails, all do",
    )


def test_a_file_without_providers_uses_the_environment(tmp_path: Path) -> None:
    """A file that only sets the server or the defaults leaves the targets to the environment."""
    config = read(tmp_path, "server: {port: 5000}", OPENAI_API_KEY="k", UNBROKEN_KEYS="a, b,")

    assert [t.provider for t in config.targets] == ["openai"]
    assert config.server.keys == ("a", "b")


# -------------------------------------------------------------- the environment


def test_from_env() -> None:
    """Without a file, every provider with a key is a target of `auto`, in the catalogue's order."""
    config = Config.from_env({
        "GROQ_API_KEY": "g", "OPENAI_API_KEY": "o", "GEMINI_API_KEY": "e", "CO_API_KEY": "", "OPENAI_MODEL": "gpt-x",
        "OPENAI_ORG_ID": "org", "OLLAMA_HOST": "0.0.0.0", "UNBROKEN_KEYS": "one,two", "GITHUB_TOKEN": "t",
    })  # fmt: skip

    assert ["openai", "gemini", "groq", "ollama"] == [target.provider for target in config.routes["auto"].targets]
    assert config.targets[0].model == "gpt-x"
    assert config.targets[0].headers == {"openai-organization": "org"}
    assert config.targets[-1].base_url == "http://127.0.0.1:11434"
    assert config.targets[-1].key == ""
    assert config.server.keys == ("one", "two")
    assert config.source == "environment"
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("name", "value", "base_url"),
    [
        ("OPENAI_BASE_URL", "https://eu.api.openai.com/v1/", "https://eu.api.openai.com/v1"),
        ("GROQ_BASE_URL", "https://proxy", "https://proxy/openai/v1"),
        ("GROQ_BASE_URL", "https://proxy/openai/v1", "https://proxy/openai/v1"),
        ("ANTHROPIC_BASE_URL", "https://proxy", "https://proxy"),
        ("OLLAMA_HOST", "gpu:9999", "http://gpu:9999"),
        ("OLLAMA_HOST", "gpu", "http://gpu:11434"),
        ("OLLAMA_HOST", ":9999", "http://127.0.0.1:9999"),
        ("OLLAMA_HOST", "https://gpu/ollama", "https://gpu:443/ollama"),
        ("OLLAMA_HOST", "[::1]:9999", "http://[::1]:9999"),
    ],
)
def test_base_urls_of_the_environment(name: str, value: str, base_url: str) -> None:
    """The variables of the providers' own SDKs are read as these SDKs read them."""
    provider = name.partition("_")[0]
    config = Config.from_env({name: value, f"{provider}_API_KEY": "k"})

    assert [base_url] == [target.base_url for target in config.targets]


def test_a_base_url_that_is_the_gateway_itself() -> None:
    """OPENAI_BASE_URL set for the callers on the same machine does not make the gateway call itself."""
    config = Config.from_env({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://localhost:4100/v1"})

    assert config.targets[0].base_url == "https://api.openai.com/v1"
    assert "OPENAI_BASE_URL points at this gateway" in config.warnings[0]


@pytest.mark.parametrize("value", ["nonsense", "http://u:p@x/v1", "http://x:99999"])
def test_a_base_url_that_is_none(value: str) -> None:
    """A variable that is no address is an error that names it, and does not repeat it."""
    with pytest.raises(ConfigError, match="environment: OPENAI_BASE_URL: ") as caught:
        Config.from_env({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": value})

    assert value not in str(caught.value)


def test_a_bad_ollama_host() -> None:
    """OLLAMA_HOST with a port that is none is an error too."""
    with pytest.raises(ConfigError, match="OLLAMA_HOST"):
        Config.from_env({"OLLAMA_HOST": "gpu:many"})


def test_nothing_at_all() -> None:
    """Without any key there is a configuration, with a warning and no routes."""
    config = Config.from_env({})

    assert config.routes == {}
    assert config.resolve("auto") is None
    assert "there is no target" in config.warnings[0]


def test_where_the_configuration_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the path that is given, then $UNBROKEN_CONFIG, then ./unbroken.yaml, then the environment alone."""
    monkeypatch.chdir(tmp_path)
    for name, port in (("given.yaml", 1), ("variable.yaml", 2), ("unbroken.yaml", 3)):
        Path(name).write_text(f"server: {{port: {port}}}", encoding="utf-8")
    environ = {"UNBROKEN_CONFIG": "variable.yaml"}

    assert Config.find(Path("given.yaml"), environ).server.port == 1
    assert Config.find(None, environ).server.port == 2
    assert Config.find(None, {}).server.port == 3
    assert Config.find(None, {}).source == "unbroken.yaml"

    Path("unbroken.yaml").unlink()
    assert Config.find(None, {}).source == "environment"
    monkeypatch.setenv("UNBROKEN_CONFIG", "variable.yaml")
    assert Config.find().server.port == 2


# ------------------------------------------------------------------------ names


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return read(
        tmp_path,
        "providers:\n  two: {base_url: http://x/v1, keys: [a, b]}\n  openai: {key: k}\n"
        "routes:\n  fast: {targets: [{target: two/m, deadlines: {gap_s: 1}}, openai/gpt]}\n"
        "defaults: {deadlines: {total_s: 9}}\n",
    )


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("fast", ["two/m#1", "two/m#2", "openai/gpt"]),
        ("auto", ["two/m#1", "two/m#2", "openai/gpt"]),
        ("openai/gpt", ["openai/gpt"]),
        ("openai/other", ["openai/other"]),
        ("openai/org/other", ["openai/org/other"]),
        ("two/m", ["two/m#1", "two/m#2"]),
        ("two/m#2", ["two/m#2"]),
        ("two/n#1", ["two/n#1"]),
        ("two/n#3", ["two/n#3#1", "two/n#3#2"]),
        ("two/n#²", ["two/n#²#1", "two/n#²#2"]),
        ("openai/x#1", ["openai/x#1"]),
        ("openai/", None),
        ("openai", None),
        ("gpt", None),
        ("", None),
        ("groq/x", None),
        ("openai/" + "x" * 300, None),
    ],
)
def test_resolve(config: Config, model: str, names: list[str] | None) -> None:
    """A route's name is that route; `provider/model` is exactly that target; anything else is nothing."""
    route = config.resolve(model)

    assert (route and [target.name for target in route.targets]) == names


def test_a_route_may_be_called_like_its_first_target(tmp_path: Path) -> None:
    """Who asks for `openai/gpt` by name gets what stands behind it too; who wants exactly that one still can."""
    text = "routes:\n  openai/gpt: {targets: [openai/gpt, groq/gpt]}\n  two/m: {targets: [two/m, openai/gpt]}\n"
    config = read(tmp_path, text + "providers:\n  two: {base_url: http://x/v1, keys: [a, b]}\n", OPENAI_API_KEY="k")

    found = [route for name in ("openai/gpt", "two/m") if (route := config.resolve(name)) is not None]
    assert [[t.name for t in route.targets] for route in found] == [
        ["openai/gpt", "groq/gpt"], ["two/m#1", "two/m#2", "openai/gpt"],
    ]  # fmt: skip
    alone = config.exactly("openai/gpt")
    assert alone is not None and [target.name for target in alone.targets] == ["openai/gpt"]
    assert config.exactly("auto") is None


def test_explicit_names_keep_limits_and_policy(config: Config) -> None:
    """An explicit target has the limits that its route gives it, and the defaults' policy."""
    route = config.resolve("two/m")

    assert route is not None
    assert route.targets[0].deadlines == {"gap_s": 1.0}
    assert route.policy.deadlines.total_s == 9
    assert config.resolve("two/m") is route


def test_explicit_routes_are_bounded(config: Config) -> None:
    """Callers cannot fill the memory with names of models."""
    for number in range(EXPLICIT_MAX + 10):
        config.resolve(f"openai/m{number}")

    assert len(config._explicit) == EXPLICIT_MAX


# ----------------------------------------------------------------------- safety


@pytest.mark.parametrize(
    ("host", "keys", "safe"),
    [
        ("127.0.0.1", (), True),
        ("127.9.9.9", (), True),
        ("localhost", (), True),
        ("::1", (), True),
        ("[::1]", (), True),
        ("0.0.0.0", (), False),
        ("", (), False),
        ("::", (), False),
        ("example.org", (), False),
        ("0.0.0.0", ("k",), True),
    ],
)
def test_listening_beyond_loopback_needs_keys(host: str, keys: tuple[str, ...], safe: bool) -> None:
    """A gateway that others can reach has keys, or does not start and says what to do."""
    problem = Server(host=host, keys=keys).problem()

    assert (problem is None) == safe
    assert safe or "server.keys" in str(problem)


LEAKY = [
    f"server: {{keys: [{PLANTED}], prt: 1}}",
    f"server: {{kyes: [{PLANTED}]}}",
    f"server: {{keys: {{{PLANTED}: 1}}}}",
    f"providers: {{openai: {{key: {PLANTED}, modle: x}}}}",
    f"providers: {{openai: {{apikey: {PLANTED}, secret: {PLANTED}, API_KEY: {PLANTED}}}}}",
    f"providers: {{openai: {{key: [{PLANTED}]}}}}",
    f"providers: {{openai: {{key: !x {PLANTED}}}}}",
    f"providers: {{openai: {{key: *{PLANTED}}}}}",
    f'providers: {{openai: {{key: "{PLANTED}\\n{PLANTED}"}}}}',
    f"providers: {{openai: {{keys: [{PLANTED}, {PLANTED}]}}}}",
    f"providers: {{openai: {{headers: {{authorization: Bearer {PLANTED}, authorization: x}}}}}}",
    f"providers: {{mine: {{base_url: 'http://user:{PLANTED}@host'}}}}",
    "providers: {mine: {base_url: 'host?key=${SECRET}'}}",
    f"providers: {{openai: sk-{PLANTED}}}",
    f"providers: {{openai: {{prefix: sk-{PLANTED}}}}}",
    f"providers: {{sk-{PLANTED}: {{}}}}",
    "providers: {openai: {prefix: '${SECRET}', format: '${SECRET}'}}",
    "server: {port: '${SECRET}', host: '${SECRET}'}",
    "routes: {fast: {targets: ['openai/a', 'openai/a'], strategy: '${SECRET}'}}",
    f"providers:\n  openai:\n    key: {PLANTED}: x\n",
    f"providers:\n  openai:\n    keys: [{PLANTED}, {PLANTED}\n",
    f"providers:\n  openai:\n    key: |\n      {PLANTED}\n      {PLANTED}\n    modle: x\n",
]


@pytest.mark.parametrize("text", LEAKY)
def test_errors_do_not_hold_secrets(tmp_path: Path, text: str) -> None:
    """Nothing that could be a secret is in an error, its repr, or the line that it shows."""
    found = problems(tmp_path, text, SECRET=PLANTED)

    assert PLANTED not in repr(found) + "".join(map(str, found))


def test_reprs_do_not_hold_secrets(tmp_path: Path) -> None:
    """A configuration can be printed and logged without giving a key away."""
    config = read(
        tmp_path,
        f"server: {{keys: [{PLANTED}, $SECRET]}}\n"
        f"providers: {{openai: {{keys: [${{SECRET}}, x{PLANTED}], headers: {{x: {PLANTED}}}}}}}\n",
        SECRET=PLANTED,
    )  # fmt: skip

    assert config.targets[0].key == PLANTED
    assert PLANTED not in f"{config!r} {config} {config.routes!r} {config.accounts!r} {config.server!r}"
