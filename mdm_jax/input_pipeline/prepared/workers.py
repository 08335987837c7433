"""Jobs spread over processes, with one progress bar, and an end when one fails."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from multiprocessing import connection
from typing import Any

import cv2
import tqdm

Tick = Callable[[], None]

# Set in each worker process: how many frames are done, and whether to give up.
_counters: list[Any] = []


class Stopped(Exception):
    """Another job failed."""


def run(
    function: Callable[[Any, Tick], None],
    jobs: Sequence[Any],
    *,
    num_processes: int,
    total: int,
    title: str,
) -> None:
    """Runs `function(job, tick)` for each job, in any order.

    Args:
        function: a module's, to be sent to other processes; calls `tick()` for each
            frame.
        jobs: to be sent likewise.
        num_processes: 1 runs them in this one.
        total: number of frames, for the progress bar.
        title: of the progress bar.

    Raises:
        Exception: the first that a job raises; the others end as soon as they tick.
    """
    with tqdm.tqdm(total=total, desc=title, unit=" frames", disable=None) as progress:
        if num_processes == 1 or len(jobs) < 2:

            def advance() -> None:
                progress.update()

            for job in jobs:
                function(job, advance)
            return
        # Forking would copy the threads' locks of whatever the caller runs.
        context = multiprocessing.get_context("spawn")
        done, stop = context.Value("q", 0), context.Event()
        with concurrent.futures.ProcessPoolExecutor(
            min(num_processes, len(jobs)), context, _start, (done, stop)
        ) as pool:
            waiting = {pool.submit(_work, function, job) for job in jobs}
            try:
                while waiting:
                    finished, waiting = concurrent.futures.wait(
                        waiting, 0.2, concurrent.futures.FIRST_COMPLETED
                    )
                    progress.update(done.value - progress.n)
                    for future in finished:
                        future.result()
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        progress.update(done.value - progress.n)


def _start(done: Any, stop: Any) -> None:
    _counters[:] = [done, stop]
    cv2.setNumThreads(1)  # There is a process for each core.
    # Ctrl-C reaches all processes of a terminal; the first one tells the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone, even if it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _work(function: Callable[[Any, Tick], None], job: Any) -> None:
    done, stop = _counters

    def tick() -> None:
        if stop.is_set():
            raise Stopped
        with done.get_lock():
            done.value += 1

    function(job, tick)
