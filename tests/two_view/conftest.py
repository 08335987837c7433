"""Shared scenes of the tests of two-view geometry."""

from __future__ import annotations

import cv2
import pytest

from mdm_jax.synthetic import rendered_drives


@pytest.fixture(autouse=True)
def _one_thread():
    """DIS depends on the number of threads."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@pytest.fixture(scope="session")
def drive():
    """A rendered drive whose depth, poses and flow are known."""
    return rendered_drives.make_drive((0, 0, 1), num_frames=4, size=(96, 312))
