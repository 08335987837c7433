"""Sections of a report: errors by distance, extreme images, trajectories, motion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mdm_jax.evaluation import depth, odometry
from mdm_jax.evaluation.drives import DriveMetrics
from mdm_jax.evaluation.map_files import Maps
from mdm_jax.evaluation.protocols import DepthProtocol
from mdm_jax.evaluation.report import tables
from mdm_jax.evaluation.report.page import Section
from mdm_jax.visualize import depth_examples, panel, plots

# Images with the largest and with the smallest errors.
_NUM_EXAMPLES = 3
_MAX_TRAJECTORIES = 8
_THRESHOLD = (
    "A pixel is predicted to move if its residual translation is longer than the"
    " threshold, in units of the camera's mean step."
)


def of_depth(
    protocol: DepthProtocol,
    inputs: depth.Inputs,
    evaluation: depth.DepthEvaluation,
    images: Maps | None,
) -> list[Section]:
    """Returns errors by true depth, and pictures of the images with extreme errors.

    Args:
        protocol: how depth was measured.
        inputs: what was measured; the maps that are shown are read again.
        evaluation: of all images.
        images: RGB `[h w 3]` in the order of the truth; None to show maps only.
    """
    rows, pictures = evaluation.rows, {}
    for title, indices in depth.examples(rows, count=_NUM_EXAMPLES).items():
        panel_rows, captions = [], []
        for i in indices:
            maps = inputs.compared(protocol, i)
            panel_rows.append(
                depth_examples.row(
                    maps.truth,
                    maps.depth * rows[i]["factor"],
                    maps.counted,
                    image=None if images is None else images.read(i),
                )
            )
            captions.append(f"{rows[i]['name']}: Abs Rel {rows[i]['abs_rel']:.4f}")
        pictures[f"{title} images"] = panel.render(panel_rows, labels=captions)
    by_range = evaluation.by_range()
    return [
        Section(
            "Error by true depth",
            table=tables.records_table(by_range),
            pictures={
                "Relative error and share of pixels": plots.error_by_range(by_range)
            },
        ),
        Section("Images with the largest and smallest errors", pictures=pictures),
    ]


def of_motion(measured: DriveMetrics) -> list[Section]:
    """Returns how well moving pixels are segmented, if their motion is known."""
    rows = measured.by_threshold
    if not rows:
        return []
    return [
        Section(
            "Motion segmentation by threshold",
            text=[_THRESHOLD],
            table=tables.records_table(rows),
            pictures={"Scores by threshold": plots.scores_by_threshold(rows)},
        )
    ]


def of_odometry(
    metrics: Mapping[str, float], measured: Sequence[odometry.SequenceMetrics]
) -> list[Section]:
    """Returns tables and pictures of whole trajectories, if these were measured."""
    pictures = {
        f"Sequence {sequence.name} from above, aligned": plots.trajectory(
            sequence.true, sequence.aligned
        )
        for sequence in measured[:_MAX_TRAJECTORIES]
        if sequence.aligned is not None
    }
    if not pictures:
        return []
    sections = [
        Section("Errors by alignment", table=tables.alignment_table(metrics)),
        Section("Trajectories", pictures=pictures),
    ]
    if by_length := odometry.by_length(measured):
        curves = {"Mean errors of all segments": plots.error_by_length(by_length)}
        table = tables.records_table(by_length)
        sections.append(Section("Errors by length", table=table, pictures=curves))
    return sections
