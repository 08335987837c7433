"""Annotation of many clips in parallel processes, with one progress bar.

Beside the folders of the clips, `summary.json` holds the counts of all clips.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import cv2
from absl import logging

from mdm_jax.annotation import clip_annotation, clip_folder
from mdm_jax.files import atomic, errors, folder_lock, workers
from mdm_jax.sources.source import Source

# An object hardly covers a larger share of a frame.
_LARGE = 0.6
# Draws the annotation of a clip, given the folder of the clip.
Overview = Callable[[pathlib.Path, Source], None]


def annotate(
    sources: Sequence[Source],
    folder: pathlib.Path,
    request: clip_annotation.Request,
    *,
    num_processes: int = 1,
    on_error: str = "raise",
    overview: Overview | None = None,
) -> list[dict[str, Any]]:
    """Annotates clips, except for finished ones, and returns their summaries.

    Args:
        sources: the clips.
        folder: each clip gets a subfolder; created if missing.
        request: what to annotate with.
        num_processes: number of clips to annotate at a time.
        on_error: `skip` leaves out clips with broken files, and counts them.
        overview: called for each annotated clip; a function of a module.

    Raises:
        DataError: a file is missing or broken.
        ValueError: an option is wrong, or all clips fail.
        OSError: the output cannot be written, or another annotation is writing there.
        ChildProcessError: a process was killed, see `workers.run`.
    """
    problems = errors.Problems(on_error)
    folder.mkdir(parents=True, exist_ok=True)
    num_processes = max(1, min(num_processes, len(sources)))
    job = functools.partial(
        _annotate,
        folder=folder,
        request=request,
        skip=on_error == "skip",
        overview=overview,
        # A single process computes forward and backward flow in parallel.
        num_threads=2 if num_processes == 1 else 1,
    )
    with folder_lock.held(folder, "another annotation"):
        results = workers.run(
            job,
            sources,
            num_processes=num_processes,
            total=sum(map(len, sources)),
            title="annotating",
        )
        summaries = []
        for result in results:
            if isinstance(result, errors.DataError):
                problems.report(result)
            else:
                summaries.append(result)
        if problems.errors:
            logging.warning("%s", problems.summary())
        if not summaries:
            raise ValueError(f"no clip could be annotated; {problems.summary()}")
        _report(folder, summaries, problems)
    return summaries


def _annotate(
    source: Source,
    tick: workers.Tick,
    *,
    folder: pathlib.Path,
    request: clip_annotation.Request,
    skip: bool,
    overview: Overview | None,
    num_threads: int,
) -> dict[str, Any] | errors.DataError:
    """Annotates one clip; returns an error that is to be skipped."""
    cv2.setNumThreads(1)  # OpenCV's flow depends on its number of threads.
    try:
        summary = clip_annotation.annotate_clip(
            source, folder, request, num_threads=num_threads, tick=tick
        )
    except ValueError as error:
        if not isinstance(error, errors.DataError):
            error = errors.DataError(source.path, str(error))
        if not skip:
            raise error from error.__cause__
        return error
    if overview is not None:
        overview(folder / source.name, source)
    return summary


def _report(
    folder: pathlib.Path, summaries: list[dict[str, Any]], problems: errors.Problems
) -> None:
    """Logs a line for each clip, and writes the counts of all clips to one file."""
    for summary in summaries:
        logging.info(
            "%s: %d frames, %d tracks of %.1f frames on average, %.1f %% of the masks"
            " matched with an earlier one",
            summary["name"],
            summary["frames"],
            summary["tracks"],
            summary["mean_length"],
            100 * summary["share_matched"],
        )
        height, width = summary["size"]
        for track in summary["track_list"]:
            share = track["pixels"] / (track["length"] * height * width)
            if share > _LARGE:
                logging.warning(
                    "%s: track %d covers %.0f %% of its frames; if it is the background,"
                    " set --mask_background",
                    summary["name"],
                    track["label"],
                    100 * share,
                )
    omitted = ("name", "track_list", "request", "key")
    counts = {
        summary["name"]: {k: v for k, v in summary.items() if k not in omitted}
        for summary in summaries
    }
    atomic.remove_abandoned(folder)
    atomic.write_json(
        folder / clip_folder.SUMMARY,
        {"clips": counts, "skipped": [str(error) for error in problems.errors]},
    )
