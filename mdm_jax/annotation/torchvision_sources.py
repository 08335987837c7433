"""Networks of torchvision as sources: Mask R-CNN and RAFT, with weights from a file.

They need the extra `annotate`. Nothing is downloaded: weights are files that the user
has, as torchvision publishes them (`maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth`,
`raft_large_C_T_SKHT_V2-ff5fadd5.pth` and the like).
"""

from __future__ import annotations

import importlib
import pathlib
from typing import Any

import numpy as np

from mdm_jax.annotation.frames import FlowSource, Frame, MaskSource
from mdm_jax.files.errors import DataError
from mdm_jax.masks import instances
from mdm_jax.masks.instances import Instances

# A pixel belongs to a mask from this probability on.
_MASK_THRESHOLD = 0.5
# RAFT works on multiples of 8 pixels, and of at least 128.
_MULTIPLE, _LEAST = 8, 128


def mask_rcnn(weights: pathlib.Path) -> MaskSource:
    """Returns Mask R-CNN with ResNet-50 and FPN, first or second version.

    Classes are COCO's: 1 person, 2 bicycle, 3 car, 4 motorcycle, 6 bus, 8 truck.

    Raises:
        ImportError: torchvision is not installed.
        DataError: the weights are missing or of another network.
    """
    torch, models = _torchvision()
    detection = models.detection
    network = _load(
        torch,
        weights,
        {
            "maskrcnn_resnet50_fpn": detection.maskrcnn_resnet50_fpn,
            "maskrcnn_resnet50_fpn_v2": detection.maskrcnn_resnet50_fpn_v2,
        },
        weights_backbone=None,
    )
    device = next(network.parameters()).device

    def find(frame: Frame) -> Instances:
        image = torch.from_numpy(frame.image.copy()).to(device)
        with torch.inference_mode():
            (found,) = network([image.permute(2, 0, 1).float() / 255])
        found = {key: value.cpu().numpy() for key, value in found.items()}
        return instances.create(
            found["masks"][:, 0] > _MASK_THRESHOLD,
            classes=found["labels"],
            scores=found["scores"],
        )

    return find


def raft(weights: pathlib.Path) -> FlowSource:
    """Returns RAFT, large or small (Teed and Deng 2020).

    Raises:
        ImportError: torchvision is not installed.
        DataError: the weights are missing or of another network.
    """
    torch, models = _torchvision()
    optical_flow = models.optical_flow
    network = _load(
        torch,
        weights,
        {
            "raft_large": optical_flow.raft_large,
            "raft_small": optical_flow.raft_small,
        },
    )
    device = next(network.parameters()).device

    def flow(one: Frame, other: Frame) -> np.ndarray:
        height, width = one.image.shape[:2]
        padding = [
            max(-(-side // _MULTIPLE) * _MULTIPLE, _LEAST) - side
            for side in (height, width)
        ]
        pair = []
        for frame in (one, other):
            image = np.pad(
                frame.image, ((0, padding[0]), (0, padding[1]), (0, 0)), mode="edge"
            )
            image = torch.from_numpy(image).to(device).permute(2, 0, 1)[None]
            pair.append(image.float() / 127.5 - 1)
        with torch.inference_mode():
            found = network(*pair)[-1][0]
        return found.permute(1, 2, 0)[:height, :width].cpu().numpy()

    return flow


def _load(
    torch: Any, path: pathlib.Path, makers: dict[str, Any], **options: Any
) -> Any:
    """Returns the first network that a file of weights fits, ready for prediction."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(path, "no such file of weights") from error
    except Exception as error:
        raise DataError(
            path,
            "expected a file of PyTorch weights, a dictionary of tensors"
            f" ({type(error).__name__})",
        ) from error
    problems = []
    for name, make in makers.items():
        network = make(weights=None, **options)
        try:
            network.load_state_dict(state)
        except (RuntimeError, TypeError, AttributeError) as error:
            problems.append(f"{name}: {str(error).splitlines()[0]}")
            continue
        if name == "maskrcnn_resnet50_fpn":
            # Its weights were learned so, and torchvision sets it for them, too.
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eps = 0.0
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return network.to(device).eval()
    raise DataError(path, f"weights of no network known here ({'; '.join(problems)})")


def _torchvision() -> tuple[Any, Any]:
    """Returns the modules torch and torchvision.models."""
    try:
        torch = importlib.import_module("torch")
        models = importlib.import_module("torchvision.models")
    except ImportError as error:
        raise ImportError(
            'Mask R-CNN and RAFT need pip install "mdm_jax[annotate]": torch and'
            f" torchvision ({error})"
        ) from error
    return torch, models
