"""Cityscapes, the sequences around the training images, bonnet cut away.

    python -m mdm_jax.main --config=configs/cityscapes.py --workdir=runs/cityscapes \\
        --config.dataset.path=/path/to/cityscapes

The data set is read where it was unpacked; resized frames are kept in the workdir.
Networks, losses and schedule are those of Li et al. 2020. Published (Li et al. 2020,
median scaled, 80 m): Abs Rel 0.119 on the test images. Not trained here yet, so there
is no figure of this code.
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
    return presets.apply_variants(c, arg, VARIANTS)
