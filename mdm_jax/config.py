"""Every setting, with its default, unit and meaning; experiments override a few.

`base_config()` is method A (`motion_field`) with the hyper-parameters of Li et al.
2020; `presets.use_instance_motion` turns it, or any config made from it, into method B.
A file in `configs/` starts from it and changes what it needs; the command line overrides both:
`--config.optimizer.learning_rate=1e-4`. Fields not named here are an error, so that a
misspelt override cannot go unnoticed.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator

import ml_collections

ConfigDict = ml_collections.ConfigDict


def base_config() -> ConfigDict:
    """Returns the configuration that every experiment starts from."""
    c = ConfigDict()
    c.seed = 0
    # Which entry of `mdm_jax.methods.METHODS` is trained.
    c.method = "motion_field"

    c.dataset = d = ConfigDict()
    # `synthetic` (rendered on the fly), `video` (image folders and video files),
    # `prepared` (what datasets/build.py made of any of them), or a raw data set read
    # where it was unpacked: `cityscapes`, `ddad`, `kitti_odometry`, `kitti_raw`,
    # `nuscenes`, `struct2depth`, `waymo_v1`, `waymo_v2`.
    d.name = "video"
    # Folder or file with the recordings; unused by `synthetic`.
    d.path = ""
    # Part of a raw data set to train on: the folder of an official split (`train` of
    # Cityscapes, `training` of Waymo); `eigen` for all of KITTI raw but the test scenes;
    # `odometry` for the sequences 00 to 08; the path of a published list file. Empty
    # for everything there.
    d.split = ""
    # A list file of frames to hold out instead of what the split does: they are never
    # trained on, and evaluated (see `evaluation.split`).
    d.held_out = ""
    # Read depth and camera poses of a raw data set, where it has them: metrics need
    # them. Depth takes four bytes a pixel in the cache.
    d.with_truth = True
    # What to do about a broken file of a raw data set: `raise` or `skip` and count.
    d.on_error = "raise"
    # Height and width of the training frames, pixels.
    d.size = (128, 416)
    # Frames per training clip, and how many recorded frames apart they are.
    d.clip_length = 2
    d.frame_stride = 1
    # Clips whose frames differ by less (mean absolute colour, of 1) are dropped.
    d.static_threshold = 0.01
    # `fx,fy,cx,cy` in pixels of the original frames, the path of a file with 4 or 9
    # numbers, `fov:DEGREES` (horizontal), `learned`, or empty: a cam.txt in the folder.
    d.intrinsics = ""
    # Shares of the original frame cut away (top, bottom, left, right), e.g. a bonnet.
    # Of a raw data set, zeros cut away what is usual there.
    d.crop = (0.0, 0.0, 0.0, 0.0)
    # Folder with instance masks of the frames, whose ids persist, as
    # `python -m mdm_jax.annotate` makes them, by the names of the recordings. They take
    # the place of those of a raw data set, or of the true ones of `synthetic` training
    # drives. Empty: what the data set has.
    d.masks = ""
    # What PNG masks hold: `plain` ids, `class_id` (class * 1000 + id) or `auto`; and the
    # value of pixels that belong to no object.
    d.mask_coding = "auto"
    d.mask_background = 0
    # Where decoded, resized frames are kept; empty: WORKDIR/cache.
    d.cache_dir = ""
    # Synthetic drives: how many and frames in each, to train and to evaluate on, and
    # the seed of their worlds.
    d.num_drives = 10
    d.frames_per_drive = 100
    d.num_evaluation_drives = 4
    d.frames_per_evaluation_drive = 100
    d.synthetic_seed = 0

    c.augment = a = ConfigDict()
    a.flip_probability = 0.5
    # Random crop to between this share of each side and all of it, resized back.
    a.min_crop_scale = 0.8
    # Colour jitter: strengths (0: off) and the probability of applying it.
    a.brightness = 0.2
    a.contrast = 0.2
    a.saturation = 0.2
    a.hue = 0.05
    a.color_probability = 0.5

    c.loader = ConfigDict()
    # Worker processes that read and augment; 0: threads of this process.
    c.loader.num_workers = 0

    c.networks = n = ConfigDict()
    # Widths of all layers, relative to the papers'.
    n.width_multiplier = 1.0
    # `paper` (Li et al. 2020) or `correlation` (learns motion far sooner).
    n.motion_net = "paper"
    n.motion_width_multiplier = 1.0
    # Method B: the egomotion net, `conv` (Lee et al. 2019, seven convolutions),
    # `resnet` (their released code) or `correlation` (learns motion far sooner); the
    # object net, `conv`, `resnet` or `none` (all moves with the camera: an ablation).
    # Both are `motion_width_multiplier` as wide as published.
    n.ego_pose = "conv"
    n.object_pose = "conv"
    # Initial value of the motion and pose nets' learned output scales.
    n.initial_motion_scale = 0.01
    # Depth net: layers of its ResNet encoder, 18, 34 or 50.
    n.encoder_depth = 18
    # Norms of the ResNet encoders of depth and egomotion: `layer` (Li et al. 2020) or
    # `batch` (Lee et al.; what ImageNet's weights fit exactly). `batch` wants large
    # batches, and colours are standardised as ImageNet's.
    n.norm = "layer"
    # Weights to begin with: a ResNet in torchvision's layout or a depth net in
    # monodepth2's (.pth, .safetensors, or a folder with encoder.pth and depth.pth), or
    # the params.safetensors that `mdm_jax.export` made; empty: random ones. See
    # `networks/pretrained.py` for what is taken from them.
    n.init = ""
    # `depth` (Li et al. 2020: transposed convolutions, softplus depth) or `disparity`
    # (Lee et al.: repeated pixels, ELU, reflection, bounded disparity).
    n.depth_decoder = "depth"
    # Disparity decoder: `sigmoid` (depths 0.1 to 100) or `softplus` (0 to 100).
    n.disparity_activation = "sigmoid"
    # Padding of the `depth` decoder's convolutions: `reflect` or `zeros`.
    n.padding = "reflect"
    # Compute type of the networks: `float32` or `bfloat16`. Geometry stays float32.
    n.dtype = "float32"
    # Correlation net: largest displacement searched (x, y), in half-resolution pixels.
    n.correlation_radius = (6, 2)
    # Correlation net: estimate the residual after undoing the egomotion.
    n.ego_compensation = True

    c.motion_field = m = ConfigDict()
    # Show the motion net the depth maps (an ablation of the paper switches it off).
    m.depth_input = True
    # Zero residual vectors shorter than the mean residual length of the image.
    m.auto_mask = True
    # Steps over whose second half the residual motion is switched on; 0: at once.
    m.burnin_steps = 20000
    # Keep residual motion only on movable objects (instance labels), dilated, pixels.
    m.use_mask = False
    m.mask_dilation = 8
    # `given`, `pair` (predicted from each image pair) or `video` (one per recording).
    m.intrinsics = "given"
    # Number of recordings, for `video`; the training loop sets it from the data.
    m.num_videos = 1
    # Randomised layer norm: largest noise and the steps over which it ramps up.
    m.norm_noise = 0.5
    m.norm_noise_ramp_steps = 10000
    # Divide depths and translations by the mean depth of each pair before the losses.
    m.scale_normalization = False
    # Resolutions on which the losses are taken, each half the one before.
    m.num_scales = 1
    # Target of the `log_scale_pin` loss: mean log depth.
    m.log_depth_pin = 2.0
    # Steps over which the motion regularisers ramp up linearly; 0: full at once.
    m.regularizer_ramp_steps = 0

    c.instance_motion = i = ConfigDict()
    # Instances per pair of adjacent frames, largest first; those in both frames with at
    # least so many pixels in each.
    i.max_instances = 8
    i.min_instance_pixels = 20
    # Instances per pair that the object net is applied to, on average over the pairs of
    # so many neighbouring clips of a batch; 0: max_instances. Smaller budgets save
    # time, and leave out the smallest instances where there are too many. Clips that
    # share a budget must be on one device.
    i.instance_budget = 0
    i.clips_per_pack = 1
    # How the camera's motion is undone before object motion is sought: `forward` (by
    # the source's depth) or `inverse` (by the target's: an ablation of the paper).
    i.projection = "forward"
    # Forward projection: upsampling of depth; `nearest` (z-buffer) or `soft`; depth read
    # once more where its points come from (not in the paper).
    i.splat_alpha = 2
    i.splat_mode = "nearest"
    i.splat_refine = True
    # Where objects are sampled for the losses: in the `stabilized` view (the paper), or
    # in the `source` itself, at once (one interpolation, no holes).
    i.object_view = "stabilized"
    # Objects turn about the `camera` (the paper) or about their own `object` centre.
    i.rotation_center = "camera"
    # Side, in pixels, of the window that the object net sees every object in, at the
    # same size, its motion in units of the window; 0: whole images (the paper).
    i.object_zoom = 0
    # Objects do not turn (released code).
    i.translation_only = False
    # Average an object's motion with the reverse of that of the other direction.
    i.cyclic_average = True
    # Weigh pixels by how well depths agree; and count only those that a warp explains
    # better than none.
    i.weighted_mask = True
    i.auto_mask = True
    # Share of SSIM in the photometric loss: 0.85 (code) or 0.8 (paper).
    i.ssim_share = 0.85
    # `disparity` (first order, mean-normalised) or `squared_depth` (paper).
    i.smoothness = "disparity"
    # Initial value of the learned height of objects, in depth units: about right where
    # an untrained depth net puts everything, 0.7 (`depth`) or 0.2 (`disparity`).
    i.initial_object_height = 0.05
    # Randomised layer norm: largest noise and the steps over which it ramps up.
    i.norm_noise = 0.0
    i.norm_noise_ramp_steps = 10000
    # Target of the `log_scale_pin` loss: mean log depth.
    i.log_depth_pin = 2.0

    c.loss_weights = w = ConfigDict()
    # Method A: Li et al. 2020, with the factor 2 over the whole sum and 1/2 inside SSIM
    # written out.
    w.rgb = 2.0
    w.ssim = 3.0
    w.depth_consistency = 0.0
    w.depth_smoothness = 0.002
    w.rotation_cycle = 2e-3
    w.translation_cycle = 1e-1
    w.motion_smoothness = 2.0
    w.motion_sparsity = 0.4
    w.depth_variance = 0.0
    w.depth_supervision = 0.0
    w.log_scale_pin = 0.0

    c.optimizer = o = ConfigDict()
    # `adam`, or `muon`: orthogonal updates of the convolutions at `muon_learning_rate`,
    # which follows the same schedule, and Adam for the rest. Learns sooner; an update
    # takes longer, which only matters where batches are small.
    o.name = "adam"
    o.learning_rate = 2e-4
    o.muon_learning_rate = 0.01
    # Newton-Schulz iterations of an orthogonal update, and the networks, or parts of
    # networks, that get them. Egomotion is more precise with Adam.
    o.muon_iterations = 5
    o.muon_networks = ("depth_net",)
    # `constant`, `cosine` (to 0) or `halve_every` (halve_steps).
    o.schedule = "constant"
    o.warmup_steps = 0
    o.halve_steps = 50000
    o.b1 = 0.9
    o.b2 = 0.999
    # Largest global gradient norm; 0: no clipping.
    o.clip_norm = 10.0
    # Parts a batch is worked through in, for one update: less memory, same result.
    o.accumulate_steps = 1

    c.train = t = ConfigDict()
    # Clips per update, over all devices.
    t.batch_size = 16
    t.num_steps = 400_000
    # Steps between log lines, evaluations (0: only at the end), panels, checkpoints.
    t.log_every = 100
    t.evaluate_every = 0
    t.checkpoint_every = 5000
    t.keep_checkpoints = 2
    # How many XLA devices a CPU is split into; each runs on its own thread.
    t.cpu_devices = 1
    # Folder of the persistent compilation cache; empty: ~/.cache/mdm_jax/xla.
    t.compilation_cache = ""

    c.evaluation = e = ConfigDict()
    # Held-out drives to evaluate on: `validation` to choose a recipe, `test` to report.
    # Of a raw data set, where the split has such a part and it is on disk.
    e.split = "test"
    # Ground truth is compared between these depths, metres.
    e.min_depth = 1e-3
    e.max_depth = 80.0
    # Frames evaluated of each set, evenly spread; 0: all.
    e.max_frames = 0
    e.batch_size = 8
    # Residual motion above this share of the camera's mean step counts as moving.
    e.motion_threshold = 0.3
    return c


def _paths(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _paths(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def flatten(config: ConfigDict) -> dict[str, object]:
    """Returns the settings as one flat dictionary, `optimizer.b1` style keys."""
    return dict(_paths(config))


def validate(config: ConfigDict) -> None:
    """Checks the names of all fields; loss names belong to the method.

    Raises:
        ValueError: a field is unknown or missing; the message names the nearest one.
    """
    base = flatten(base_config())
    for name in flatten(config):
        if name.startswith("loss_weights.") or name in base:
            continue
        near = difflib.get_close_matches(name, base, n=1)
        hint = f" Did you mean config.{near[0]}?" if near else ""
        raise ValueError(f"unknown config field: config.{name}.{hint}")
    missing = [
        name
        for name in base
        if name not in flatten(config) and not name.startswith("loss_weights.")
    ]
    if missing:
        raise ValueError(
            f"config lacks {', '.join('config.' + m for m in missing)}: start from "
            "mdm_jax.config.base_config() and change fields of it"
        )


def choice(config: ConfigDict, field: str, allowed: tuple[str, ...]) -> str:
    """Returns a string field's value.

    Raises:
        ValueError: the value is not one of `allowed`.
    """
    value = flatten(config)[field]
    if value not in allowed:
        raise ValueError(
            f"config.{field} expects one of {', '.join(allowed)}, got {value!r}"
        )
    return str(value)


def to_json(config: ConfigDict) -> str:
    """Returns the settings as indented JSON, the form kept in a workdir."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True) + "\n"


def from_json(text: str) -> ConfigDict:
    """Returns the settings of `to_json`; tuples come back as tuples.

    Raises:
        ValueError: the text is not such JSON.
    """
    values = json.loads(text)
    if not isinstance(values, dict):
        message = f"expected a JSON object, got {type(values).__name__}"
        raise ValueError(message)  # noqa: TRY004 (a value of a file, not an argument)
    return ConfigDict(_with_tuples(values))


def _with_tuples(value: object) -> object:
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_with_tuples(item) for item in value)
    return value
