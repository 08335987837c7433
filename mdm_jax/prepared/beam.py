"""Building on Apache Beam, for data that outgrow one machine.

Each job, one shard or several that share a movie, is an element of the pipeline. The
workers read the source and write the shards themselves, so both must be on a file
system that all of them see under the same path. The bytes are those that
`build.on_processes` writes; the caller writes index, report and metadata.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from mdm_jax.prepared import build, shards
from mdm_jax.prepared.options import Options


def on_beam(arguments: Sequence[str]) -> build.Runner:
    """Returns a runner that executes the jobs in a Beam pipeline.

    Args:
        arguments: pipeline options, such as
            `["--runner=DirectRunner", "--direct_num_workers=4"]`.

    Raises:
        ImportError: Beam is not installed.
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

    def run(options: Options, optional: tuple[str, ...], jobs: build.Jobs) -> None:
        settings = pipeline_options.PipelineOptions(list(arguments))
        with apache_beam.Pipeline(options=settings) as pipeline:
            _ = (
                pipeline
                | "jobs" >> apache_beam.Create(list(jobs))
                # Without it, they would be fused with their creation and run in turn.
                | "distribute" >> apache_beam.Reshuffle()
                | "shards"
                >> apache_beam.Map(
                    functools.partial(shards.write_job, options, optional)
                )
            )

    return run
