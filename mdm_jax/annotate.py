"""Annotates: `python -m mdm_jax.annotate --input=FRAMES --output=DIR --masks=SOURCE`.

Method `instance_motion` needs masks whose ids persist from frame to frame. This command
makes them of masks of single frames and of optical flow (Lee et al. 2019, section 3.4):

    python -m mdm_jax.annotate --input=frames --masks=masks_per_frame --output=tracked
    python -m mdm_jax.main --config=configs/video.py:instance_motion --workdir=runs/mine \\
        --config.dataset.path=frames --config.dataset.masks=tracked

`--input` is what `dataset.path` takes: a folder of images, a video, or a folder of
either, which are one clip each. `--masks` is a folder or file of masks, or
`maskrcnn:WEIGHTS.pth`, or `call:package.module.function`; `--flow` is `dis`, a folder,
`raft:WEIGHTS.pth` or `call:...`: see `mdm_jax.annotation.mask_sources` and
`flow_sources`. Each clip gets a folder of label maps, `summary.json` and
`overview.mp4`. The same command goes on where it was stopped.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import json
import multiprocessing
import os
import pathlib
import sys
from typing import Any

import cv2
import tqdm
from absl import app, flags, logging

from mdm_jax.annotation import clips, linking, mask_sources
from mdm_jax.input_pipeline import footage as footage_lib
from mdm_jax.input_pipeline.instance_masks import label_images
from mdm_jax.input_pipeline.readers import errors
from mdm_jax.visualize import instance_overview

_DEFAULTS = linking.Options()
_INPUT = flags.DEFINE_string("input", None, "Frames: folder of images, video, or both.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder; each clip gets one in it.")
_MASKS = flags.DEFINE_string("masks", None, "Source of the masks of single frames.")
_FLOW = flags.DEFINE_string("flow", "dis", "Source of optical flow.")
_CLASSES = flags.DEFINE_list("classes", [], "Numbers of the classes kept; empty: all.")
_MIN_SCORE = flags.DEFINE_float(
    "min_score", _DEFAULTS.min_score, "Masks of a lower score are dropped."
)
_MIN_PIXELS = flags.DEFINE_integer(
    "min_pixels", _DEFAULTS.min_pixels, "Masks of fewer pixels are dropped."
)
_MIN_LENGTH = flags.DEFINE_integer(
    "min_length", _DEFAULTS.min_length, "Tracks of fewer frames are dropped."
)
_THRESHOLD = flags.DEFINE_float(
    "threshold", _DEFAULTS.threshold, "Both IoUs of a match exceed it."
)
_LENIENT = flags.DEFINE_bool(
    "lenient", _DEFAULTS.lenient, "Match parts and hardly seen masks; off: the paper."
)
_BACKGROUND = flags.DEFINE_integer(
    "mask_background", 0, "Value of pixels of label maps that belong to no object."
)
_CODING = flags.DEFINE_enum(
    "mask_coding", "auto", label_images.CODINGS, "What values of PNG maps mean."
)
_CLASS_MAPS = flags.DEFINE_string(
    "class_maps", "", "Folder of PNG with the class of each pixel."
)
_PROCESSES = flags.DEFINE_integer("processes", 0, "Clips at a time; 0: one per core.")
_ON_ERROR = flags.DEFINE_enum(
    "on_error", "raise", errors.ON_ERROR, "What to do about a clip that fails."
)
_OVERVIEW = flags.DEFINE_bool("overview", True, "Write overview.mp4 of each clip.")


def main(argv: list[str]):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: options start with --")
    logging.set_verbosity(logging.INFO)
    path, output, masks = _INPUT.value, _OUTPUT.value, _MASKS.value
    if not path or not output or not masks:
        raise app.UsageError("--input, --output and --masks must not be empty")
    try:
        options = linking.Options(
            classes=tuple(int(number) for number in _CLASSES.value),
            min_score=_MIN_SCORE.value,
            min_pixels=_MIN_PIXELS.value,
            min_length=_MIN_LENGTH.value,
            threshold=_THRESHOLD.value,
            lenient=_LENIENT.value,
        )
        sources = clips.Sources(
            masks=masks,
            flow=_FLOW.value,
            reading=mask_sources.Reading(
                background=_BACKGROUND.value,
                coding=_CODING.value,
                class_maps=_CLASS_MAPS.value,
            ),
        )
        annotate_all(
            path,
            output,
            sources=sources,
            options=options,
            processes=_PROCESSES.value,
            on_error=_ON_ERROR.value,
            with_overview=_OVERVIEW.value,
        )
    except (ValueError, OSError, ImportError) as error:
        if logging.level_debug():
            raise
        sys.exit(f"error: {error}")


def annotate_all(
    path: str,
    output: str,
    *,
    sources: clips.Sources,
    options: linking.Options,
    processes: int = 0,
    on_error: str = "raise",
    with_overview: bool = True,
) -> list[dict[str, Any]]:
    """Annotates every clip at a path and returns their summaries.

    Raises:
        ValueError: as `clips.annotate_clip`; clips that fail are counted instead where
            `on_error` is `skip`, and it is an error only if all do.
        OSError: the output cannot be written.
    """
    problems = errors.Problems(on_error)
    folder = pathlib.Path(output).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    found = footage_lib.find(pathlib.Path(path).expanduser())
    processes = min(processes or os.cpu_count() or 1, len(found))
    run = functools.partial(
        _annotate,
        output=folder,
        sources=sources,
        options=options,
        alone=len(found) == 1,
        with_overview=with_overview,
    )
    jobs = [(_path(footage), footage.name) for footage in found]
    summaries = []
    if processes == 1:
        results = (functools.partial(run, *job, num_threads=2) for job in jobs)
        summaries = _collect(results, len(jobs), problems)
    else:
        # Not by forking: threads of JAX and OpenCV would not survive it.
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(processes, context) as pool:
            waiting = [pool.submit(run, *job, num_threads=1) for job in jobs]
            try:
                results = (future.result for future in waiting)
                summaries = _collect(results, len(jobs), problems)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    if problems.errors:
        logging.warning("%s", problems.summary())
    if not summaries:
        raise ValueError(f"{path}: no clip could be annotated; {problems.summary()}")
    _report(folder, summaries, problems)
    return summaries


def _collect(calls: Any, count: int, problems: errors.Problems) -> list[dict[str, Any]]:
    summaries = []
    progress = tqdm.tqdm(
        calls, total=count, unit=" clips", disable=True if count == 1 else None
    )
    for call in progress:
        with problems.caught():
            summaries.append(call())
    return summaries


def _annotate(
    path: str,
    name: str,
    *,
    output: pathlib.Path,
    sources: clips.Sources,
    options: linking.Options,
    alone: bool,
    with_overview: bool,
    num_threads: int,
) -> dict[str, Any]:
    """Annotates one clip; in a process of its own where there are several."""
    # Its flow depends on the number of its threads.
    cv2.setNumThreads(1)
    try:
        found = footage_lib.find(pathlib.Path(path))[0]
        footage = dataclasses.replace(found, name=name)
        summary = clips.annotate_clip(
            footage,
            output,
            sources=sources,
            options=options,
            alone=alone,
            num_threads=num_threads,
        )
    except errors.DataError:
        raise
    except ValueError as error:  # Of a frame, say: so that the clip can be skipped.
        raise errors.DataError(path, str(error)) from error
    if with_overview:
        instance_overview.write(output / name, footage)
    return summary


def _path(footage: footage_lib.Footage) -> str:
    first = footage.files[0]
    return str(first if len(footage.files) == 1 else first.parent)


def _report(
    folder: pathlib.Path, summaries: list[dict[str, Any]], problems: errors.Problems
) -> None:
    """Logs a line for each clip, and keeps the counts of all in one file."""
    for summary in summaries:
        logging.info(
            "%s: %d frames, %d tracks of %.1f frames on average, %.1f %% of masks matched"
            " with one before",
            summary["name"],
            summary["frames"],
            summary["tracks"],
            summary["mean_length"],
            100 * summary["share_matched"],
        )
    kept = {name: summary for name, summary in _without_tracks(summaries)}
    text = {"clips": kept, "skipped": [str(error) for error in problems.errors]}
    temporary = folder / f".{clips.SUMMARY}.part"
    temporary.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    temporary.replace(folder / clips.SUMMARY)


def _without_tracks(summaries: list[dict[str, Any]]):
    for summary in summaries:
        hidden = ("name", "track_list", "sources", "options", "key")
        yield summary["name"], {k: v for k, v in summary.items() if k not in hidden}


def run():
    """The console entry point."""
    flags.mark_flags_as_required(["input", "output", "masks"])
    app.run(main)


if __name__ == "__main__":
    run()
