"""A build in a process that is killed at a moment of its own counting."""

from __future__ import annotations

import os
import signal

from mdm_jax.annotation import annotator as annotator_lib
from mdm_jax.annotation import clip_annotation, linking
from mdm_jax.masks.mask_set import MaskSet
from mdm_jax.prepared import build as build_lib
from mdm_jax.prepared import records, shards, tfds_metadata
from mdm_jax.prepared.options import Options

assert records.import_tfds() and tfds_metadata  # loaded once, before forking


def annotator(masks):
    """Returns an annotator of masks, which may be small."""

    def annotate(clips, folder, *, alone, on_error="raise"):
        request = clip_annotation.Request(
            masks=MaskSet(root=str(masks), alone=alone),
            flow="call:tests.prepared.jobs.no_flow",
            options=linking.Options(min_pixels=9, min_length=1),
        )
        return annotator_lib.annotate(clips, folder, request, on_error=on_error)

    return annotate


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
