"""KITTI odometry, sequences 00 to 08.

    python -m mdm_jax.main --config=configs/kitti_odometry.py \\
        --workdir=runs/kitti_odometry --config.dataset.path=/path/to/kitti_odometry

The data set is read where it was unpacked; resized frames, and LiDAR depth where the
scans are there, are kept in the workdir. Networks, losses and schedule are those of Li
et al. 2020. The tables at the end are of training drives and, where they are on disk,
of sequences 09 and 10 (`test drive`). Trajectories are measured by the published
protocols with `mdm_jax.evaluate` (its `--protocol=list` names them).

Published for this split: no figure of either method is quoted here. Measured here:
nothing yet but that ten steps run; there is no figure of this code.
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
    c.evaluation.max_frames = 1000
    return presets.apply_variants(c, arg, VARIANTS)
