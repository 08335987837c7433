"""What a report shows of measured depth: errors by distance, extreme images, motion."""

from __future__ import annotations

from mdm_jax.evaluation import depth_evaluation, drive_evaluation, summary
from mdm_jax.evaluation.predictions import Maps
from mdm_jax.evaluation.protocols import DepthProtocol
from mdm_jax.evaluation.report.writing import Section
from mdm_jax.visualize import depth_examples, panel, plots

# Pictures of so many of the worst and of the best images.
_EXAMPLES = 3


def depth(
    protocol: DepthProtocol,
    inputs: depth_evaluation.Inputs,
    evaluation: depth_evaluation.DepthEvaluation,
    images: Maps | None,
) -> list[Section]:
    """Returns errors by depth, and panels of the images with the extreme errors.

    Args:
        protocol: that was followed.
        inputs: what was compared; the images shown are read anew.
        evaluation: of all of them.
        images: RGB `[h w 3]` in the order of the truth; None to show maps alone.
    """
    rows, pictures = evaluation.rows, {}
    chosen = depth_evaluation.examples(rows, count=_EXAMPLES)
    for title, indices in chosen.items():
        panel_rows = []
        for i in indices:
            maps = inputs.seen(protocol, i)
            panel_rows.append(
                depth_examples.row(
                    maps.truth,
                    maps.depth * rows[i]["factor"],
                    maps.counted,
                    image=None if images is None else images.read(i),
                )
            )
        labels = [
            f"{rows[i]['name']}: Abs Rel {rows[i]['abs_rel']:.4f}" for i in indices
        ]
        pictures[f"{title} images"] = panel.render(panel_rows, labels=labels)
    by_range = evaluation.by_range()
    bars = plots.error_by_range(by_range)
    return [
        Section(
            "Error by true depth",
            table=summary.records_table(by_range),
            pictures={"Relative error, and share of the pixels": bars},
        ),
        Section("Worst and best images", pictures=pictures),
    ]


def motion(result: drive_evaluation.Result) -> list[Section]:
    """Returns what was measured beside depth, and how well moving pixels are found."""
    sections = [Section("Beside depth", table=summary.motion_table(result.metrics))]
    if result.by_threshold:
        curves = plots.scores_by_threshold(result.by_threshold)
        sections.append(
            Section(
                "Moving or not",
                table=summary.records_table(result.by_threshold),
                pictures={"Scores over the length of motion that counts": curves},
            )
        )
    return sections
