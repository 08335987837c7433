"""Cityscapes, the sequences around the training images, bonnet cropped.

    python -m mdm_jax.main --config=configs/cityscapes.py --workdir=runs/cityscapes \\
        --config.dataset.path=/path/to/cityscapes

The raw files are read where they were unpacked (`leftImg8bit_sequence`, `camera` and, for
depth, `disparity` or `disparity_sequence`); resized frames and depth are cached in the
workdir. Networks, losses and schedule are those of Li et al. 2020.

Training ends with tables of training drives and, if they are on disk, of the official
validation cities (or the test cities, `--config.evaluation.split=test`): depth from
disparity at the training size. Camera poses are not published.

Published (Li et al. 2020, median scaled, 80 m, 1525 test images): Abs Rel 0.119.
Measured with this code: only that ten steps run.
"""

from mdm_jax import config as config_lib
from mdm_jax import presets

VARIANTS = presets.RECORDED


def get_config(arg: str = ""):
    """Returns the config of comma-separated variants, see `presets.RECORDED`."""
    c = config_lib.base_config()
    c.dataset.name = "cityscapes"
    c.dataset.split = "train"
    c.dataset.size = (128, 416)
    c.evaluation.split = "validation"
    c.evaluation.max_frames = 1000
    return presets.apply_variants(c, arg, VARIANTS)
