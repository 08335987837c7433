"""Annotation of many clips: over processes, with one progress bar, and counted.

Beside the folders of clips (`clips`) lies `summary.json` with the counts of all.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import cv2
from absl import logging

from mdm_jax.annotation import clips, linking
from mdm_jax.files import atomic, errors, folder_lock, workers
from mdm_jax.sources.source import Source

# Hardly an object covers more of a frame.
_LARGE = 0.6
# Draws what was made of a clip, given its folder.
Overview = Callable[[pathlib.Path, Source], None]


def annotate(
    found: Sequence[Source],
    folder: pathlib.Path,
    *,
    sources: clips.Sources,
    options: linking.Options,
    processes: int = 1,
    on_error: str = "raise",
    overview: Overview | None = None,
    named: bool = False,
    processes_option: str = "processes",
) -> list[dict[str, Any]]:
    """Annotates clips, or what is missing of them, and returns their summaries.

    Args:
        found: the clips.
        folder: each clip gets one in it; made where absent.
        sources: of masks and flow.
        options: what counts as an object, and as a match.
        processes: clips at a time.
        on_error: `skip` leaves out a clip that fails, and counts it.
        overview: called for each annotated clip; a module's function.
        named: the files of sources carry the names of clips, as there are more than
            these; else those of one alone may be its own.
        processes_option: of the command line, named where processes are killed.

    Raises:
        ValueError: as `clips.annotate_clip`; all clips fail.
        OSError: the output cannot be written, or another annotation is writing there.
        ChildProcessError: see `workers.run`.
    """
    problems = errors.Problems(on_error)
    folder.mkdir(parents=True, exist_ok=True)
    processes = max(1, min(processes, len(found)))
    run = functools.partial(
        _annotate,
        folder=folder,
        sources=sources,
        options=options,
        alone=len(found) == 1 and not named,
        skip=on_error == "skip",
        overview=overview,
        # Forward and backward flow side by side, where there are cores for it.
        num_threads=2 if processes == 1 else 1,
    )
    with folder_lock.held(folder, "another annotation"):
        results = workers.run(
            run,
            found,
            num_processes=processes,
            total=sum(map(len, found)),
            title="annotating",
            option=processes_option,
        )
        summaries = [one for one in results if not isinstance(one, errors.DataError)]
        for one in results:
            if isinstance(one, errors.DataError):
                problems.report(one)
        if problems.errors:
            logging.warning("%s", problems.summary())
        if not summaries:
            raise ValueError(f"no clip could be annotated; {problems.summary()}")
        _report(folder, summaries, problems)
    return summaries


def _annotate(
    video: Source,
    tick: workers.Tick,
    *,
    folder: pathlib.Path,
    sources: clips.Sources,
    options: linking.Options,
    alone: bool,
    skip: bool,
    overview: Overview | None,
    num_threads: int,
) -> dict[str, Any] | errors.DataError:
    """Annotates one clip; in a process of its own where there are several."""
    # Its flow depends on the number of its threads.
    cv2.setNumThreads(1)
    try:
        try:
            summary = clips.annotate_clip(
                video,
                folder,
                sources=sources,
                options=options,
                alone=alone,
                num_threads=num_threads,
                show_progress=False,
                tick=tick,
            )
        except errors.DataError:
            raise
        except ValueError as error:  # Of a frame, say: so that the clip can be skipped.
            raise errors.DataError(video.path, str(error)) from error
    except errors.DataError as error:
        if not skip:
            raise
        return error
    if overview is not None:
        overview(folder / video.name, video)
    return summary


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
    hidden = ("name", "track_list", "sources", "options", "key")
    kept = {
        summary["name"]: {k: v for k, v in summary.items() if k not in hidden}
        for summary in summaries
    }
    text = {"clips": kept, "skipped": [str(error) for error in problems.errors]}
    atomic.remove_abandoned(folder)
    atomic.write_json(folder / clips.SUMMARY, text)
