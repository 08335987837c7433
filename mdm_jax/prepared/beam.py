"""The same build on Apache Beam, for data that outgrow one machine.

Each job, a shard or several that share a video, is an element of the pipeline. Workers
read the source and write the shards themselves, so that both have to lie where all of
them see them under one path, such as on a network file system. The bytes are those that
`build.on_processes` gives; index, report and metadata are written by the caller.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from mdm_jax.prepared import build, plan, shards
from mdm_jax.prepared.options import Options


def on_beam(arguments: Sequence[str]) -> build.Runner:
    """Returns a runner for a Beam pipeline.

    Args:
        arguments: pipeline options as on a command line, such as
            `["--runner=DirectRunner", "--direct_num_workers=4"]`.

    Raises:
        ImportError: Beam is not installed; names the extra.
    """
    try:
        import apache_beam  # pyright: ignore[reportMissingImports]
        from apache_beam.options import (  # pyright: ignore[reportMissingImports]
            pipeline_options,
        )
    except ImportError as error:
        raise ImportError(
            "building on Beam needs Apache Beam: pip install 'mdm_jax[beam]'"
        ) from error

    def run(
        options: Options,
        optional: tuple[str, ...],
        jobs: Sequence[list[plan.PlannedShard]],
    ) -> None:
        settings = pipeline_options.PipelineOptions(list(arguments))
        with apache_beam.Pipeline(options=settings) as pipeline:
            _ = (
                pipeline
                | "jobs" >> apache_beam.Create(list(jobs))
                # Else they would run one after the other, fused with their creation.
                | "spread" >> apache_beam.Reshuffle()
                | "shards"
                >> apache_beam.Map(functools.partial(_write, options, optional))
            )

    return run


def _write(
    options: Options,
    optional: tuple[str, ...],
    job: list[plan.PlannedShard],
) -> int:
    for shard in job:
        shards.write(options, optional, shard, lambda: None)
    return len(job)
