"""Rendered drives for the third method."""

from mdm_jax import config as config_lib
from tests.third_method import brightness


def get_config():
    """Returns two steps of training on two short drives."""
    c = config_lib.base_config()
    c.method = "brightness"
    c.loss_weights = dict(brightness.LOSS_WEIGHTS)
    c.dataset.name = "synthetic"
    c.dataset.size = (32, 64)
    c.dataset.num_drives = 2
    c.dataset.num_evaluation_drives = 1
    c.dataset.frames_per_drive = c.dataset.frames_per_evaluation_drive = 6
    c.train.batch_size = 8
    c.train.num_steps = c.train.log_every = c.train.checkpoint_every = 2
    c.evaluation.batch_size = 8
    return c
