"""RAFT of torchvision as a flow source, with weights from a file."""

from __future__ import annotations

import pathlib

import numpy as np

from mdm_jax.flow import torchvision_networks
from mdm_jax.flow.video_frame import FlowSource, Frame

# RAFT works on multiples of 8 pixels, and of at least 128.
_MULTIPLE, _LEAST = 8, 128


def load(weights: pathlib.Path) -> FlowSource:
    """Returns RAFT, large or small (Teed and Deng 2020).

    Raises:
        ImportError: torchvision is not installed.
        DataError: the weights are missing or of another network.
    """
    torch, models = torchvision_networks.import_torchvision()
    optical_flow = models.optical_flow
    network = torchvision_networks.load(
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
