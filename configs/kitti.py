"""KITTI raw, all drives but the Eigen test scenes, left and right colour camera.

    python -m mdm_jax.main --config=configs/kitti.py --workdir=runs/kitti \\
        --config.dataset.path=/path/to/kitti

The data set is read where it was unpacked; resized frames and LiDAR depth are kept in
the workdir (160 kB and 213 kB a frame).
Networks, losses and schedule are those of Li et al. 2020.

The tables at the end are of training drives and, where they are on disk, of the Eigen
test scenes (`test drive`): LiDAR depth at the training size, OXTS camera motion. They
are not the published protocol, which takes listed frames at full size and cuts the
border away: `mdm_jax.evaluate --protocol=kitti_eigen` is. A list file of targets can be
trained on (`--config.dataset.split=LIST`) or held out (`--config.dataset.held_out=LIST`).

Published (median scaled, 80 m, 697 test frames): Abs Rel 0.130 to 0.133 (Li et al.
2020, 128x416); for `instance_motion`, which needs instance masks, 0.124 (Lee et al.
2019) and 0.112 (2021, ResNet-18), at 256x832. Measured here: nothing yet but that ten
steps run; there is no figure of this code.
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
