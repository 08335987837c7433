"""A ray caster for the primitives of a synthetic world.

One jitted function per image size casts the rays of a frame in blocks of rows, so that
memory stays bounded. The colour of a pixel is the mean over four rays; its depth and
label are those of the ray through its centre.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mdm_jax.synthetic import primitives, scene_tables, textures

Array = jax.Array

SKY_DISTANCE = 1000.0  # metres along the ray
_PIXELS_PER_BLOCK = 4096
# Weight of each neighbour in a three-tap Gaussian with sigma = 0.6 pixels.
_LENS_SIDE = 0.166
_SUBPIXELS = ((-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25), (0.0, 0.0))
_LIGHT = (0.45, -0.8, -0.4)  # direction to the sun in the world, y down


class Image(NamedTuple):
    """Rendered frames.

    Attributes:
        frames: uint8 `[n h w 3]`.
        depth: float32 `[n h w]`, metres along the optical axis.
        labels: int32 `[n h w]`, the label column of the visible primitive, or 0.
    """

    frames: np.ndarray
    depth: np.ndarray
    labels: np.ndarray


def render(
    scenes: scene_tables.Scene,
    drive: dict[str, np.ndarray],
    intrinsics: np.ndarray,
    size,
) -> Image:
    """Renders scenes, which have a leading frame axis."""
    height, width = size
    rows = max(1, min(height, _PIXELS_PER_BLOCK // width))
    num_blocks = -(-height // rows)
    colours, depth, labels = _render(
        scenes, drive, intrinsics, rows=rows, num_blocks=num_blocks, width=width
    )
    num_frames = len(scenes.place)
    shape = (num_frames, num_blocks * rows, width)
    return Image(
        np.asarray(colours).reshape(*shape, 3)[:, :height],
        np.asarray(depth).reshape(shape)[:, :height],
        np.asarray(labels).reshape(shape)[:, :height],
    )


@functools.partial(jax.jit, static_argnames=("rows", "num_blocks", "width"))
def _render(scenes, drive, intrinsics, *, rows, num_blocks, width):
    def frame(scene):
        def block(index):
            return _cast_block(scene, drive, intrinsics, index * rows, rows, width)

        colours, depth, labels = jax.lax.map(block, jnp.arange(num_blocks))
        return _lens(colours.reshape(num_blocks * rows, width, 3)), depth, labels

    return jax.lax.map(frame, scenes)


def _cast_block(scene, drive, intrinsics, first_row, rows, width):
    """Returns colours `[rows*w 3]`, depth and labels of some rows of one frame."""
    num = rows * width
    x = jnp.tile(jnp.arange(width, dtype=jnp.float32), rows)
    y = jnp.repeat(jnp.arange(rows), width) + first_row
    y = y.astype(jnp.float32)
    x = jnp.concatenate([x + dx for dx, _ in _SUBPIXELS])
    y = jnp.concatenate([y + dy for _, dy in _SUBPIXELS])
    focal = intrinsics[0, 0]
    x = (x - intrinsics[0, 2]) / focal
    y = (y - intrinsics[1, 2]) / intrinsics[1, 1]
    # The ray parameter is depth, because directions have z = 1 in the camera frame.
    turn = scene.camera
    rays = tuple(turn[i, 0] * x + turn[i, 1] * y + turn[i, 2] for i in range(3))
    length = jnp.sqrt(1.0 + x * x + y * y)
    depth, hit = _nearest_hit(scene, rays, length)
    pixel = 0.5 / focal  # Each of the four rays covers half the width of a pixel.
    coloured = _shade(
        scene,
        drive,
        tuple(ray[: 4 * num] for ray in rays),
        length[: 4 * num],
        depth[: 4 * num],
        hit[: 4 * num],
        pixel,
    )
    mean = jnp.mean(coloured.reshape(3, 4, num), axis=1).T
    last = primitives.LABEL - 8
    labels = jnp.concatenate([scene.box_looks[:, last], scene.round_looks[:, last]])
    centre = hit[4 * num :]
    label = jnp.where(centre >= 0, labels[jnp.maximum(centre, 0)], 0.0)
    return mean, depth[4 * num :], label.astype(jnp.int32)


def _lens(colours):
    """Returns the image `[h w 3]` blurred as by a good lens, uint8.

    The point spread is a Gaussian with sigma = 0.6 pixels. Without it, rendered edges
    are too sharp for bilinear interpolation, and the photometric error of a warp by the
    true depth is 50 % larger.
    """
    side = _LENS_SIDE
    for axis in (0, 1):
        size = colours.shape[axis]
        padded = jnp.pad(
            colours, [(int(a == axis),) * 2 for a in range(3)], mode="edge"
        )
        before = jax.lax.slice_in_dim(padded, 0, size, axis=axis)
        after = jax.lax.slice_in_dim(padded, 2, size + 2, axis=axis)
        colours = (1 - 2 * side) * colours + side * (before + after)
    return jnp.round(jnp.clip(colours, 0.0, 1.0) * 255.0).astype(jnp.uint8)


def _nearest_hit(scene, rays, length):
    """Returns depth and index of the first hit: -2 sky, -1 ground, boxes, then rounds."""
    dx, dy, dz = rays
    limit = SKY_DISTANCE / length
    to_ground = scene.place[1] / jnp.maximum(dy, 1e-6)
    depth = jnp.minimum(to_ground, limit)
    hit = jnp.where(to_ground < limit, -1, -2)
    climb = -jnp.where(jnp.abs(dy) < 1e-9, 1e-9, dy)

    def closer(state, candidate, valid, index):
        depth, hit = state
        better = valid & (candidate > 0.0) & (candidate < depth)
        return jnp.where(better, candidate, depth), jnp.where(better, index, hit)

    def box(index, row, state):
        near, far, _ = _box_interval(row, dx, climb, dz)
        return closer(state, near, near < far, index)

    def ball(index, row, state):
        near, valid = _round_hit(row, dx, climb, dz)
        return closer(state, near, valid, index + scene_tables.NUM_BOXES)

    state = _for_each(scene.boxes, scene.counts[0], box, (depth, hit))
    return _for_each(scene.rounds, scene.counts[1], ball, state)


def _for_each(table, count, visit, state):
    """Returns `state = visit(index, row, state)` after the first `count` rows.

    Rows are visited four at a time, which the compiler fuses to save memory traffic;
    some rows of padding may be visited.
    """

    def visit_group(group, state):
        for index in range(4):
            index = group * 4 + index
            state = visit(index, table[index], state)
        return state

    return jax.lax.fori_loop(0, (count + 3) // 4, visit_group, state)


def _box_interval(row, dx, climb, dz):
    """Returns where rays enter and leave a box, and where they cross its four sides."""
    right, up, forward, cos, sin, half_width, height, half_length, taper = row
    along_x = cos * dx - sin * dz
    along_z = sin * dx + cos * dz

    def guard(value):
        return jnp.where(jnp.abs(value) < 1e-9, 1e-9, value)

    one, two = (sign * half_width - right for sign in (-1.0, 1.0))
    inverse = 1.0 / guard(along_x)
    near_x = jnp.minimum(one * inverse, two * inverse)
    far_x = jnp.maximum(one * inverse, two * inverse)
    inverse = 1.0 / guard(climb)
    near_y = jnp.minimum(-up * inverse, (height - up) * inverse)
    far_y = jnp.maximum(-up * inverse, (height - up) * inverse)
    # Front and back: +-z + taper * height <= half length.
    nears, far = [], jnp.minimum(far_x, far_y)
    for sign in (1.0, -1.0):
        slope = guard(sign * along_z + taper * climb)
        crossing = (half_length - sign * forward - taper * up) / slope
        nears.append(jnp.where(slope < 0, crossing, -jnp.inf))
        far = jnp.minimum(far, jnp.where(slope > 0, crossing, jnp.inf))
    faces = (near_x, nears[0], nears[1], near_y)
    near = jnp.maximum(jnp.maximum(near_x, near_y), jnp.maximum(*nears))
    return near, far, faces


def _round_hit(row, dx, climb, dz):
    """Returns where rays enter an ellipsoid or an open cylinder, and whether they do."""
    x, up, z, radius, half_height, roundness, _, _ = row
    flat, tall = 1.0 / (radius * radius), roundness / (half_height * half_height)
    a = (dx * dx + dz * dz) * flat + climb * climb * tall
    b = (dx * x + dz * z) * flat + climb * up * tall
    c = (x * x + z * z) * flat + up * up * tall - 1.0
    inner = b * b - a * c
    near = (b - jnp.sqrt(jnp.maximum(inner, 0.0))) / a
    valid = (inner > 0.0) & (jnp.abs(near * climb - up) <= half_height)
    return near, valid


def _shade(scene, drive, rays, length, depth, hit, pixel):
    """Returns the colours `[3 r]` at the first hits of the rays."""
    dx, dy, dz = rays
    footprint = depth * length * pixel
    on_ground = _ground(scene, drive, rays, depth, length, footprint)
    on_sky = textures.sky(dx / length, dy / length, dz / length, pixel, drive)
    on_things = _things(scene, rays, depth, hit, length, footprint)
    colours = jnp.where((hit == -1)[None], on_ground, on_sky)
    return jnp.where((hit >= 0)[None], on_things, colours)


def _things(scene, rays, depth, hit, length, footprint):
    dx, dy, dz = rays
    climb = -dy
    is_round = hit >= scene_tables.NUM_BOXES
    index = jnp.clip(hit, 0, scene_tables.NUM_BOXES - 1)
    row = tuple(scene.boxes.T[:, index])
    _, _, faces = _box_interval(row, dx, climb, dz)
    face = jnp.argmax(jnp.stack(faces), axis=0)
    right, up, forward, cos, sin, _, _, _, _ = row
    along_x, along_z = cos * dx - sin * dz, sin * dx + cos * dz
    right, forward = right + depth * along_x, forward + depth * along_z
    up = up + depth * climb
    side = face == 0
    u, v = jnp.where(side, forward, right), jnp.where(face == 3, forward, up)
    sun_x = cos * _LIGHT[0] - sin * _LIGHT[2]
    sun_z = sin * _LIGHT[0] + cos * _LIGHT[2]
    sun = jnp.where(side, -jnp.sign(along_x) * sun_x, -jnp.sign(along_z) * sun_z)
    sun = jnp.where(face == 3, -_LIGHT[1], sun)
    facing = jnp.where(side, along_x, jnp.where(face == 3, climb, along_z))

    index = jnp.clip(hit - scene_tables.NUM_BOXES, 0, scene_tables.NUM_ROUNDS - 1)
    x, y, z, radius, _, _, cos, sin = tuple(scene.rounds.T[:, index])
    from_x, from_z = depth * dx - x, depth * dz - z
    angle = jnp.arctan2(cos * from_x - sin * from_z, sin * from_x + cos * from_z)
    u = jnp.where(is_round, angle * radius, u)
    v = jnp.where(is_round, depth * climb - y, v)
    sun_round = (from_x * _LIGHT[0] + from_z * _LIGHT[2]) / radius
    sun = jnp.where(is_round, jnp.clip(sun_round, -1.0, 1.0), sun)
    facing_round = (from_x * dx + from_z * dz) / radius
    facing = jnp.where(is_round, facing_round, facing)
    face = jnp.where(is_round, 1, face)

    looks = jnp.concatenate([scene.box_looks, scene.round_looks])
    look = looks.T[:, jnp.maximum(hit, 0)]
    look = {
        "material": look[0],
        "seed": look[1],
        "colour_a": look[2:5],
        "colour_b": look[5:8],
        "contrast": look[8],
        "cell_u": jnp.maximum(look[9], 0.1),
        "cell_v": jnp.maximum(look[10], 0.1),
    }
    slant = footprint / jnp.clip(jnp.abs(facing) / length, 0.08, 1.0)
    flat = face == 3
    colours = textures.surface(
        look,
        u,
        v,
        face,
        jnp.where(flat, footprint, slant),
        jnp.where(flat, slant, footprint),
    )
    return colours * (0.86 + 0.16 * sun)[None]


def _ground(scene, drive, rays, depth, length, footprint):
    dx, dy, dz = rays
    x, z = depth * dx, depth * dz
    far = jnp.full_like(x, 1e6)

    def chord(index, row, state):
        ax, az, bx, bz, _, half_width, _, _, main, _ = row
        edge_x, edge_z = bx - ax, bz - az
        inverse = 1.0 / (edge_x * edge_x + edge_z * edge_z)
        along = ((x - ax) * edge_x + (z - az) * edge_z) * inverse
        along = jnp.clip(along, 0.0, 1.0)
        off_x, off_z = x - ax - along * edge_x, z - az - along * edge_z
        edge = jnp.sqrt(off_x * off_x + off_z * off_z) - half_width
        main_edge, side_edge, which = state
        better = edge < jnp.minimum(main_edge, side_edge)
        # On the carriageway of the route the route wins, elsewhere the nearest street.
        is_main = main > 0
        takes = jnp.where(is_main, (edge < 0) | better, better & (main_edge > 0))
        takes = takes & jnp.where(is_main, edge < main_edge, edge < side_edge)
        main_edge = jnp.where(is_main, jnp.minimum(main_edge, edge), main_edge)
        side_edge = jnp.where(is_main, side_edge, jnp.minimum(side_edge, edge))
        return main_edge, side_edge, jnp.where(takes, index, which)

    start = (far, far, jnp.zeros(x.shape, jnp.int32))
    main_edge, side_edge, which = _for_each(
        scene.segments, scene.counts[2], chord, start
    )
    ax, az, bx, bz, s, half_width, sidewalk, _, _, _ = tuple(scene.segments.T[:, which])
    span = jnp.sqrt(jnp.square(bx - ax) + jnp.square(bz - az))
    along_x, along_z = (bx - ax) / span, (bz - az) / span
    plane = jnp.sqrt(dx * dx + dz * dz)
    place = {
        "x": x + scene.place[0],
        "z": z + scene.place[2],
        "view_x": dx / plane,
        "view_z": dz / plane,
        "near": footprint,
        "far": footprint / jnp.clip(dy / length, 0.004, 1.0),
        "edge": jnp.minimum(main_edge, side_edge),
        "main_edge": main_edge,
        "side_edge": side_edge,
        "middle": main_edge + half_width,
        "s": s + (x - ax) * along_x + (z - az) * along_z,
        "along_x": along_x,
        "along_z": along_z,
        "half_width": half_width,
        "sidewalk": sidewalk,
    }
    return textures.ground(place, drive)
