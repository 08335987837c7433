"""A build in a process that is killed at a moment of its own counting."""

from __future__ import annotations

import functools
import os
import signal

from mdm_jax.annotation import all_clips, clips, linking
from mdm_jax.prepared import build as build_lib
from mdm_jax.prepared import records, shards, tfds_metadata
from mdm_jax.prepared.options import Options

assert records.import_tfds() and tfds_metadata  # loaded once, before forking


def annotator(masks):
    """Returns what makes tracks of masks, which may be small."""
    return functools.partial(
        all_clips.annotate,
        sources=clips.Sources(
            masks=str(masks), flow="call:tests.prepared.jobs.no_flow"
        ),
        options=linking.Options(min_pixels=9, min_length=1),
    )


def build(options, moment, *, masks=None):
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
    build_lib.build(
        Options(**options),
        runner=build_lib.on_processes(1),
        annotator=masks and annotator(masks),
    )
