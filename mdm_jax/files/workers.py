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

# In each worker process: the counter of finished frames, and the event to stop.
_counters: list[Any] = []


def read_ahead(read: Callable[[int], Any], count: int) -> Iterator[Any]:
    """Yields `read(index)` for all indices below `count`, in order; threads read ahead."""
    num_threads = min(8, os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        # In portions, because the pool would read ahead without bound.
        for start in range(0, count, 4 * num_threads):
            yield from pool.map(read, range(start, min(start + 4 * num_threads, count)))


class Stopped(Exception):
    """Raised in a job when another job has failed."""


def run(
    function: Callable[[Any, Tick], Any],
    jobs: Sequence[Any],
    *,
    num_processes: int,
    total: int,
    title: str,
    option: str = "num_processes",
) -> list[Any]:
    """Returns `function(job, tick)` of each job; jobs run in any order.

    Args:
        function: has to be picklable; calls `tick()` for each frame.
        jobs: have to be picklable.
        num_processes: number of worker processes; 1 runs the jobs in this process.
        total: number of frames, for the progress bar.
        title: of the progress bar and of errors.
        option: command-line option for the number of processes, for errors.

    Raises:
        Exception: the first exception of a job; other jobs stop at their next tick.
        ChildProcessError: a process was killed, or memory ran out.
    """
    with (
        _explained(title, option, min(num_processes, len(jobs))),
        tqdm.tqdm(total=total, desc=title, unit=" frames", disable=None) as progress,
    ):
        if num_processes == 1 or len(jobs) < 2:

            def advance() -> None:
                progress.update()

            return [function(job, advance) for job in jobs]
        # Forking would copy locks that threads of the caller hold.
        context = multiprocessing.get_context("spawn")
        done, stop = context.Value("q", 0), context.Event()
        with concurrent.futures.ProcessPoolExecutor(
            min(num_processes, len(jobs)), context, _start, (done, stop)
        ) as pool:
            futures = [pool.submit(_work, function, job) for job in jobs]
            waiting = set(futures)
            # Read without its lock, which a killed process may still hold.
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
                raise  # All workers of the pool have been terminated.
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        progress.update(count.value - progress.n)
        return [future.result() for future in futures]


@contextlib.contextmanager
def _explained(title: str, option: str, num_processes: int) -> Iterator[None]:
    """Adds advice to the error of a killed process, and of exhausted memory."""
    try:
        yield
    except (process.BrokenProcessPool, MemoryError) as error:
        what = "a worker process was killed or crashed, often because memory ran out"
        if isinstance(error, MemoryError):
            what = "memory ran out"
        advice = "with more memory"
        if num_processes > 1:
            advice = (
                f"with fewer processes, --{option}={num_processes // 2} (now"
                f" {num_processes})"
            )
        raise ChildProcessError(
            f"{title}: {what}. Run the same command again {advice}; it resumes"
        ) from error


def _start(done: Any, stop: Any) -> None:
    _counters[:] = [done, stop]
    cv2.setNumThreads(1)  # There is one process per core.
    # The default, a lock between processes, would stay locked by a killed process.
    tqdm.tqdm.set_lock(threading.RLock())
    # Ctrl-C interrupts all processes of a terminal; the parent stops the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when its parent ends, even if the parent is killed."""
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
