"""Synthetic drives: learns depth, egomotion and object motion on a laptop's CPU.

    python -m mdm_jax.main --config=configs/synthetic.py --workdir=runs/demo

Unseen test drives, seed 0, beside the best guess that ignores the image: Abs Rel 0.244
(0.311), on moving cars 0.439 (0.481), 3 % of their pixels over 3 times too far;
egomotion translation error 0.172 (0.490), direction 2.5 degrees; motion IoU 0.341
(0.079). The training drives: Abs Rel 0.216 (0.293). 15 minutes in all on two CPU cores
that had other work as well. Depth is coarse: at this size and length of training it
follows the street, not yet single cars and poles.
"""

from mdm_jax import config as config_lib

VARIANTS = ("motion_field", "smoke", "long", "paper_net", "paper_size", "validation")


def get_config(arg: str = ""):
    """Returns the config of comma-separated variants, such as `paper_net,long`.

    Args:
        arg: `motion_field` is the default; `smoke` takes ten steps at toy size, to see
            that all works; `long` trains five times as long; `paper_net` has the motion
            net of Li et al. 2020 instead of the correlation net; `paper_size` takes the
            full ResNet-18 at 128x416, for an accelerator; `validation` evaluates on
            validation instead of test drives.
    """
    c = config_lib.base_config()
    c.dataset.name = "synthetic"
    # Below this size the colour error hardly tells the true depth from a guess.
    c.dataset.size = (48, 160)
    # Many short drives: each is another street, and variety is what generalises.
    c.dataset.num_drives = 40
    c.dataset.frames_per_drive = 40
    # Held-out drives are longer, so that each has stops, bends and junctions.
    c.dataset.num_evaluation_drives = 6
    c.dataset.frames_per_evaluation_drive = 80

    c.networks.width_multiplier = 0.25
    c.networks.motion_net = "correlation"
    c.networks.initial_motion_scale = 0.1
    c.motion_field.burnin_steps = 0
    c.motion_field.norm_noise = 0.0
    # The published weights of the regularisers hold the residual motion at zero on a
    # short schedule, and cars that drive along become holes. Less, and ramped up.
    c.motion_field.regularizer_ramp_steps = 4400
    c.loss_weights.motion_smoothness = 0.3
    c.loss_weights.motion_sparsity = 0.2
    c.loss_weights.depth_smoothness = 0.01
    # The losses leave the global scale free; without a pin it drifts.
    c.loss_weights.log_scale_pin = 0.01

    c.augment.min_crop_scale = 0.85
    c.optimizer.learning_rate = 1e-3
    c.optimizer.schedule = "cosine"
    c.optimizer.warmup_steps = 100
    c.train.batch_size = 4
    c.train.num_steps = 4400
    c.train.log_every = 100
    c.train.checkpoint_every = 1100
    c.evaluation.max_frames = 240

    for variant in filter(None, arg.split(",")):
        if variant == "motion_field":
            c.method = "motion_field"
        elif variant == "smoke":
            c.dataset.size = (32, 96)
            c.dataset.num_drives = c.dataset.num_evaluation_drives = 1
            c.dataset.frames_per_drive = 12
            c.dataset.frames_per_evaluation_drive = 12
            c.networks.motion_width_multiplier = 0.25
            c.train.num_steps = 10
            c.train.log_every = c.train.checkpoint_every = 5
        elif variant == "long":
            c.dataset.num_drives *= 4
            c.train.num_steps *= 5
        elif variant == "paper_net":
            c.networks.motion_net = "paper"
        elif variant == "paper_size":
            c.dataset.size = (128, 416)
            c.networks.width_multiplier = 1.0
            c.optimizer.learning_rate = 2e-4
            c.train.batch_size = 16
        elif variant == "validation":
            c.evaluation.split = "validation"
        else:
            raise ValueError(
                f"configs/synthetic.py knows the variants {', '.join(VARIANTS)}, "
                f"got {variant!r}"
            )
    return c
