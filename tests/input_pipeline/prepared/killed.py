"""A build in a process that is killed at a moment of its own counting."""

from __future__ import annotations

import os
import signal

from mdm_jax.input_pipeline.prepared import build as build_lib
from mdm_jax.input_pipeline.prepared import records, shards, tfds_metadata
from mdm_jax.input_pipeline.prepared.options import Options

assert records.import_tfds() and tfds_metadata  # loaded once, before forking


def build(options, moment):
    """Builds, and is killed before record, synchronised file or rename number moment."""
    count = 0

    def counted(function):
        def call(*args, **kwargs):
            nonlocal count
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            return function(*args, **kwargs)

        return call

    os.replace, os.fsync = counted(os.replace), counted(os.fsync)
    shards.clips.change = counted(shards.clips.change)
    encoder = records.encoder
    records.encoder = lambda *args: counted(encoder(*args))
    build_lib.build(Options(**options), runner=build_lib.on_processes(1))
