"""Which drives of a raw data set have instance labels, before anything is decoded."""

from __future__ import annotations

import ml_collections
from absl import logging

from mdm_jax.files import errors
from mdm_jax.input_pipeline import splits
from mdm_jax.masks import mask_set
from mdm_jax.recording import opening
from mdm_jax.sources.source import Source


def with_masks(
    drives: splits.Split, dataset: ml_collections.ConfigDict, problems: errors.Problems
) -> splits.Split:
    """Returns the drives, those to train on only with their masks, if any are named.

    Those held out need none, because they are also evaluated without.

    Args:
        drives: of a raw data set.
        dataset: `config.dataset`, which may name files of masks.
        problems: what to do about a drive to train on that has none.

    Raises:
        DataError: it has none, or some of its frames have none.
    """
    masks = mask_set.from_config(dataset)
    if masks is None:
        return drives
    kept = splits.Split([], [])
    for part, old in zip(kept, drives, strict=True):
        for drive in old:
            with problems.caught():
                if old is drives.train or has(drive, masks):
                    opening.check_masks(drive, masks)
                part.append(drive)
    return kept


def labelled(
    drives: splits.Split, dataset: ml_collections.ConfigDict, problems: errors.Problems
) -> splits.Split:
    """Returns the frames of drives that have instance labels and neighbours that do.

    Args:
        drives: after `with_masks`.
        dataset: `config.dataset`, which may name files of masks.
        problems: what to do about broken files.

    Raises:
        ValueError: there is none to train on.
        DataError: a file that should tell is damaged.
    """
    kept, masks = splits.Split([], []), mask_set.from_config(dataset)
    for part, old in zip(kept, drives, strict=True):
        for drive in old:
            with problems.caught():
                part.extend(
                    splits.labelled(drive)
                    if masks is None
                    else [drive] * has(drive, masks)
                )
    for title, old, part in zip(("to train on", "held out"), drives, kept, strict=True):
        logging.info(
            "%s, %s: %d of %d frames have instance labels and neighbours that have them",
            dataset.name,
            title,
            sum(map(len, part)),
            sum(map(len, old)),
        )
    if not kept.train:
        raise ValueError(
            f"{dataset.path}: of {sum(map(len, drives.train))} frames of {dataset.name} to"
            f" train on, no two neighbours have instance labels: {mask_set.ADVICE}"
        )
    return kept


def has(drive: Source, masks: mask_set.MaskSet | None) -> bool:
    """Returns whether a source, or the whole that it is a part of, has masks."""
    return masks is not None and masks.has(drive.whole.name)
