"""KITTI odometry, sequences 00 to 08.

    python -m mdm_jax.main --config=configs/kitti_odometry.py --workdir=runs/kitti_odometry \\
        --config.dataset.path=/path/to/kitti_odometry

The data set is read where it was unpacked; resized frames are kept in the workdir.
Networks, losses and schedule are those of Li et al. 2020. Not trained here yet, so
there is no figure of this code.
"""

from mdm_jax import config as config_lib
from mdm_jax import presets

VARIANTS = presets.RECORDED


def get_config(arg: str = ""):
    """Returns the config of comma-separated variants, see `presets.RECORDED`."""
    c = config_lib.base_config()
    c.dataset.name = "kitti_odometry"
    c.dataset.split = "odometry"
    c.dataset.size = (128, 416)
    return presets.apply_variants(c, arg, VARIANTS)
