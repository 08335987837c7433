"""Annotation of one clip, in memory or in a folder that an interrupted run resumes."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from absl import logging

from mdm_jax.annotation import clip_folder, linking, mask_sources, object_tracks
from mdm_jax.annotation.mask_sources import MaskSource
from mdm_jax.annotation.object_tracks import ClipTracks
from mdm_jax.files import file_content, fingerprint
from mdm_jax.flow import flow_sources
from mdm_jax.flow.video_frame import FlowSource, Frame
from mdm_jax.masks.mask_set import MaskSet
from mdm_jax.sources.source import Source

_VERSION = 2  # Raise it when the same files would have to give other tracks.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What to annotate clips with.

    Attributes:
        masks: masks of single frames; its root may also be `maskrcnn:WEIGHTS`,
            `motion` or `call:DOTTED.NAME`, see `mask_sources`.
        flow: source of optical flow, see `flow_sources`.
        class_maps: see `mask_sources.create`.
        options: which masks are objects, and which objects match.
    """

    masks: MaskSet
    flow: str = "dis"
    class_maps: str = ""
    options: linking.Options = linking.DEFAULTS

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values, without `masks.alone`."""
        fields = dataclasses.asdict(self)
        # It changes when clips are added, but the tracks of this clip do not.
        del fields["masks"]["alone"]
        return fields


def annotate_images(
    images: Iterable[np.ndarray],
    masks: MaskSource,
    *,
    flow: FlowSource = flow_sources.dense_inverse_search,
    options: linking.Options = linking.DEFAULTS,
) -> tuple[np.ndarray, ClipTracks]:
    """Returns label maps whose ids persist, uint8 `[n h w]`, and the tracks.

    Args:
        images: uint8 RGB `[h w 3]`, consecutive frames of one size.
        masks: returns the objects of a frame.
        flow: returns optical flow between neighbouring frames.
        options: which masks are objects, and which objects match.

    Raises:
        ValueError: there are no frames.
    """
    owners, records = [], []
    with linking.Linker(flow, options) as linker:
        for index, image in enumerate(images):
            frame = Frame(index, f"{index:06d}", image)
            objects = linking.select_objects(masks(frame), options)
            records.append(linker.link(frame, objects))
            owners.append(objects.owners)
    if not owners:
        raise ValueError("expected at least one frame to annotate, got none")
    tracks = object_tracks.join(records, min_length=options.min_length)
    maps = [
        clip_folder.paint(owner_map, labels)
        for owner_map, labels in zip(owners, tracks.labels, strict=True)
    ]
    return np.stack(maps), tracks


def annotate_clip(
    source: Source,
    output: pathlib.Path,
    request: Request,
    *,
    num_threads: int = 2,
    tick: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Annotates a clip, unless its folder exists, and returns its summary.

    Args:
        source: the video.
        output: folder of all clips.
        request: what to annotate with.
        num_threads: threads that compute flow.
        tick: called once per frame, for a progress bar.

    Raises:
        DataError: a file is missing or broken, or the folder of the clip was made from
            something else.
        ValueError: there is no such function.
        OSError: the output cannot be written.
    """
    num_ticks = len(source)
    source = source.counted()
    names = source.frame_names()
    folder = output / source.name
    key = _fingerprint(source, request)
    summary = clip_folder.finished(folder, key)
    if summary is not None:
        for _ in range(num_ticks):
            tick()
        return summary
    masks = mask_sources.create(request.masks, source, class_maps=request.class_maps)
    flow = flow_sources.create(request.flow, clip=source.name)
    options = request.options
    partial = clip_folder.PartialClip(folder, key, names)
    num_done = len(partial.records)
    if num_done:
        logging.info("%s: resuming at frame %d", source.name, num_done)
    # Links reach back over two frames.
    start = max(0, num_done - 2)
    for _ in range(min(start, num_ticks)):
        tick()
    with linking.Linker(flow, options, num_threads=num_threads) as linker:
        for index, image in enumerate(source.images(start), start=start):
            if index < num_ticks:
                tick()
            frame = Frame(index, names[index], image)
            if index < num_done:
                links = partial.records[index].links
                linker.resume(frame, partial.objects(index), links)
            else:
                objects = linking.select_objects(masks(frame), options)
                partial.append(objects.owners, linker.link(frame, objects))
    tracks = object_tracks.join(partial.records, min_length=options.min_length)
    summary = {
        "name": source.name,
        "size": list(source.size),
        **tracks.summary,
        "request": request.to_json(),
        "key": key,
        "track_list": [dataclasses.asdict(track) for track in tracks.tracks],
    }
    partial.finish(tracks.labels, summary)
    return summary


def _fingerprint(source: Source, request: Request) -> str:
    """Returns a fingerprint of everything that an annotation depends on."""
    paths = [*source.files, *source.calibration_files()]
    for name in (request.masks.root, request.flow, request.class_maps):
        # Of `maskrcnn:WEIGHTS` the file of weights counts.
        root = pathlib.Path(name.rpartition(":")[2]).expanduser()
        if not name or not file_content.exists(root):
            continue
        inside = [root]
        if file_content.is_folder(root):
            inside = sorted(root.rglob("*"))
            if not request.masks.alone:
                # Files of other clips do not matter.
                named = [path for path in inside if source.name in str(path)]
                inside = named or inside
        paths += [path for path in inside if path.is_file()]
    camera = source.intrinsics if request.masks.root == mask_sources.MOTION else None
    return fingerprint.digest(
        _VERSION,
        fingerprint.file_identities(paths),
        request.to_json(),
        *([] if camera is None else [camera]),
    )
