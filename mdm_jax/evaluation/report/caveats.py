"""Warnings about what makes the numbers of an evaluation doubtful or not comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mdm_jax.evaluation import protocols

# With fewer true pixels, an image scaled by its own median says little.
_FEW_PIXELS = 100
# Snippets whose scale hides an error.
_DOUBTFUL = {
    "still": "are predicted not to move: their error is the length of the true path",
    "backward": "have a negative scale: the opposite motion counts as correct",
    "standing": "do not move: their error is 0 for any prediction",
}


def of_depth(
    protocol: protocols.DepthProtocol, metrics: Mapping[str, float]
) -> list[str]:
    """Returns the warnings about depth metrics."""
    warnings = _of_changes(protocol)
    skipped = int(metrics["depth/num_skipped"])
    images = int(metrics["depth/num_images"]) + skipped
    if protocol.num_images not in (None, images):
        warnings.append(
            f"{images} images of the {protocol.num_images} of {protocol.name}:"
            " not comparable with published numbers"
        )
    if skipped:
        warnings.append(f"{skipped} images have no valid true depth and are left out")
    if metrics["depth/min_pixels"] < _FEW_PIXELS:
        warnings.append(
            f"an image has only {int(metrics['depth/min_pixels'])} true pixels; scaled"
            " by its median, it says little"
        )
    if metrics["depth/correlation"] < 0:
        warnings.append(
            "predicted depth decreases where true depth increases: are the predictions"
            " disparity, or in another order?"
        )
    return warnings


def of_odometry(
    protocol: protocols.OdometryProtocol,
    rows: Sequence[Mapping[str, Any]],
    unpredicted: Sequence[str],
) -> list[str]:
    """Returns the warnings about trajectory metrics.

    Args:
        protocol: how they were measured.
        rows: metrics of each sequence by name.
        unpredicted: names of the sequences without prediction.
    """
    warnings = _of_changes(protocol)
    if unpredicted:
        warnings.append(f"not predicted: {', '.join(unpredicted)}")
    for row in rows:
        name, missing = row["name"], row["num_missing"]
        if missing:
            warnings.append(
                f"{name}: {missing} of {missing + row['num_frames']} frames are not"
                " predicted and left out"
            )
        for kind, text in _DOUBTFUL.items():
            if count := row[f"num_{kind}_snippets"]:
                total = row["num_snippets"]
                warnings.append(f"{name}: {count} of {total} snippets {text}")
        if protocol.alignment and not row["num_segments"]:
            warnings.append(
                f"{name}: too short for a segment of {protocol.segment_lengths[0]} m, so"
                " without t_err and r_err"
            )
    return warnings


def _of_changes(protocol: protocols.Protocol) -> list[str]:
    changes = protocols.changes(protocol)
    if not changes:
        return []
    return [f"differs from the protocol {protocol.name}: {', '.join(changes)}"]
