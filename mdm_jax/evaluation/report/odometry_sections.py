"""What a report shows of measured trajectories: every alignment, the way, by length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mdm_jax.evaluation import odometry_evaluation, summary
from mdm_jax.evaluation.report.writing import Section
from mdm_jax.visualize import plots

# Pictures of so many drives.
_MAX_TRAJECTORIES = 8


def odometry(
    metrics: Mapping[str, float], measured: Sequence[odometry_evaluation.Measured]
) -> list[Section]:
    """Returns tables and pictures of whole sequences, where these were measured.

    Args:
        metrics: flat, of all of them.
        measured: one for each sequence.
    """
    if all(one.aligned is None for one in measured):
        return []
    pictures = {
        f"Sequence {one.name} from above, aligned": plots.trajectory(
            one.true, one.aligned
        )
        for one in measured[:_MAX_TRAJECTORIES]
        if one.aligned is not None
    }
    by_length = odometry_evaluation.by_length(measured)
    sections = [
        Section("Every alignment", table=summary.alignment_table(metrics)),
        Section("Trajectories", pictures=pictures),
    ]
    if by_length:
        curves = {"Mean errors of all stretches": plots.error_by_length(by_length)}
        table = summary.records_table(by_length)
        sections.append(Section("Error by length", table=table, pictures=curves))
    return sections
