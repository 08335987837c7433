"""From a trained run and a recording to a folder of results.

First every frame is predicted and kept; then, when it is known how deep the deepest is
and what a unit is worth, everything else is derived. Either part can be stopped and goes
on where it was.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
import numpy as np
from absl import logging

from mdm_jax import methods
from mdm_jax import sources as sources_lib
from mdm_jax.files import atomic, fingerprint
from mdm_jax.prediction import (
    frame_files,
    frames,
    inference,
    learned_intrinsics,
    masks,
    notes,
    outputs,
    scaling,
    store,
)
from mdm_jax.prediction.inference import Network
from mdm_jax.sources.source import Source


@dataclasses.dataclass(frozen=True)
class Request:
    """What is wanted, apart from where it comes from and where it goes.

    Attributes:
        intrinsics: of the original frames, see `intrinsics_file`; empty for those of
            the run, or of a file beside the frames.
        fit: one of `frames.FITS`.
        batch_size: frames predicted at a time.
        frames_per_second: None for what the video says.
        masks: folder or file with instance masks; empty for none.
        known: about the scale.
        save: some of `frame_files.KINDS`.
        maps_at: one of `frame_files.MAP_SIZES`.
        point_clouds: `middle`, `none`, or numbers of frames with commas between them.
        overwrite: remove predictions made otherwise.
    """

    intrinsics: str = ""
    fit: str = "crop"
    batch_size: int = 8
    frames_per_second: float | None = None
    masks: str = ""
    known: scaling.Known = dataclasses.field(default_factory=scaling.Known)
    save: tuple[str, ...] = frame_files.KINDS
    maps_at: str = "input"
    point_clouds: str = "middle"
    overwrite: bool = False

    def __post_init__(self):
        unknown = sorted(set(self.save) - set(frame_files.KINDS))
        if unknown:
            raise ValueError(
                f"--save expects some of {', '.join(frame_files.KINDS)}, got"
                f" {', '.join(unknown)}"
            )
        if self.batch_size < 1:
            raise ValueError(f"--batch_size expects 1 or more, got {self.batch_size}")
        if self.frames_per_second is not None and not self.frames_per_second > 0:
            raise ValueError(f"--fps expects more than 0, got {self.frames_per_second}")
        _frame_numbers(self.point_clouds, 1)


def predict(
    network: Network,
    config: ml_collections.ConfigDict,
    source: Source,
    output: pathlib.Path,
    request: Request,
    *,
    made_by: Mapping[str, Any],
    alone: bool = True,
) -> dict[str, Any]:
    """Writes all results of a recording, and returns what `prediction.json` says.

    Args:
        network: that predicts.
        config: of its run.
        source: of the frames.
        output: folder of the results.
        request: what is wanted.
        made_by: what tells the network from others, such as its workdir and step.
        alone: there is no other recording.

    Raises:
        ValueError: something is missing or does not fit; the message says what to do.
    """
    _check_apart(output, [*source.files, request.masks])
    view = frames.make_view(
        source.size,
        config.dataset.size,
        fit=request.fit,
        crop=config.dataset.crop,
    )
    learned = methods.create(config).learns_intrinsics
    if learned and request.fit == "stretch":
        logging.warning(
            "--fit=stretch: the intrinsics were learned of frames that are cut, not"
            " stretched; motion and point clouds may be wrong"
        )
    original = _given_intrinsics(source, config, request, learned=learned)
    matrix = None if original is None else view.intrinsics(original)
    labels = masks.open_labels(request.masks, config, source, view, alone=alone)
    stride = config.dataset.frame_stride
    rate = request.frames_per_second or source.frames_per_second
    kept = store.Store(
        output,
        {
            **made_by,
            "input": fingerprint.digest(*fingerprint.file_identities(source.files)),
            "view": dataclasses.asdict(view),
            "intrinsics": matrix,
            "masks": fingerprint.digest(
                *fingerprint.file_identities(_files(request.masks))
            ),
            "video_index": network.video_index,
        },
        overwrite=request.overwrite,
    )
    # Written last: where it is absent, the rest is not complete.
    (output / "prediction.json").unlink(missing_ok=True)
    found = inference.predict_all(
        network,
        source,
        kept,
        view,
        intrinsics=matrix,
        labels=labels,
        frame_stride=stride,
        batch_size=request.batch_size,
    )
    if not found.names:
        raise ValueError(f"no frame could be read: {found.broken}")
    recording = frame_files.Recording(source, found.names, kept, view, matrix)
    everything = outputs.overview(recording)
    if learned:
        # Of the last frames, which have no partner, and for the scale.
        own = everything.intrinsics
        last = np.median(own, axis=0) if len(own) else None
        recording = dataclasses.replace(recording, intrinsics=last)
    scale = scaling.scale_of(
        request.known,
        kept,
        found.names,
        view,
        intrinsics=recording.intrinsics,
        seconds_per_step=stride / rate if rate else None,
    )
    factor = 1.0 if scale is None else scale.factor
    step = outputs.png_step(
        factor * everything.max_depth,
        factor * everything.median_depth,
        metric=scale is not None,
    )
    options = frame_files.Options(
        save=request.save,
        maps_at=request.maps_at,
        point_clouds=_frame_numbers(request.point_clouds, len(found.names)),
        frame_stride=stride,
        frames_per_second=rate,
    )
    if beyond := [i for i in options.point_clouds if not 0 <= i < len(found.names)]:
        logging.warning(
            "No point clouds of frames %s: there are frames 0 to %d",
            ", ".join(map(str, beyond)),
            len(found.names) - 1,
        )
    if options.point_clouds and recording.intrinsics is None:
        logging.warning("No point clouds: they need intrinsics (--intrinsics)")
    unit = "m" if scale else "relative unit"
    num_rows = outputs.write_maps(
        output, recording, everything, options, scale=factor, step=step
    )
    num_poses = outputs.write_trajectory(
        output, recording, everything, options, scale=factor, unit=unit
    )
    told: dict[str, Any] = {
        "input": str(source.files[0].resolve()),
        "made_by": dict(made_by),
        "frames": len(found.names),
        "first_frame": found.names[0],
        "last_frame": found.names[-1],
        "complete": not found.broken,
        "ended_early": found.broken or None,
        "frames_per_second": rate,
        "unit": unit,
        "scale": notes.scale(scale),
        "depth": notes.depth(step, everything.max_depth * factor, unit),
        "object_motion": notes.motion(stride, unit),
        "masks": notes.MASKS,
        "maps": notes.maps(request.maps_at, request.fit, source, view),
        "trajectory": notes.trajectory(num_poses, rate, unit),
        "objects": {
            "rows": num_rows,
            "speed_unit": f"{unit} / s" if rate else f"{unit} / pair of frames",
        }
        if num_rows
        else None,
        "intrinsics": None,
    }
    if learned and len(everything.intrinsics):
        told["intrinsics"] = learned_intrinsics.report(
            frames.original_intrinsics(view, everything.intrinsics),
            everything.rotation,
            size=view.size,
            network_intrinsics=everything.intrinsics,
        )
    elif original is not None:
        told["intrinsics"] = {"given": original}
    atomic.write_json(output / "prediction.json", told)
    return told | {"newly_predicted": found.newly_predicted}


def training_index(config: ml_collections.ConfigDict, source: Source) -> int:
    """Returns which recording of the run's training data a source is, -1 for none."""
    if config.dataset.name != "video" or not config.dataset.path:
        return -1
    try:
        trained_on = sources_lib.open_sources(
            "video", config.dataset.path, intrinsics="learned"
        )
    except (ValueError, OSError):
        return -1  # it may be long gone
    first = source.files[0].resolve()
    for index, one in enumerate(trained_on):
        if one.files[0].resolve() == first:
            return index
    return -1


def _given_intrinsics(
    source: Source,
    config: ml_collections.ConfigDict,
    request: Request,
    *,
    learned: bool,
) -> np.ndarray | None:
    if learned:
        if request.intrinsics not in ("", "learned"):
            logging.warning(
                "--intrinsics=%s has no effect: the run learned them",
                request.intrinsics,
            )
        return None
    if request.intrinsics == "learned":
        raise ValueError(
            "--intrinsics=learned: the run was trained with given intrinsics and cannot"
            " tell others; give them"
        )
    specification = request.intrinsics
    if not specification and config.dataset.name == "video":
        specification = config.dataset.intrinsics
    required = len(source) > 1
    return frames.intrinsics_of(source, specification, required=required)


def _check_apart(output: pathlib.Path, read: Sequence[pathlib.Path | str]):
    """Raises an error where what is written would replace what is read."""
    folders = [(output / name).resolve() for name in (store.FOLDER, *store.DERIVED)]
    for path in read:
        place = pathlib.Path(path).expanduser().resolve()
        if path and any(place.is_relative_to(folder) for folder in folders):
            raise ValueError(
                f"--output={output} would replace {path}, which is read: choose another"
                " folder"
            )


def _files(path: str) -> list[pathlib.Path]:
    """Returns the files at a path, none for no path."""
    place = pathlib.Path(path).expanduser()
    if not path or place.is_file():
        return [place] if path else []
    return sorted(file for file in place.rglob("*") if file.is_file())


def _frame_numbers(text: str, num_frames: int) -> tuple[int, ...]:
    if text in ("", "none"):
        return ()
    if text == "middle":
        return (num_frames // 2,)
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise ValueError(
            "--point_clouds expects `middle`, `none` or numbers of frames, as in"
            f" 0,40; got {text!r}"
        ) from None
