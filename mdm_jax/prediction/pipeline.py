"""From a trained model and a video to a folder of results.

First every frame is predicted and stored. Then the largest depth and the metric scale
are known, and all files are derived from the stored frames. Either part can be stopped
and continues where it was.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging

from mdm_jax.files import atomic, fingerprint
from mdm_jax.methods.inference import Model
from mdm_jax.prediction import (
    inputs,
    learned_intrinsics,
    metric_scale,
    object_labels,
    predicted,
    predicting,
    writers,
)
from mdm_jax.prediction.frame_store import FrameStore
from mdm_jax.prediction.inputs import Input
from mdm_jax.prediction.predicted import Predicted, Statistics
from mdm_jax.prediction.request import Request
from mdm_jax.prediction.writers import metadata
from mdm_jax.sources.source import Source


def predict_all(
    model: Model,
    path: str,
    output: pathlib.Path,
    request: Request,
    *,
    made_by: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Predicts all recordings at a path and returns the contents of `prediction.json`.

    Args:
        model: to predict with.
        path: an image, a video, a folder of images, or a folder of several.
        output: folder of the results; several recordings get a folder each.
        request: options.
        made_by: identity of the model, such as its workdir and step.

    Raises:
        ValueError: an input or option cannot be used; the message says what to do.
        OSError: a file cannot be read or written.
    """
    sources = inputs.open_sources(path)
    alone = len(sources) == 1
    results = []
    for source in sources:
        folder = output if alone else output / source.name
        result = predict(model, source, folder, request, made_by=made_by, alone=alone)
        results.append(result | {"name": source.name, "output": str(folder)})
    return results


def predict(
    model: Model,
    source: Source,
    output: pathlib.Path,
    request: Request,
    *,
    made_by: Mapping[str, Any],
    alone: bool = True,
) -> dict[str, Any]:
    """Writes all results of one recording and returns the contents of `prediction.json`.

    Args:
        model: to predict with.
        source: of the frames.
        output: folder of the results.
        request: options.
        made_by: identity of the model.
        alone: whether there is no other recording.

    Raises:
        ValueError: an input or option cannot be used; the message says what to do.
        OSError: a file cannot be read or written.
    """
    inputs.check_apart(output, [*source.files, request.masks])
    given = inputs.given_intrinsics(source, model, request)
    request = dataclasses.replace(request, fit=request.fit or inputs.trained_fit(model))
    source_input = _input(model, source, given, request, alone=alone)
    store = _open_store(source_input, output, request, made_by)
    # It is written last: without it, results are incomplete.
    (output / "prediction.json").unlink(missing_ok=True)
    progress = predicting.predict_frames(
        model, source_input, store, batch_size=request.batch_size
    )
    if not progress.names:
        raise ValueError(f"no frame could be read: {progress.problem}")
    statistics = predicted.statistics(store, progress.names)
    recording = Predicted(
        source,
        progress.names,
        store,
        source_input.view,
        _default_intrinsics(model, source_input, statistics),
        frame_stride=source_input.frame_stride,
        frames_per_second=request.fps or source.frames_per_second,
    )
    scale = metric_scale.estimate(recording, request)
    if scale is not None:
        recording = dataclasses.replace(recording, scale=scale.factor, unit="m")
    written = writers.write_all(output, recording, statistics, request)
    contents = {
        "input": str(source.files[0].resolve()),
        "made_by": dict(made_by),
        "complete": not progress.problem,
        "ended_early": progress.problem or None,
        "scale": metadata.scale(scale),
        **metadata.describe(recording, statistics, request, written),
        "intrinsics": _intrinsics(model, recording, statistics, given),
    }
    atomic.write_json(output / "prediction.json", contents)
    return contents | {"newly_predicted": progress.num_new}


def _input(
    model: Model,
    source: Source,
    given: np.ndarray | None,
    request: Request,
    *,
    alone: bool,
) -> Input:
    """Returns the source as the network is to see it."""
    view = inputs.view_of(source, model, request.fit)
    labels = None
    if request.masks:
        labels = object_labels.open_labels(request.masks, source, view, alone=alone)
    elif model.method.needs_labels:
        logging.warning(
            "No masks: the model takes everything for background and finds no objects;"
            " give --masks (python -m mdm_jax.annotate makes them)"
        )
    return Input(
        source,
        view,
        None if given is None else view.intrinsics(given),
        labels,
        frame_stride=model.config.dataset.frame_stride,
        video_index=inputs.training_index(model, source),
    )


def _open_store(
    source_input: Input,
    output: pathlib.Path,
    request: Request,
    made_by: Mapping[str, Any],
) -> FrameStore:
    """Returns the store of predictions that depend on exactly these settings."""
    masks = pathlib.Path(request.masks).expanduser()
    files = sorted(masks.rglob("*")) if masks.is_dir() else [masks]
    files = [file for file in files if file.is_file()] if request.masks else []
    settings = {
        **made_by,
        "input": fingerprint.digest(
            *fingerprint.file_identities(source_input.source.files)
        ),
        "view": dataclasses.asdict(source_input.view),
        "intrinsics": source_input.intrinsics,
        "masks": fingerprint.digest(*fingerprint.file_identities(files)),
        "video_index": source_input.video_index,
    }
    return FrameStore(output, settings, overwrite=request.overwrite)


def _default_intrinsics(
    model: Model, source_input: Input, statistics: Statistics
) -> np.ndarray | None:
    """Returns the intrinsics of frames without any: the last have no partner."""
    if not model.method.learns_intrinsics:
        return source_input.intrinsics
    learned = statistics.intrinsics
    return np.median(learned, axis=0) if len(learned) else None


def _intrinsics(
    model: Model, recording: Predicted, statistics: Statistics, given: Any
) -> dict[str, Any] | None:
    """Returns what `prediction.json` says about the intrinsics."""
    if model.method.learns_intrinsics and len(statistics.intrinsics):
        return learned_intrinsics.report(
            statistics.intrinsics, statistics.rotation, view=recording.view
        )
    return None if given is None else {"given": given}
