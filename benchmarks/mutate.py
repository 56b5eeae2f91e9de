"""Break the decision core in thousands of small ways, and see whether its tests notice: make mutate (twenty minutes).

    python -m benchmarks.mutate                           all of core
    python -m benchmarks.mutate --sample 500 --seed 1     five hundred of its mutants
    python -m benchmarks.mutate --only board.py gate.py   these files
    python -m benchmarks.mutate --quick                   without long tests: sooner, and never too good

A mutant is one change of one file: `<` becomes `<=`, a constant is one more, a statement is missing
(benchmarks/mutants.py has them all).  It is killed when a test fails, or takes ten times as long as
it should.  One that survives shows a promise that no test keeps, or code that nobody needs.  With
less than 95 % killed the exit code is 1.

Everything happens in a copy of the tree.  Tests are collected once, and run once to see which lines
each of them reaches.  Then each mutant gets a fork of that process in which the code of its function
is exchanged, or the value of a constant in every module that has it, and the tests that reach its
lines: first those that killed its neighbours, then the fastest.  What is worked out when modules are
loaded (a default, a class) cannot be exchanged, and gets a fresh process.

What cannot make a difference is listed in benchmarks/mutate.toml, with the reason; an entry that
fits no mutant any more is an error.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import gc
import mmap
import os
import pickle
import resource
import shutil
import signal
import sys
import tempfile
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from time import process_time
from types import CodeType, FunctionType, ModuleType
from typing import NamedTuple

import pytest
from benchmarks.mutants import Mutant, mutants_of, uses_of
from coverage import Coverage
from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
CORE = Path("src/unbroken/core")
TESTS = Path("tests/core")
EQUIVALENT = ROOT / "benchmarks/mutate.toml"
WANTED = 0.95
SLOWER = 10.0
"""So many times its usual time a test may take, and always a second, before it counts as hanging."""
QUICK_S = 0.1
"""What a test may take to be run in a hurry."""
FRESH_S = 120.0
"""The same for all tests in a fresh process."""
MEMORY_MAX = 4 << 30
KILLED, OURS = 1, 70
"""Exit codes of a fork: a test failed, or this program is wrong; 0 where nothing failed, a signal where it hung."""
OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:xdist", "--timeout=0")
PROFILE = """
from hypothesis import Phase

settings.register_profile("mutate", derandomize=True, database=None, phases=[Phase.explicit, Phase.generate])
settings.load_profile("mutate")
"""
"""For the copy of conftest.py: every mutant meets the same examples, and none is made prettier."""


@dataclass
class Reach:
    """What the tests do while nothing is broken."""

    seconds: list[float]
    """Of CPU time, by test."""
    lines: Mapping[str, Mapping[int, set[int]]]
    """By file, which tests reach a line."""

    def tests(self, file: str, lines: Iterable[int]) -> set[int]:
        """Those that reach one of these lines."""
        found = self.lines.get(file, {})
        return {test for line in lines for test in found.get(line, ())}


class Change(NamedTuple):
    """How a mutant comes to be in a fork: what does it, and which tests may notice."""

    make: Callable[[], None]
    tests: set[int]


class Hunt:
    """A plugin of pytest that runs the collected tests once for each mutant, instead of once."""

    def __init__(self, tree: Path, chosen: list[Mutant], *, quick: bool) -> None:
        self._tree = tree
        self._chosen = chosen
        self._quick = quick
        self._came_to = mmap.mmap(-1, 8)  # the test at which a fork is; outlives it
        self._kills: Counter[tuple[str, str, int]] = Counter()
        self.outcomes: list[tuple[Mutant, str]] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Everything, after the tests were collected."""
        self._items = session.items
        self._reach = self._look()
        self._functions = _functions_below(self._tree / CORE)
        self._modules = {**_modules_below(self._tree / CORE), **_modules_below(self._tree / TESTS)}
        self._texts = {path: ast.parse(path.read_text(encoding="utf-8")) for path in self._modules}
        gc.freeze()  # the forks share what is there by now
        for mutant in track(self._chosen, "mutants", console=Console(stderr=True)):
            outcome = self._judge(mutant)
            self.outcomes.append((mutant, outcome))
            if outcome in {"survived", "not reached"}:
                print(f"{outcome}: {mutant}", file=sys.stderr, flush=True)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The first test that fails is enough."""
        if report.failed:
            print(report.longreprtext, file=sys.stderr, flush=True)
            os._exit(KILLED)

    # -- which tests

    def _look(self) -> Reach:
        """Run every test once, in a fork too: it leaves nothing behind that the forks would inherit."""
        answer = self._tree / "reach"
        if _fork(lambda: answer.write_bytes(pickle.dumps(self._watch())), quiet=False) != "survived":
            pytest.exit("the tests fail although nothing was changed", returncode=2)
        found: Reach = pickle.loads(answer.read_bytes())  # noqa: S301 - written by our own fork
        return found

    def _watch(self) -> Reach:
        files = [f"{self._tree / CORE}/*", f"{self._tree / TESTS}/*"]  # of constants tests may know more than core does
        coverage = Coverage(data_file=None, config_file=False, include=files)
        seconds = []
        coverage.start()
        for number, _ in enumerate(self._items):
            coverage.switch_context(str(number))
            began = process_time()
            self._run(number)
            seconds.append(process_time() - began)
        coverage.stop()
        data = coverage.get_data()
        lines = {Path(file).name: _numbers(data.contexts_by_lineno(file)) for file in data.measured_files()}
        return Reach(seconds, lines)

    def _run(self, number: int, then: int | None = None) -> None:
        """Run a test; what it shares with the one that comes `then` stays."""
        item = self._items[number]
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None if then is None else self._items[then])

    # -- one mutant

    def _judge(self, mutant: Mutant) -> str:
        with mutant.applied() as tree:
            change = self._exchanged(mutant, tree) if mutant.function else self._revalued(mutant)
            if change is None:
                return self._judge_afresh(mutant, ast.unparse(tree))
        if not change.tests:
            return "not reached"
        kills, where = self._kills, (mutant.file, mutant.function or mutant.change)
        seconds = self._reach.seconds
        short = {test for test in change.tests if seconds[test] < QUICK_S} if self._quick else set()
        order = sorted(short or change.tests, key=lambda test: (-kills[*where, test], seconds[test]))
        outcome = _fork(partial(self._attack, change, order))
        if outcome != "survived":
            kills[*where, int.from_bytes(self._came_to[:8], "big")] += 1
        return outcome

    def _exchanged(self, mutant: Mutant, tree: ast.Module) -> Change | None:
        """Its function gets other code, where that has the same closure."""
        path = str(self._tree / CORE / mutant.file)
        codes = dict(_codes(compile(tree, path, "exec", dont_inherit=True)))
        found = [(each, codes[key]) for key, each in self._functions[path] if key[0] == mutant.function]
        if not found or any(each.__code__.co_freevars != code.co_freevars for each, code in found):
            return None

        def make() -> None:
            for function, code in found:
                function.__code__ = code

        return Change(make, self._reach.tests(mutant.file, mutant.lines))

    def _revalued(self, mutant: Mutant) -> Change | None:
        """Its constant gets another value wherever it was imported, if it is only looked up in functions."""
        if mutant.constant is None:
            return None
        name, home = mutant.name, self._tree / CORE / mutant.file
        module = self._modules[home]
        having = [home, *(path for path, text in self._texts.items() if _imports(text, name, of=module.__name__))]
        tests: set[int] = set()
        for path in having:
            uses = [use for use in uses_of(self._texts[path]) if use.name == name]
            if not all(use.inside for use in uses):
                return None
            tests.update(*(self._reach.tests(path.name, use.lines) for use in uses))
        space = dict(vars(module))
        exec(compile(ast.Module([mutant.constant], []), mutant.file, "exec"), space)  # noqa: S102 - our own code, changed

        def make() -> None:
            for path in having:
                setattr(self._modules[path], name, space[name])

        return Change(make, tests)

    def _attack(self, change: Change, order: list[int]) -> None:
        change.make()
        for number, then in zip(order, [*order[1:], None], strict=True):
            self._came_to[:8] = number.to_bytes(8, "big")
            signal.setitimer(signal.ITIMER_PROF, max(1.0, SLOWER * self._reach.seconds[number]))
            self._run(number, then)

    def _judge_afresh(self, mutant: Mutant, source: str) -> str:
        """Begin anew with the file as it would be: the tests that are named like it first."""
        tests = self._reach.tests(mutant.file, self._reach.lines.get(mutant.file, {}))
        files = sorted({self._items[test].path for test in tests})
        named = [path for path in files if path.stem.startswith(f"test_{Path(mutant.file).stem}")]
        outcome = "not reached"
        with _written(self._tree / CORE / mutant.file, source):
            others = [] if self._quick and named else [path for path in files if path not in named]
            for some in (named, others):
                if some and outcome in {"survived", "not reached"}:
                    outcome = _fork(partial(_start, some))
        return outcome


# ------------------------------------------------------------------------- processes and code


def _fork(work: Callable[[], object], *, quiet: bool = True) -> str:
    """Do this in a copy of this process: `killed`, `hung` or `survived`."""
    pid = os.fork()
    if not pid:
        code = OURS
        try:
            if quiet:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, 1)
                os.dup2(nowhere, 2)
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
            work()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == OURS:
        pytest.exit("a fork failed outside of the tests", returncode=2)
    return "survived" if code == 0 else "killed" if code > 0 else "hung"


def _start(files: list[Path]) -> None:
    """Become a fresh process with these tests."""
    signal.setitimer(signal.ITIMER_PROF, FRESH_S)
    os.execv(sys.executable, [sys.executable, "-B", "-m", "pytest", *OPTIONS, *map(str, files)])


@contextlib.contextmanager
def _written(path: Path, source: str) -> Iterator[None]:
    """The file with other words, until the block ends."""
    before, times = path.read_bytes(), path.stat()
    path.write_text(source, encoding="utf-8")
    try:
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # what was compiled of it fits again


def _numbers(contexts: Mapping[int, list[str]]) -> dict[int, set[int]]:
    return {line: {int(name) for name in names if name} for line, names in contexts.items()}


def _functions_below(folder: Path) -> Mapping[str, list[tuple[tuple[str, int], FunctionType]]]:
    """Every function that is defined there, by its file."""
    found = defaultdict(list)
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and Path(each.__code__.co_filename).parent == folder:
            code = each.__code__
            found[code.co_filename].append(((code.co_qualname, code.co_firstlineno), each))
    return found


def _modules_below(folder: Path) -> Mapping[Path, ModuleType]:
    """The modules of this folder that are loaded, by their file."""
    files = [(getattr(module, "__file__", None), module) for module in list(sys.modules.values())]
    return {Path(file): module for file, module in files if file and Path(file).parent == folder}


def _imports(tree: ast.Module, name: str, *, of: str) -> bool:
    """Whether this file imports this name of that module."""
    imports = [each for each in ast.walk(tree) if isinstance(each, ast.ImportFrom) and each.module == of]
    return any(alias.name == name for each in imports for alias in each.names)


def _codes(code: CodeType) -> Iterator[tuple[tuple[str, int], CodeType]]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield (inner.co_qualname, inner.co_firstlineno), inner
            yield from _codes(inner)


# ------------------------------------------------------------------------- all of it


def copied(tree: Path) -> None:
    """What the tests of core need, in this folder."""
    for part in (Path("src/unbroken"), TESTS):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "pyproject.toml", tree)
    conftest = (ROOT / "tests/conftest.py").read_text(encoding="utf-8")
    (tree / "tests/conftest.py").write_text(conftest + PROFILE, encoding="utf-8")


def without_equivalents(mutants: list[Mutant], *, only: Collection[str] = ()) -> list[Mutant]:
    """Those that can make a difference; exits where the list of the others (of these files) is not true any more."""
    listed = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["equivalent"]
    listed = [each for each in listed if not only or each["file"] in only]
    known = {(each["file"], each["function"], change) for each in listed for change in each["changes"]}
    stale = known - {mutant.key for mutant in mutants}
    if stale:
        sys.exit("\n".join(["these in benchmarks/mutate.toml fit no mutant:", *map(str, sorted(stale))]))
    return [mutant for mutant in mutants if mutant.key not in known]


def report(outcomes: list[tuple[Mutant, str]], equivalent: Mapping[str, int]) -> float:
    """Print a table by file; the share that was killed."""
    table = Table("file", "mutants", "killed", "hung", "survived", "not reached", "equivalent", "score")
    for column in table.columns[1:]:
        column.justify = "right"
    share = 0.0
    for file in [*sorted({mutant.file for mutant, _ in outcomes}), ""]:
        counts = Counter(outcome for mutant, outcome in outcomes if file in {"", mutant.file})
        share = (counts["killed"] + counts["hung"]) / counts.total()
        if not file:
            table.add_section()
        cells = [counts.total(), *(counts[name] for name in ("killed", "hung", "survived", "not reached"))]
        left_out = equivalent.get(file, 0) if file else sum(equivalent.values())
        table.add_row(file or "all", *map(str, cells), str(left_out), f"{share:.1%}")
    Console(width=100).print(table)
    return share


def main() -> int:
    """Make the mutants, hunt them, and say how many got away."""
    parser = argparse.ArgumentParser(description="Mutation testing of src/unbroken/core.")
    files = sorted(path.name for path in (ROOT / CORE).glob("[!_]*.py"))
    parser.add_argument("--only", nargs="+", default=(), choices=files, metavar="FILE", help="files of core, by name")
    parser.add_argument("--sample", type=int, metavar="N", help="so many mutants instead of all")
    parser.add_argument("--seed", type=int, default=0, help="which ones (0)")
    parser.add_argument("--quick", action="store_true", help="only short tests: the score is a lower bound")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder).resolve()
        copied(tree)
        paths = [path for path in sorted((tree / CORE).glob("*.py")) if not asked.only or path.name in asked.only]
        every = [mutant for path in paths for mutant in mutants_of(path)]
        mutants = without_equivalents(every, only=asked.only)
        equivalent = Counter(each.file for each in every) - Counter(each.file for each in mutants)
        if asked.sample is not None and asked.sample < len(mutants):
            chosen = sorted(Random(asked.seed).sample(range(len(mutants)), asked.sample))
            mutants = [mutants[number] for number in chosen]
        hunt = Hunt(tree, mutants, quick=asked.quick)
        os.chdir(tree)
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            code = pytest.main([*OPTIONS, "--capture=no", str(TESTS)], plugins=[hunt])
        os.chdir(ROOT)
    if code or len(hunt.outcomes) < len(mutants):
        return 2
    return int(report(hunt.outcomes, equivalent) < WANTED)


if __name__ == "__main__":
    sys.exit(main())
