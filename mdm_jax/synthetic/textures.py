"""Colours of synthetic surfaces, as functions of coordinates on the surface.

Grain is value noise with equal energy in every octave (a 1/f spectrum, like natural
images). Octaves finer than the footprint of a pixel on the surface fade out, and
patterns (windows, markings) are averaged over the footprint, so that a surface keeps
its colour from frame to frame. All arrays have one entry per ray; colours are `[3 r]`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt32

from mdm_jax.synthetic import primitives

_NUM_OCTAVES = 8
_LONGEST = 8.0  # metres


def _hash(x: Array, y: Array, seed: Array) -> Array:
    """Returns 32 pseudo-random bits from two int32 and a uint32."""
    value = x.astype(jnp.uint32) * jnp.uint32(0x9E3779B1)
    value = value ^ (y.astype(jnp.uint32) * jnp.uint32(0x85EBCA77)) ^ seed
    value = (value ^ (value >> 15)) * jnp.uint32(0x2C1B3C6D)
    value = (value ^ (value >> 12)) * jnp.uint32(0x297A2D39)
    return value ^ (value >> 15)


def _unit(bits: Array) -> Array:
    """Returns the 16 lowest bits as a number in [-1, 1]."""
    return (bits & jnp.uint32(0xFFFF)).astype(jnp.float32) * (2.0 / 65535.0) - 1.0


def grain(
    u: Float[Array, " r"],
    v: Float[Array, " r"],
    seed: UInt32[Array, " r"],
    footprint: Float[Array, " r"],
) -> tuple[Float[Array, " r"], Float[Array, " r"]]:
    """Returns two independent 1/f noises of about unit standard deviation.

    Args:
        u, v: surface coordinates, metres.
        seed: uint32, one per surface.
        footprint: size of a pixel on the surface, metres.
    """

    def octave(i, state):
        u, v, sums = state
        wavelength = _LONGEST * jnp.exp2(-i.astype(jnp.float32))
        x, y = u / wavelength, v / wavelength
        column, row = jnp.floor(x), jnp.floor(y)
        fx, fy = x - column, y - row
        fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
        column, row = column.astype(jnp.int32), row.astype(jnp.int32)
        salt = seed * jnp.uint32(0xC2B2AE35) + i.astype(jnp.uint32)
        corners = [_hash(column + a, row + b, salt) for b in (0, 1) for a in (0, 1)]

        def blend(a, b, c, d):
            top, bottom = a + (b - a) * fx, c + (d - c) * fx
            return top + (bottom - top) * fy

        first = blend(*(_unit(corner) for corner in corners))
        second = blend(*(_unit(corner >> 16) for corner in corners))
        # The footprint is half a pixel: octaves fade in from 1.5 to 3.5 pixels per wave.
        weight = jnp.clip((wavelength / footprint - 3.0) / 4.0, 0.0, 1.0)
        sums = (sums[0] + weight * first, sums[1] + weight * second)
        # Turning the lattice between octaves hides its axes.
        return 0.8 * u + 0.6 * v + 3.7, 0.8 * v - 0.6 * u + 1.3, sums

    start = (u, v, (jnp.zeros_like(u), jnp.zeros_like(u)))
    _, _, sums = jax.lax.fori_loop(0, _NUM_OCTAVES, octave, start)
    return sums


def stripes(
    x: Float[Array, " r"], period, share, width: Float[Array, " r"]
) -> Float[Array, " r"]:
    """Returns the fraction of `[x - width/2, x + width/2]` that periodic stripes cover.

    Stripes cover `[0, share * period]` of every period.
    """
    width = jnp.maximum(width, 1e-3)

    def integral(x):
        turns = jnp.floor(x / period)
        return turns * share * period + jnp.minimum(x - turns * period, share * period)

    covered = (integral(x + width / 2) - integral(x - width / 2)) / width
    return jnp.clip(covered, 0.0, 1.0)


def inside(
    x: Float[Array, " r"], low, high, width: Float[Array, " r"]
) -> Float[Array, " r"]:
    """Returns the fraction of `[x - width/2, x + width/2]` inside `[low, high]`."""
    width = jnp.maximum(width, 1e-3)
    top = jnp.minimum(x + width / 2, high)
    return jnp.clip((top - jnp.maximum(x - width / 2, low)) / width, 0.0, 1.0)


def mix(
    a: Float[Array, "3 _"], b: Float[Array, "3 _"], weight: Float[Array, " r"]
) -> Float[Array, "3 r"]:
    """Returns colours `a` where weight is 0 and `b` where it is 1."""
    return a + (b - a) * weight[None]


def colour(values: tuple[float, float, float]) -> Float[Array, "3 1"]:
    """Returns one colour as `[3 1]`."""
    return jnp.asarray(values, jnp.float32)[:, None]


def surface(
    look: dict[str, Array],
    u: Array,
    v: Array,
    face: Array,
    footprint_u: Array,
    footprint_v: Array,
) -> Float[Array, "3 r"]:
    """Returns the unshaded colours `[3 r]` of boxes and round primitives.

    Args:
        look: appearance columns of `primitives`, one entry per ray; colours `[3 r]`.
        u, v: horizontal and vertical coordinates on the surface, metres.
        face: 0 left or right, 1 front, 2 back, 3 top.
        footprint_u, footprint_v: size of a pixel along them.
    """
    material = look["material"]
    is_car = (material == primitives.CAR_BODY) | (material == primitives.CAR_CABIN)
    scale = jnp.where(is_car, 4.0, jnp.where(material == primitives.ROOF, 2.0, 1.0))
    seed = look["seed"].astype(jnp.uint32) * 4 + face.astype(jnp.uint32)
    footprint = jnp.maximum(footprint_u, footprint_v)
    light, tint = grain(u * scale, v * scale, seed, footprint * scale)
    base = mix(look["colour_a"], look["colour_b"], jnp.clip(0.5 + 0.6 * tint, 0, 1))
    base = base * jnp.clip(1.0 + look["contrast"] * light, 0.3, 1.9)[None]
    facade = _windows(look, base, u, v, face, footprint_u, footprint_v)
    body = _car_body(look, base, u, v, face, footprint_u, footprint_v)
    cabin = _car_cabin(look, base, u, v, face, footprint_u, footprint_v, light)
    for kind, painted in (
        (primitives.FACADE, facade),
        (primitives.CAR_BODY, body),
        (primitives.CAR_CABIN, cabin),
    ):
        base = jnp.where((material == kind)[None], painted, base)
    return base


def _windows(look, base, u, v, face, wide, high):
    """Returns a facade with rows of windows, whose brightness varies."""
    across, up = look["cell_u"], look["cell_v"]
    seed = look["seed"].astype(jnp.uint32) + jnp.uint32(77)
    column = jnp.floor(u / across).astype(jnp.int32)
    row = jnp.floor(v / up).astype(jnp.int32)
    own = _unit(_hash(column, row, seed))
    # Windows smaller than a pixel all look the same.
    own = own * jnp.clip(2.0 - wide / across * 2.0, 0.0, 1.0)
    share = 0.42 + 0.2 * _unit(_hash(face, face, seed))
    glass = stripes(u - 0.25 * across, across, share, wide)
    glass = glass * stripes(v - 0.3 * up, up, 0.5, high)
    frame = stripes(u - 0.25 * across + 0.12, across, share + 0.24 / across, wide)
    frame = frame * stripes(v - 0.3 * up + 0.12, up, 0.5 + 0.24 / up, high)
    ledge = stripes(v + 0.15, up, 0.06, high)
    pane = mix(colour((0.16, 0.2, 0.26)), colour((0.55, 0.58, 0.6)), own * 0.5 + 0.35)
    trim = mix(base, colour((0.85, 0.84, 0.8)), 0.6 * jnp.ones_like(u))
    wall = mix(base, base * 0.6, ledge)
    result = mix(mix(wall, trim, frame), pane, glass)
    return jnp.where((face == 3)[None], base, result)


def _car_body(look, base, u, v, face, wide, high):
    """Returns flanks with wheels, sills and doors; ends with lamps, bumper and plate."""
    length = look["cell_u"]
    from_axle = jnp.abs(u) - 0.31 * length
    radius = jnp.sqrt(jnp.square(from_axle) + jnp.square(v - 0.3))
    tyre = inside(radius, -1.0, 0.31, wide)
    hub = inside(radius, -1.0, 0.18, wide)
    dark = colour((0.06, 0.06, 0.07))
    sill = inside(v, -1.0, 0.2, high)
    door = inside(jnp.abs(u - 0.1), 0.5, 0.54, wide) * inside(v, 0.3, 9.0, high)
    flank = mix(base, base * 0.45, door)
    flank = mix(mix(flank, dark, sill), dark, tyre)
    flank = mix(flank, colour((0.6, 0.6, 0.62)), hub)
    lamp = inside(jnp.abs(u), 0.5, 0.82, wide) * inside(v, 0.52, 0.72, high)
    plate = inside(jnp.abs(u), -1.0, 0.26, wide) * inside(v, 0.4, 0.52, high)
    bumper = inside(v, 0.2, 0.38, high)
    end = mix(mix(base, base * 0.4, bumper), dark, sill)
    end = mix(end, colour((0.9, 0.9, 0.85)), plate)
    front = mix(end, colour((0.95, 0.95, 0.88)), lamp)
    back = mix(end, colour((0.75, 0.08, 0.06)), lamp)
    flank = jnp.where((face == 3)[None], base, flank)
    return jnp.where(
        (face == 1)[None], front, jnp.where((face == 2)[None], back, flank)
    )


def _car_cabin(look, base, u, v, face, wide, high, light):
    """Returns windows on all sides, under a painted roof."""
    height, half = look["cell_v"], look["cell_u"] / 2
    edge = jnp.where(face == 0, half - 0.2 - 0.6 * v, 0.72)
    glass = inside(jnp.abs(u), -1.0, edge, wide) * inside(v, 0.06, height - 0.1, high)
    pillar = inside(jnp.abs(u + 0.1), -1.0, 0.05, wide) * (face == 0)
    pane = colour((0.14, 0.17, 0.21)) * jnp.clip(1.0 + 0.4 * light, 0.4, 1.8)[None]
    result = mix(base, pane, glass * (1.0 - pillar))
    return jnp.where((face == 3)[None], base, result)


def ground(place: dict[str, Array], drive: dict[str, Array]) -> Float[Array, "3 r"]:
    """Returns the colours `[3 r]` of road, markings, kerb, sidewalk and verge.

    Args:
        place: per ray: x, z (world), view_x, view_z (unit vector in the ground plane),
            near, far (pixel footprint across and along it), and of the nearest street:
            edge (distance from the carriageway, negative on it), main_edge, side_edge
            (likewise of the route and of side streets alone), middle (distance from the
            middle of the route), s, along_x, along_z, half_width, sidewalk.
        drive: palette of the drive, colours `[3]`, and a seed.
    """
    x, z, edge = place["x"], place["z"], place["edge"]

    def palette(name):
        return jnp.broadcast_to(drive[name][:, None], (3, x.shape[0]))

    facing = place["view_x"] * place["along_x"] + place["view_z"] * place["along_z"]
    along = jnp.sqrt(jnp.square(place["near"]) + jnp.square(place["far"] * facing))
    across = jnp.sqrt(
        jnp.square(place["near"])
        + jnp.square(place["far"]) * jnp.clip(1.0 - jnp.square(facing), 0.0, 1.0)
    )
    walk = inside(edge, 0.0, place["sidewalk"], across)
    verge = inside(edge, place["sidewalk"], 1e6, across)
    kerb = inside(edge, 0.0, 0.16, across)
    zone = (edge > 0).astype(jnp.uint32) + (edge > place["sidewalk"]).astype(jnp.uint32)
    seed = drive["seed"].astype(jnp.uint32) + zone
    light, tint = grain(x, z, seed, jnp.maximum(place["far"] * 0.7, place["near"]))
    wave = jnp.clip(0.5 + 0.6 * tint, 0.0, 1.0)
    road = mix(palette("road"), palette("road") * 0.7, wave)
    stone = mix(palette("walk"), palette("walk") * 0.75, wave)
    joint = stripes(place["s"], 1.5, 0.05, along)
    stone = mix(stone, stone * 0.6, joint)
    grass = mix(palette("verge_a"), palette("verge_b"), wave)
    result = mix(mix(road, stone, walk), grass, verge)
    contrast = 0.3 + 0.15 * verge
    result = result * jnp.clip(1.0 + contrast * light, 0.3, 1.8)[None]
    result = mix(result, colour((0.68, 0.67, 0.64)), kerb * 0.8)
    # Markings of the route stop where side streets open.
    on_route = inside(place["main_edge"], -1e6, 0.0, across)
    is_open = inside(place["side_edge"], 0.5, 1e6, across)
    dashes = inside(place["middle"], -1.0, 0.08, across)
    dashes = dashes * stripes(place["s"], 6.0, 0.5, along)
    line = place["half_width"] - 0.35
    lines = inside(place["middle"], line, line + 0.13, across)
    paint = (dashes + lines) * is_open * on_route
    return mix(result, colour((0.85, 0.85, 0.82)), jnp.clip(paint, 0, 1) * 0.85)


def sky(
    x: Array, y: Array, z: Array, pixel: Array, drive: dict[str, Array]
) -> Float[Array, "3 r"]:
    """Returns the colours `[3 r]` of clouds and far hills in unit directions, y down."""
    azimuth = jnp.arctan2(x, z)
    up = jnp.arcsin(jnp.clip(-y, -1.0, 1.0))
    seed = jnp.full(x.shape, 5, jnp.uint32) + drive["seed"].astype(jnp.uint32)
    span = 15.0
    light, tint = grain(
        azimuth * span, up * span * 2.5, seed, jnp.full_like(x, span) * pixel * 2.5
    )
    zenith = drive["sky"][:, None]
    pale = colour((0.8, 0.85, 0.9))
    blue = mix(pale, jnp.broadcast_to(zenith, (3, x.shape[0])), jnp.clip(up * 3, 0, 1))
    cloud = jnp.clip(0.35 + 0.45 * light, 0.0, 0.9)
    above = mix(blue, colour((0.93, 0.93, 0.93)), cloud)
    ridge = (
        0.025 + 0.018 * jnp.sin(azimuth * 5.0) + 0.012 * jnp.sin(azimuth * 13.0 + 1.0)
    )
    hill = mix(colour((0.35, 0.45, 0.42)), colour((0.5, 0.56, 0.58)), 0.5 + 0.4 * tint)
    hill = hill * jnp.clip(1.0 + 0.2 * light, 0.5, 1.5)[None]
    return mix(above, hill, inside(up, -1.0, ridge, jnp.full_like(x, pixel)))
