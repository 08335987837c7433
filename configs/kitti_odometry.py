"""KITTI odometry, sequences 00 to 08.

    python -m mdm_jax.main --config=configs/kitti_odometry.py \\
        --workdir=runs/kitti_odometry --config.dataset.path=/path/to/kitti_odometry

The raw files are read where they were unpacked; resized frames, and LiDAR depth if the
scans are there, are cached in the workdir. Networks, losses and schedule are those of Li
et al. 2020. Training ends with tables of training drives and, if they are on disk, of
sequences 09 and 10. `mdm_jax.evaluate` measures trajectories by the published protocols
(`--protocol=list` names them).

Measured with this code: only that ten steps run.
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
