"""From config to recordings: those trained on, and those held out."""

from __future__ import annotations

import dataclasses
import pathlib

import jax
import ml_collections
from absl import logging

from mdm_jax import methods, settings, sources
from mdm_jax.input_pipeline import loader, raw_data
from mdm_jax.masks import mask_set
from mdm_jax.methods import geometry_terms
from mdm_jax.prepared import reading
from mdm_jax.recording.arrays import Recording
from mdm_jax.synthetic import rendered_drives
from mdm_jax.two_view import training_pairs


@dataclasses.dataclass(frozen=True)
class Data:
    """Recordings of a run.

    Attributes:
        train: recordings trained on.
        held_out: recordings of other worlds, never trained on; may be empty.
        held_out_name: `test` or `validation`.
        fit: how frames were brought to their size, `crop` or `stretch`.
    """

    train: list[Recording]
    held_out: list[Recording]
    held_out_name: str
    fit: str = "crop"


def open_data(config: ml_collections.ConfigDict, workdir: str) -> Data:
    """Returns the recordings that `config.dataset` describes.

    Raises:
        ValueError: an option does not exist or input is not usable.
        OSError: input is missing or the cache cannot be written.
    """
    d = config.dataset
    names = ("synthetic", "video", "prepared", *sources.READERS)
    name = settings.choice(config, "dataset.name", names)
    split = settings.choice(config, "evaluation.split", ("test", "validation"))
    if name == "synthetic":
        shared = {"size": tuple(d.size), "seed": d.synthetic_seed}
        train = rendered_drives.make_drives(
            split="train",
            num_drives=d.num_drives,
            num_frames=d.frames_per_drive,
            **shared,
        )
        if masks := mask_set.from_config(d):
            train = rendered_drives.with_masks(train, masks)
        return Data(
            train,
            rendered_drives.make_drives(
                split=split,
                num_drives=d.num_evaluation_drives,
                num_frames=d.frames_per_evaluation_drive,
                **shared,
            ),
            split,
        )
    dataset = config.dataset.copy_and_resolve_references()
    dataset.cache_dir = d.cache_dir or str(pathlib.Path(workdir) / "cache")
    fit = sources.fit_of(name, d.fit)
    if name == "video":
        return Data(raw_data.open_video(dataset), [], split, fit)
    opened = reading if name == "prepared" else raw_data
    labelled_only = methods.create(config).needs_labels
    parts = opened.open_parts(dataset, held_out=split, labelled_only=labelled_only)
    if name == "prepared":
        fit = reading.fit(dataset.path)
    return Data(parts.train, parts.held_out, split, fit)


def make_loader(
    recordings: list[Recording], config: ml_collections.ConfigDict
) -> loader.Loader:
    """Returns this process's share of the training batches."""
    d = config.dataset
    share, remainder = divmod(config.train.batch_size, jax.process_count())
    if remainder:
        raise ValueError(
            f"config.train.batch_size={config.train.batch_size} must be a multiple of "
            f"the {jax.process_count()} processes"
        )
    if not config.loss_weights.get("depth_supervision", 0.0):
        # Depth is only for evaluation then, which does not use the loader.
        recordings = [dataclasses.replace(one, depth=None) for one in recordings]
    names = geometry_terms.LOSS_WEIGHTS
    if any(config.loss_weights.get(name, 0.0) for name in names):
        recordings = training_pairs.attach(
            recordings, stride=d.frame_stride, max_width=config.two_view.max_width
        )
    return loader.make_loader(
        recordings,
        clip_length=d.clip_length,
        frame_stride=d.frame_stride,
        static_threshold=d.static_threshold,
        augment=config.augment.to_dict(),
        batch_size=share,
        seed=config.seed,
        num_workers=config.loader.num_workers,
        shard_index=jax.process_index(),
        shard_count=jax.process_count(),
    )


def settle(config: ml_collections.ConfigDict, data: Data) -> ml_collections.ConfigDict:
    """Returns the config with the settings that depend on the data filled in.

    These are the number of recordings, how frames were fitted to their size, whether
    intrinsics are learned (one set per recording, where any recording has none), and
    what the method asks for. Learned intrinsics belong to whole frames, which are then
    neither flipped nor cropped.

    Raises:
        ValueError: the method needs instance labels, and a recording has none.
    """
    config = config.copy_and_resolve_references()
    camera, augment = config.camera, config.augment
    camera.num_videos = len(data.train)
    config.dataset.fit = data.fit
    if camera.intrinsics == "given" and any(r.intrinsics is None for r in data.train):
        logging.info("Intrinsics are not given: learning them, one set per recording")
        camera.intrinsics = "video"
    if camera.intrinsics == "video" and (
        augment.flip_probability or augment.min_crop_scale < 1
    ):
        logging.info("Learned intrinsics per recording: no random flips and crops")
        augment.flip_probability = 0.0
        augment.min_crop_scale = 1.0
    method = methods.create(config)
    if method.needs_labels:
        _check_labels(data.train)
    return method.settle(config, data.train)


def _check_labels(recordings: list[Recording]):
    """Raises ValueError if a recording has no labels: a batch needs them of all."""
    without = [one.name for one in recordings if one.instance_labels is None]
    if without:
        raise ValueError(
            f"{len(without)} of {len(recordings)} recordings have no instance labels, the"
            f" first of them {without[0]!r}: leave them out, or {mask_set.ADVICE}"
        )
