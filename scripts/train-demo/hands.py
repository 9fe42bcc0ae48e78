"""The three hands: one geometry, rendered as `plain`, `poster` or `watercolour`.

Pictures are drawn at twice their size and reduced, which anti-aliases every edge.
"""

import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

import scenes

HANDS = ("plain", "poster", "watercolour")
SIZE, SCALE = 128, 2
CANVAS = SIZE * SCALE
MASK_SIZE = 32

SKY = {
    "plain": {"day": ((92, 158, 226), (206, 232, 248)),
              "sunset": ((112, 86, 156), (252, 176, 110)),
              "night": ((14, 18, 52), (52, 66, 122))},
    "poster": {"day": ((24, 150, 190), (250, 236, 176)),
               "sunset": ((196, 22, 70), (255, 190, 30)),
               "night": ((18, 8, 66), (92, 34, 142))},
    "watercolour": {"day": ((150, 196, 236), (226, 240, 248)),
                    "sunset": ((192, 160, 206), (254, 214, 176)),
                    "night": ((92, 100, 150), (150, 158, 196))},
}
TINT = {"day": {"land": (1, 1, 1), "subject": (1, 1, 1), "sky": (1, 1, 1)},
        "sunset": {"land": (0.96, 0.76, 0.7), "subject": (1, 0.94, 0.9),
                   "sky": (1, 0.9, 0.85)},
        "night": {"land": (0.4, 0.45, 0.66), "subject": (0.76, 0.78, 0.9),
                  "sky": (0.55, 0.58, 0.75)}}
PAPER = np.array((252, 248, 238), dtype=np.float32)
INK = (38, 20, 42)
# Half a pixel of the finished picture: edges that the autoencoders can keep.
SOFTEN = ImageFilter.GaussianBlur(1)


def part_colour(part, scene, hand):
    colour = np.array(part.colour, dtype=np.float32)
    if not part.lit:
        colour = colour * np.array(TINT[scene.time][part.role], dtype=np.float32)
    if hand == "poster":
        grey = colour.mean()
        colour = (colour - grey) * 1.5 + grey
    elif hand == "watercolour":
        colour = PAPER * (colour / 255 * 0.74 + 0.26)
    return tuple(int(v) for v in np.clip(colour, 0, 255))


def rgb(*values):
    return np.array(values, dtype=np.float32)


def pixels(points):
    return [tuple(p) for p in (points * CANVAS).tolist()]


def vertical_gradient(top, bottom, horizon):
    t = np.clip(np.linspace(0, 1, CANVAS) / horizon, 0, 1)[:, None]
    column = rgb(*top) * (1 - t) + rgb(*bottom) * t
    return np.repeat(column[:, None], CANVAS, 1).astype(np.float32)


@functools.cache
def grid():
    axis = (np.arange(CANVAS, dtype=np.float32) + 0.5) / CANVAS
    return np.meshgrid(axis, axis)


@functools.cache
def noise_field(sigma, index):
    """One of a few smooth periodic fields with zero mean and unit deviation."""
    rng = np.random.default_rng([7919, index, int(sigma * 10)])
    spectrum = np.fft.rfft2(rng.standard_normal((CANVAS, CANVAS)))
    fy, fx = np.fft.fftfreq(CANVAS)[:, None], np.fft.rfftfreq(CANVAS)[None]
    spectrum *= np.exp(-2 * (np.pi * sigma) ** 2 * (fx ** 2 + fy ** 2))
    field = np.fft.irfft2(spectrum, s=(CANVAS, CANVAS))
    return ((field - field.mean()) / field.std()).astype(np.float32)


def noise(rng, sigma):
    field = noise_field(sigma, int(rng.integers(8)))
    return np.roll(field, tuple(rng.integers(CANVAS, size=2)), (0, 1))


def blur(image, radius):
    """Gaussian blur; a wide one at reduced size, since it has no fine detail."""
    if radius <= 4:
        return image.filter(ImageFilter.GaussianBlur(radius))
    small = image.reduce(4).filter(ImageFilter.GaussianBlur(radius / 4))
    return small.resize(image.size, Image.BILINEAR)


def to_array(image):
    return np.asarray(image, dtype=np.float32)


def to_image(array):
    return Image.fromarray(np.clip(array, 0, 255).astype(np.uint8))


def subject_mask(shape):
    mask = Image.new("L", (CANVAS, CANVAS))
    draw = ImageDraw.Draw(mask)
    for part in shape.parts:
        if part.role == "subject":
            draw.polygon(pixels(part.points), fill=255)
    return mask


def fill(image, parts, scene, hand, outline=0):
    """Outlines are ink round the subject, a darker tone of the same colour elsewhere."""
    draw = ImageDraw.Draw(image)
    for part in parts:
        points, colour = pixels(part.points), part_colour(part, scene, hand)
        draw.polygon(points, fill=colour)
        if outline and part.ink:
            ink = INK if part.role == "subject" else tuple(int(0.6 * v) for v in colour)
            draw.line(points + points[:2], fill=ink, width=outline, joint="curve")


def diagonal_slope(relief):
    gy, gx = np.gradient(to_array(relief) / 255)
    return gx + gy


def split(shape):
    back = [p for p in shape.parts if p.role != "subject"]
    return back, [p for p in shape.parts if p.role == "subject"]


def foot_shadow(shape, spread):
    x, y, size = shape.foot
    mask = Image.new("L", (CANVAS, CANVAS))
    points = scenes.ellipse(x + 0.04, y + 0.01, size * spread, 0.035)
    ImageDraw.Draw(mask).polygon(pixels(points), fill=255)
    return mask


def plain(scene, shape, mask, rng):
    """Soft light from the upper left, a glow round sun or moon, a soft shadow."""
    x, y = grid()
    top, bottom = SKY["plain"][scene.time]
    canvas = vertical_gradient(top, bottom, shape.horizon)
    lx, ly = map(float, shape.light_at)
    glow = np.exp(-((x - lx) ** 2 + (y - ly) ** 2) / 0.05)[..., None]
    strength = 0.25 if scene.time == "night" else 0.5
    canvas += (rgb(255, 236, 190) - canvas) * glow * strength
    image = to_image(canvas)
    back, front = split(shape)
    fill(image, back, scene, "plain")
    canvas = to_array(image)
    below = np.clip((y - shape.horizon) / (1 - shape.horizon), 0, 1)[..., None]
    canvas = canvas * (1 - 0.22 * below)
    shadow = to_array(blur(foot_shadow(shape, 1.05), 7))[..., None] / 255
    image = to_image(canvas * (1 - 0.5 * shadow))
    fill(image, front, scene, "plain")

    relief = Image.new("L", (CANVAS, CANVAS))
    draw = ImageDraw.Draw(relief)
    for part in front:
        draw.polygon(pixels(part.points), fill=int(part.relief * 255))
    slope = 2.2 * diagonal_slope(blur(relief, 4))
    wide = Image.fromarray(1.5 * diagonal_slope(blur(relief.reduce(4), 3)))
    slope += to_array(wide.resize(relief.size, Image.BICUBIC))
    shade = 1 + np.clip(slope * 1.5, -0.42, 0.3) * (to_array(mask) / 255)
    return to_image(to_array(image) * shade[..., None]).filter(SOFTEN)


def poster(scene, shape, mask, rng):
    """Rays from the light, saturated flat colour, a hard shadow side, ink outlines."""
    x, y = grid()
    top, bottom = SKY["poster"][scene.time]
    canvas = vertical_gradient(top, bottom, shape.horizon)
    lx, ly = map(float, shape.light_at)
    angle = np.arctan2(y - ly, x - lx)
    rays = np.clip(np.sin(angle * 9 + float(rng.uniform(0, 6))) * 3, -1, 1)[..., None]
    target = rgb(*((255, 244, 190) if scene.time != "night" else (150, 90, 210)))
    canvas += (target - canvas) * (0.14 + 0.11 * rays)
    image = to_image(canvas)
    back, front = split(shape)
    fill(image, back, scene, "poster", outline=5)

    hatch = (np.mod((x + y) * CANVAS, 40) < 22) * to_array(foot_shadow(shape, 1.15)) / 255
    image = to_image(to_array(image) * (1 - 0.5 * hatch[..., None]))
    fill(image, front, scene, "poster", outline=6)

    # The shadow side is where the mask, moved towards the light, no longer covers it.
    inside = to_array(mask) / 255
    shift = int(0.055 * CANVAS) * (1 if lx < 0.5 else -1)
    lit = np.roll(inside, (-abs(shift) // 2, -shift), (0, 1))
    dim = inside * (1 - lit)
    canvas = to_array(image) * (1 - 0.38 * dim[..., None])
    vignette = 1 - 0.55 * np.clip(np.hypot(x - 0.5, y - 0.5) - 0.42, 0, 1)[..., None]
    return to_image(canvas * vignette).filter(SOFTEN)


def watercolour(scene, shape, mask, rng):
    """Pastel washes with wandering edges, pooled pigment and a ragged paper border."""
    x, y = grid()
    top, bottom = SKY["watercolour"][scene.time]
    image = to_image(vertical_gradient(top, bottom, shape.horizon))
    back, front = split(shape)
    fill(image, back, scene, "watercolour")
    image = blur(image, 3.5)
    sharp = image.copy()
    fill(sharp, front, scene, "watercolour")
    canvas = to_array(blur(sharp, 1.6))

    rows = np.arange(CANVAS)[:, None] + 1.5 * noise(rng, 7) + 2.2 * noise(rng, 18)
    columns = np.arange(CANVAS)[None] + 1.5 * noise(rng, 7) + 2.2 * noise(rng, 18)
    rows = np.clip(np.rint(rows), 0, CANVAS - 1).astype(np.intp)
    columns = np.clip(np.rint(columns), 0, CANVAS - 1).astype(np.intp)
    canvas = canvas[rows, columns]

    pigment = PAPER - canvas
    pooled = to_array(blur(to_image(canvas), 5)) - canvas
    pigment = pigment + 0.5 * np.clip(pooled, 0, 40) + 0.25 * np.clip(pooled, -60, 0)
    wash = 1 + 0.09 * noise(rng, 26) + 0.04 * noise(rng, 7)
    border = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    edge = 1 / (1 + np.exp(-(border - 0.04 - 0.013 * noise(rng, 7)) * 110))
    canvas = PAPER - pigment * (wash * edge)[..., None]
    return to_image(canvas + 1.2 * noise(rng, 2.5)[..., None])


RENDER = {"plain": plain, "poster": poster, "watercolour": watercolour}


def render(scene, hand, shape=None, mask=None):
    shape = shape or scenes.geometry(scene)
    mask = mask or subject_mask(shape)
    rng = np.random.default_rng([scene.seed, 2, HANDS.index(hand)])
    image = RENDER[hand](scene, shape, mask, rng)
    return np.asarray(image.reduce(SCALE))


def render_all(scene):
    """The three pictures (3, SIZE, SIZE, 3) and the subject's mask, both uint8."""
    shape = scenes.geometry(scene)
    mask = subject_mask(shape)
    pictures = np.stack([render(scene, hand, shape, mask) for hand in HANDS])
    return pictures, np.asarray(mask.resize((MASK_SIZE, MASK_SIZE), Image.BOX))
