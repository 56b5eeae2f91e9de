"""Several processes on one port: who starts them, and again when one dies, and hands over from old to new.

The parent listens and serves nothing.  Each worker is this program again, with two sockets that
it inherits: the one that is listened on, and its line to the parent (`replicas.hub`), over which
workers have everything in common that replicas have.

    SIGTERM, SIGINT   every worker stops, in its own time; a second one hurries them
    SIGHUP            every worker reads the configuration anew
    SIGUSR2           every worker is replaced, one after the other: the next one is ready before the last one stops

What is connected while a worker is replaced waits in the socket, which is never closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass

from unbroken.replicas.hub import Hub
from unbroken.replicas.sums import settled

__all__ = ["RETIRE", "VARIABLE", "Crew", "Post"]

VARIABLE = "UNBROKEN_WORKER"
"""In the environment of a worker: its two sockets."""
READY_S = 60.0
"""A worker that does not serve after so long never will."""
AGAIN_S, AGAIN_S_MAX = 0.1, 5.0
"""After which a worker that died is started again: at first, and at most, doubled each time that it soon dies again."""
SOON_S = 10.0
RETIRE = getattr(signal, "SIGUSR1", signal.SIGTERM)
"""How a worker is told that another one has taken its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What a worker inherits."""

    listening: socket.socket
    line: socket.socket

    @classmethod
    def taken(cls, environ: dict[str, str] | os._Environ[str]) -> Post | None:
        """This process's post, if it is a worker; nothing that it starts is one too."""
        said = environ.pop(VARIABLE, "")
        if not said:
            return None
        listening, line = (socket.socket(fileno=int(number)) for number in said.split(","))
        return cls(listening=listening, line=line)


class Worker:
    """One process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name, self.process = name, process
        self.ready = asyncio.Event()
        self.began = asyncio.get_running_loop().time()
        self.wanted = True

    async def serves(self) -> bool:
        """Whether it comes to serve."""
        ready, ended = asyncio.ensure_future(self.ready.wait()), asyncio.ensure_future(self.process.wait())
        await asyncio.wait({ready, ended}, timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        ended.cancel()
        return self.ready.is_set()

    async def reload(self) -> None:
        """Have it read the configuration anew, as soon as it serves: before, the signal would be its end."""
        if await self.serves():
            self.tell(signal.SIGHUP)

    def tell(self, number: int) -> None:
        """Send it a signal, if it is there."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)


class Crew:
    """So many workers, from `run` until they have all stopped."""

    def __init__(self, number: int, listening: socket.socket, *, command: Sequence[str]) -> None:
        self._number, self._listening, self._command = number, listening, command
        self._hub = Hub(settled, ready=self._is_ready)
        self._workers: dict[str, Worker] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = self._served = False
        self._again_s = AGAIN_S
        self._started = 0
        self._all_gone = asyncio.Event()
        self._replacing = asyncio.Lock()
        self.code = 0

    async def run(self, said: Callable[[], None]) -> int:
        """Until every worker has stopped; the code to end with.  `said` is called when all of them serve."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up, os.isatty(0))
        loop.add_signal_handler(signal.SIGUSR2, lambda: self._go(self.replace()))
        for _ in range(self._number):
            if not self._stopping:
                await self._start()
        if all([await worker.serves() for worker in list(self._workers.values())]):
            said()
        await self._all_gone.wait()
        return self.code

    async def replace(self) -> None:
        """One after the other; a worker whose successor does not come to serve stays."""
        async with self._replacing:
            for worker in list(self._workers.values()):
                if self._stopping or worker.name not in self._workers:
                    continue
                try:
                    successor = await self._start()
                except OSError as error:
                    print(
                        f"a new worker could not be started ({error}): the old ones stay", file=sys.stderr, flush=True
                    )
                    return
                successor.wanted = False
                if not await successor.serves():
                    successor.tell(signal.SIGKILL)
                    print("a new worker does not come to serve: the old ones stay", file=sys.stderr, flush=True)
                    return
                successor.wanted = True
                worker.wanted = False
                worker.tell(RETIRE)

    # -- inside

    async def _start(self) -> Worker:
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as failing:
            failing.enter_context(ours)
            numbers = (self._listening.fileno(), theirs.fileno())
            environ: Mapping[str, str] = {**os.environ, VARIABLE: ",".join(map(str, numbers))}
            # A session of its own: Ctrl-C is for the parent, which then tells everybody once.
            process = await asyncio.create_subprocess_exec(
                *self._command, pass_fds=numbers, env=environ, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
            )
            failing.pop_all()
        self._started += 1
        worker = Worker(f"worker {self._started}", process)
        self._workers[worker.name] = worker
        self._go(self._hub.serve(worker.name, ours))
        self._go(self._watch(worker))
        if self._stopping:  # all others were told while this one was started
            self._all_gone.clear()
            worker.tell(signal.SIGTERM)
        return worker

    async def _watch(self, worker: Worker) -> None:
        """Wait for its end; if nobody wanted that, there is a new one."""
        code = await worker.process.wait()
        del self._workers[worker.name]
        lived_s = asyncio.get_running_loop().time() - worker.began
        if worker.wanted and not self._stopping and not self._served:
            self.code = code or 1
            self._stop(signal.SIGTERM)  # the first ones cannot even begin, nor would others
        elif worker.wanted and not self._stopping:
            print(f"a worker ended with {code}: another one takes its place", file=sys.stderr, flush=True)
            if lived_s > SOON_S:
                self._again_s = AGAIN_S / 2.0
            await self._start_again()
        if self._stopping and not self._workers:
            self._all_gone.set()

    async def _start_again(self) -> None:
        """Until there is one more, or none is wanted any more: a system that has no room may have some later."""
        while not self._stopping:
            self._again_s = min(2.0 * self._again_s, AGAIN_S_MAX)
            await asyncio.sleep(self._again_s)
            if self._stopping:
                return
            try:
                await self._start()
            except OSError as error:
                print(f"a worker could not be started: {error}", file=sys.stderr, flush=True)
            else:
                return

    def _is_ready(self, name: str) -> None:
        self._served = True
        if name in self._workers:
            self._workers[name].ready.set()

    def _stop(self, number: int) -> None:
        self._stopping = True
        for worker in self._workers.values():
            worker.tell(number)
        if not self._workers:
            self._all_gone.set()

    def _hang_up(self, attended: bool) -> None:
        """Read the configuration anew, or stop where it means that the terminal is gone."""
        if attended and not os.isatty(0):
            self._stop(signal.SIGTERM)
        else:
            for worker in self._workers.values():
                self._go(worker.reload())

    def _go(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
