"""KITTI raw, all drives except the Eigen test scenes, left and right colour camera.

    python -m mdm_jax.main --config=configs/kitti.py --workdir=runs/kitti \\
        --config.dataset.path=/path/to/kitti

The raw files are read where they were unpacked; resized frames and LiDAR depth are cached
in the workdir (160 kB and 213 kB per frame). Networks, losses and schedule are those of
Li et al. 2020. `dataset.split` and `dataset.held_out` may also name list files of targets.

Training ends with tables of training drives and, if they are on disk, of the Eigen test
scenes: LiDAR depth at the training size and OXTS camera motion. The published protocol
(listed frames, full size, cropped border) is `mdm_jax.evaluate --protocol=kitti_eigen`.

Published (median scaled, 80 m, 697 test frames): Abs Rel 0.130 to 0.133 (Li et al. 2020,
128x416); for `instance_motion`, which needs instance masks, 0.124 (Lee et al. 2019) and
0.112 (2021, ResNet-18) at 256x832.
Measured with this code: only that ten steps run.
"""

from mdm_jax import config as config_lib
from mdm_jax import presets

VARIANTS = presets.RECORDED


def get_config(arg: str = ""):
    """Returns the config of comma-separated variants, see `presets.RECORDED`."""
    c = config_lib.base_config()
    c.dataset.name = "kitti_raw"
    c.dataset.split = "eigen"
    c.dataset.size = (128, 416)
    c.evaluation.max_frames = 1000
    return presets.apply_variants(c, arg, VARIANTS)
