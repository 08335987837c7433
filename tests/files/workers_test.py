"""Tests of jobs in processes: all are done, and one that fails ends the others."""

import time

import pytest

from mdm_jax.files import workers
from tests.prepared import jobs


def test_all_jobs_are_done_and_a_failure_ends_the_others(tmp_path):
    paths = [str(tmp_path / str(number)) for number in range(5)]
    options = {"num_processes": 2, "title": "test"}
    assert workers.run(jobs.touch, paths, total=5, **options) == paths
    assert len(list(tmp_path.iterdir())) == 5
    with pytest.raises(ChildProcessError, match="test: .*killed.*num_processes=1"):
        workers.run(jobs.die, paths, total=5, **options)
    started = time.monotonic()
    with pytest.raises(ValueError, match="first job"):
        workers.run(jobs.fail_or_wait, [True, False, False], total=3, **options)
    assert time.monotonic() - started < jobs.PATIENCE
