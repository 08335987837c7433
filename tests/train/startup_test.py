"""What commands set before they start."""

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource
import numpy as np
from mdm_jax.train import startup

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.full(2**26, 1, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

returned = [faults() for _ in range(3)][-1]
startup.keep_freed_memory()
kept = [faults() for _ in range(3)][-1]
print(returned, kept)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc only")
def test_memory_that_was_freed_is_not_mapped_anew():
    done = subprocess.run(
        [sys.executable, "-c", _FAULTS], capture_output=True, text=True, check=True
    )
    returned, kept = map(int, done.stdout.split())
    # 64 MiB are 16384 pages, or 32 where the kernel gives large ones.
    assert returned > 16
    assert kept < 0.1 * returned
