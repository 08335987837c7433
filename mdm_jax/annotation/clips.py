"""Annotation of clips on disk: resumable, and complete or absent.

A clip NAME becomes a folder OUTPUT/NAME with `instances/FRAME.png` (8-bit label maps,
which `config.dataset.masks=OUTPUT` reads) and `summary.json`. Until it is complete, what
is known of each frame lies in OUTPUT/.NAME.part, and an interrupted run goes on there.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import tqdm
from absl import logging

from mdm_jax.annotation import linking, mask_sources, sequence, tracks
from mdm_jax.files import atomic, file_content, fingerprint, image_file
from mdm_jax.files.errors import DataError
from mdm_jax.flow import flow_sources
from mdm_jax.flow.video_frame import Frame
from mdm_jax.masks import mask_set
from mdm_jax.sources.source import Source

SUMMARY = "summary.json"
_VERSION = 1  # raise it when the same files would have to give other tracks
_RECORDS, _OWNERS = "records.jsonl", "owners"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sources:
    """Names of the sources.

    Attributes:
        masks: see `mask_sources`.
        flow: see `flow_sources`.
        reading: how masks from files are read.
    """

    masks: str
    flow: str = "dis"
    reading: mask_sources.Reading = mask_sources.AS_USUAL


def annotate_clip(
    video: Source,
    output: pathlib.Path,
    *,
    sources: Sources,
    options: linking.Options,
    alone: bool = True,
    num_threads: int = 2,
    show_progress: bool = True,
    tick: Callable[[], Any] = lambda: None,
) -> dict[str, Any]:
    """Writes the annotation of one clip, unless it is there, and returns its summary.

    Args:
        video: the frames.
        output: folder of all clips; made where absent.
        sources: of masks and flow.
        options: what counts as an object, and as a match.
        alone: it is the only clip: the paths of sources may be its own.
        num_threads: that compute flow.
        show_progress: with a bar, on a terminal.
        tick: called once per frame.

    Raises:
        DataError: a file is missing or not usable, or the folder of the clip was made
            of something else.
        ValueError: an option does not exist.
        OSError: the output cannot be written.
    """
    announced = len(video)
    video = video.counted()
    names = video.frame_names()
    final = output / video.name
    final.parent.mkdir(parents=True, exist_ok=True)  # Names of drives may have folders.
    key = _key(video, sources, options, alone=alone)
    if file_content.exists(final):
        for _ in range(announced):
            tick()
        return _finished(final, key)
    masks = mask_sources.create(
        sources.masks,
        clip=video.name,
        names=names,
        size=video.size,
        alone=alone,
        reading=sources.reading,
    )
    flow = flow_sources.create(sources.flow, clip=video.name)
    part = final.with_name(f".{final.name}.part")
    seen = _records(part, key, names)
    if seen:
        logging.info("%s: going on at frame %d", video.name, len(seen))
    linker = linking.Linker(flow, options, num_threads=num_threads)
    try:
        progress = tqdm.tqdm(
            video.images(),
            total=len(names),
            desc=video.name,
            unit=" frames",
            disable=None if show_progress else True,
        )
        with (part / _RECORDS).open("a", encoding="utf-8") as records:
            for index, image in enumerate(progress):
                if index < announced:
                    tick()
                frame = Frame(index, names[index], image)
                if index < len(seen):
                    if index >= len(seen) - 2:
                        objects = _stored(part, names[index], seen[index])
                        linker.resume(frame, objects, seen[index].links)
                    continue
                objects = linking.keep(masks(frame), options)
                found = linking.without_pixels(objects, *linker.link(frame, objects))
                # The map first: a record tells that it is there.
                _write_png(part / _OWNERS / f"{names[index]}.png", objects.owners)
                records.write(json.dumps(_to_json(found)) + "\n")
                records.flush()
                seen.append(found)
    finally:
        linker.close()
    names = names[: len(seen)]  # A video may break before its end.
    numbered = tracks.number(seen, min_length=options.min_length)
    summary = _summary(video, numbered, key, sources, options)
    return _finish(part, final, names, numbered, summary)


def _finish(
    part: pathlib.Path,
    final: pathlib.Path,
    names: list[str],
    numbered: tracks.Numbered,
    summary: dict[str, Any],
) -> dict[str, Any]:
    """Writes label maps and summary, and gives the folder its name."""
    folder = part / mask_set.LABEL_FOLDER
    folder.mkdir(exist_ok=True)
    for name, labels in zip(names, numbered.labels, strict=True):
        owners = image_file.read_labels(part / _OWNERS / f"{name}.png")
        _write_png(folder / f"{name}.png", sequence.paint(owners, labels))
    atomic.write_json(part / SUMMARY, summary)
    (part / _RECORDS).unlink()
    shutil.rmtree(part / _OWNERS)
    os.replace(part, final)
    return summary


def _summary(
    video: Source,
    numbered: tracks.Numbered,
    key: str,
    sources: Sources,
    options: linking.Options,
) -> dict[str, Any]:
    return {
        "name": video.name,
        "size": list(video.size),
        **numbered.summary,
        "sources": dataclasses.asdict(sources),
        "options": dataclasses.asdict(options),
        "key": key,
        "track_list": [dataclasses.asdict(track) for track in numbered.tracks],
    }


def _finished(final: pathlib.Path, key: str) -> dict[str, Any]:
    """Returns the summary of a clip that is there.

    Raises:
        DataError: it was made of something else.
    """
    path = final / SUMMARY
    if not file_content.exists(path):
        raise DataError(
            final, "this folder is in the way of the clip's; choose another"
        )
    summary = file_content.read_json(path)
    if file_content.field(summary, ("key",), path) != key:
        raise DataError(
            final,
            "was made of other frames, masks or options; remove it, or choose another"
            " folder",
        )
    return summary


def _records(part: pathlib.Path, key: str, names: list[str]) -> list[tracks.Seen]:
    """Returns what an interrupted run knew of the first frames; begins where none did."""
    path = part / _RECORDS
    seen: list[tracks.Seen] = []
    if file_content.exists(path):
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        # What follows the last line break was cut off.
        head, *lines = lines[:-1] or [""]
        if head == key:
            for name, line in zip(names, lines, strict=False):
                if not file_content.exists(part / _OWNERS / f"{name}.png"):
                    break
                seen.append(_from_json(json.loads(line)))
    if not seen and file_content.exists(part):
        shutil.rmtree(part)
    (part / _OWNERS).mkdir(parents=True, exist_ok=True)
    atomic.remove_abandoned(part)
    kept = [key, *(json.dumps(_to_json(found)) for found in seen)]
    atomic.write_text(path, "".join(f"{line}\n" for line in kept))
    return seen


def _stored(part: pathlib.Path, name: str, seen: tracks.Seen) -> linking.Objects:
    owners = image_file.read_labels(part / _OWNERS / f"{name}.png")
    return linking.Objects(owners, seen.areas, seen.classes, seen.scores, seen.dropped)


def _to_json(seen: tracks.Seen) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in vars(seen).items()
    }


def _from_json(record: dict[str, Any]) -> tracks.Seen:
    return tracks.Seen(
        areas=np.array(record["areas"], np.int64),
        classes=np.array(record["classes"], np.int64),
        scores=np.array(record["scores"], np.float32),
        links=np.array(record["links"], np.int64).reshape(-1, 2),
        bridges=np.array(record["bridges"], np.int64).reshape(-1, 2),
        dropped=record["dropped"],
    )


def _write_png(path: pathlib.Path, values: np.ndarray) -> None:
    _, content = cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    path.write_bytes(content.tobytes())


def _key(
    video: Source,
    sources: Sources,
    options: linking.Options,
    *,
    alone: bool,
) -> str:
    """Returns a digest of all that an annotation follows from."""
    paths = list(dict.fromkeys((*video.files, *video.calibration_files())))
    for name in (sources.masks, sources.flow, sources.reading.class_maps):
        # Of `maskrcnn:WEIGHTS` the file of weights counts.
        root = pathlib.Path(name.rpartition(":")[2]).expanduser()
        if not name or not file_content.exists(root):
            continue
        inside = [root]
        if file_content.is_folder(root):
            inside = every = sorted(root.rglob("*"))
            # A lone clip's files need not carry its name, and one of them may by chance.
            if not alone:
                inside = [p for p in every if video.name in str(p)] or every
        paths += [path for path in inside if path.is_file()]
    # What is missing may have been passed over.
    return fingerprint.digest(
        _VERSION, fingerprint.file_identities(paths), sources, options
    )
