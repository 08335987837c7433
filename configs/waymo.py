"""Waymo Open Dataset, front camera, TFRecords of release v1.

    python -m mdm_jax.main --config=configs/waymo.py --workdir=runs/waymo \\
        --config.dataset.path=/path/to/waymo

The data set is read where it was unpacked; resized frames are kept in the workdir.
Networks, losses and schedule are those of Li et al. 2020. Published (Li et al. 2020,
median scaled, 80 m): Abs Rel 0.162 without masks, 0.157 with. Not trained here yet, so
there is no figure of this code.
"""

from mdm_jax import config as config_lib
from mdm_jax import presets

VARIANTS = presets.RECORDED


def get_config(arg: str = ""):
    """Returns the config of comma-separated variants, see `presets.RECORDED`."""
    c = config_lib.base_config()
    c.dataset.name = "waymo_v1"
    c.dataset.split = "training"
    c.dataset.size = (192, 480)
    return presets.apply_variants(c, arg, VARIANTS)
