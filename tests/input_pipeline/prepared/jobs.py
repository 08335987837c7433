"""Jobs for other processes, which can only be sent functions of a module."""

import pathlib
import time

PATIENCE = 300  # seconds that a job waits, unless it is told to stop


def touch(path, tick):
    pathlib.Path(path).touch()
    tick()


def fail_or_wait(fails, tick):
    if fails:
        raise ValueError("first job")
    started = time.monotonic()
    while time.monotonic() - started < PATIENCE:
        tick()
        time.sleep(0.05)
