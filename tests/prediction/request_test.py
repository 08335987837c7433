"""Options without a meaning are refused by name."""

import pytest

from mdm_jax.prediction.request import Request


def test_requests_that_make_no_sense_are_refused():
    for options, message in {
        ("save", ("depth_png", "sound")): "sound",
        ("batch_size", 0): "--batch_size",
        ("fps", -1.0): "--fps",
        ("point_clouds", "all"): "--point_clouds",
    }.items():
        with pytest.raises(ValueError, match=message):
            Request(**dict([options]))
