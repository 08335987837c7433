"""Parallel work: jobs over processes with one progress bar, and reading in threads."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import process
from multiprocessing import connection
from typing import Any

import cv2
import tqdm

Tick = Callable[[], None]

# Set in each worker process: how many frames are done, and whether to give up.
_counters: list[Any] = []


def read_ahead(read: Callable[[int], Any], count: int) -> Iterator[Any]:
    """Yields `read(index)` for the indices below `count`, in order, read by threads."""
    num_threads = min(8, os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        # In portions: a pool's map would read ahead without bound.
        for start in range(0, count, 4 * num_threads):
            yield from pool.map(read, range(start, min(start + 4 * num_threads, count)))


class Stopped(Exception):
    """Another job failed."""


def run(
    function: Callable[[Any, Tick], Any],
    jobs: Sequence[Any],
    *,
    num_processes: int,
    total: int,
    title: str,
    option: str = "num_processes",
) -> list[Any]:
    """Runs `function(job, tick)` for each job, in any order, and returns the results.

    Args:
        function: a module's, to be sent to other processes; calls `tick()` for each
            frame.
        jobs: to be sent likewise.
        num_processes: 1 runs them in this one.
        total: number of frames, for the progress bar.
        title: of the progress bar, which an error names, too.
        option: of the command line, that tells the number of processes.

    Raises:
        Exception: the first that a job raises; the others end as soon as they tick.
        ChildProcessError: a process was killed, or memory ran out; what to do.
    """
    with (
        _explained(title, option, min(num_processes, len(jobs))),
        tqdm.tqdm(total=total, desc=title, unit=" frames", disable=None) as progress,
    ):
        if num_processes == 1 or len(jobs) < 2:

            def advance() -> None:
                progress.update()

            return [function(job, advance) for job in jobs]
        # Forking would copy the threads' locks of whatever the caller runs.
        context = multiprocessing.get_context("spawn")
        done, stop = context.Value("q", 0), context.Event()
        with concurrent.futures.ProcessPoolExecutor(
            min(num_processes, len(jobs)), context, _start, (done, stop)
        ) as pool:
            futures = [pool.submit(_work, function, job) for job in jobs]
            waiting = set(futures)
            # Read without its lock, which a process that was killed may still hold.
            count = done.get_obj()
            try:
                while waiting:
                    finished, waiting = concurrent.futures.wait(
                        waiting, 0.2, concurrent.futures.FIRST_COMPLETED
                    )
                    progress.update(count.value - progress.n)
                    for future in finished:
                        future.result()
            except process.BrokenProcessPool:
                raise  # The pool has ended all of them, at any place in their work.
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        progress.update(count.value - progress.n)
        return [future.result() for future in futures]


@contextlib.contextmanager
def _explained(title: str, option: str, num_processes: int) -> Iterator[None]:
    """Says what to do where a process was killed, or memory ran out."""
    try:
        yield
    except (process.BrokenProcessPool, MemoryError) as error:
        what = "a worker process was killed or crashed, most often as memory ran out"
        if isinstance(error, MemoryError):
            what = "memory ran out"
        advice = "with more memory"
        if num_processes > 1:
            advice = (
                f"with fewer processes, --{option}={num_processes // 2} (now"
                f" {num_processes})"
            )
        raise ChildProcessError(
            f"{title}: {what}. Run the same command again {advice}: it goes on where"
            " this stopped"
        ) from error


def _start(done: Any, stop: Any) -> None:
    _counters[:] = [done, stop]
    cv2.setNumThreads(1)  # There is a process for each core.
    # Its own lock, for several processes, would be left behind by one that is killed.
    tqdm.tqdm.set_lock(threading.RLock())
    # Ctrl-C reaches all processes of a terminal; the first one tells the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone, even if it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _work(function: Callable[[Any, Tick], Any], job: Any) -> Any:
    done, stop = _counters

    def tick() -> None:
        if stop.is_set():
            raise Stopped
        with done.get_lock():
            done.value += 1

    return function(job, tick)
