"""Scene descriptions: what is in a picture, its caption, and its geometry.

A scene is drawn from a seed. Its geometry is a list of filled polygons in the unit
square (y downwards), the same for every hand; `hands.py` renders it in three ways.
"""

import dataclasses

import numpy as np

SUBJECTS = ("house", "castle", "boat", "tree", "mountain", "cat",
            "fish", "flower", "car", "balloon", "bird", "butterfly")
COLOURS = {
    "red": (212, 44, 42), "orange": (240, 138, 36), "yellow": (247, 212, 62),
    "green": (62, 158, 74), "blue": (48, 104, 208), "purple": (150, 62, 172),
    "pink": (245, 142, 184), "white": (242, 242, 244),
}
SETTINGS = {
    "field": ("in a field", "on a green hill"),
    "sea": ("by the sea", "on the sea"),
    "desert": ("in the desert", "in a sandy desert"),
    "snow": ("in the snow", "in a snowy land"),
    "city": ("in the city", "in a city street"),
}
TIMES = {
    "day": ("by day", "on a bright day"),
    "sunset": ("at sunset", "in the evening"),
    "night": ("at night", "in the night"),
}
EXTRAS = {
    "none": "", "clouds": "with clouds", "birds": "with flying birds",
    "rainbow": "with a rainbow",
}
BROWN, CREAM, INK = (120, 78, 48), (250, 240, 214), (40, 36, 44)


@dataclasses.dataclass(frozen=True)
class Scene:
    """A description; with `seed` it fixes every stroke of the three pictures."""

    subject: str
    colour: str
    setting: str
    time: str
    extra: str
    seed: int

    @property
    def combination(self):
        return self.subject, self.colour, self.setting, self.time


@dataclasses.dataclass(frozen=True)
class Part:
    """A polygon: colour, height of its relief (0..1), and whether it gets an outline.

    `role` is "sky", "land" or "subject"; `lit` parts are not dimmed at night.
    """

    points: np.ndarray
    colour: tuple
    role: str
    relief: float = 0.0
    ink: bool = True
    lit: bool = False


def caption(scene, rng):
    """One of several wordings; now and then an attribute goes unmentioned."""
    colour = "" if rng.random() < 0.04 else scene.colour + " "
    article = "an" if (colour or scene.subject)[0] in "aeio" else "a"
    words = [f"{article} {colour}{scene.subject}"]
    if rng.random() >= 0.04:
        words.append(SETTINGS[scene.setting][int(rng.random() < 0.3)])
    if rng.random() >= 0.04:
        time = TIMES[scene.time][int(rng.random() < 0.3)]
        words = [f"{time},", *words] if rng.random() < 0.15 else [*words, time]
    if EXTRAS[scene.extra]:
        words.append(EXTRAS[scene.extra])
    return " ".join(words)


def plain_caption(scene):
    """The first wording with every attribute: what evaluation asks for."""
    article = "an" if scene.colour[0] in "aeio" else "a"
    words = [f"{article} {scene.colour} {scene.subject}", SETTINGS[scene.setting][0],
             TIMES[scene.time][0], EXTRAS[scene.extra]]
    return " ".join(word for word in words if word)


def random_scene(rng, seed, combination=None):
    subject, colour, setting, time = combination or (
        rng.choice(SUBJECTS), rng.choice(list(COLOURS)),
        rng.choice(list(SETTINGS)), rng.choice(list(TIMES)))
    extra = rng.choice(list(EXTRAS), p=(0.46, 0.2, 0.17, 0.17))
    return Scene(str(subject), str(colour), str(setting), str(time), str(extra), seed)


def mix(a, b, t):
    return tuple(float(x) * (1 - t) + float(y) * t for x, y in zip(a, b))


def dark(colour, t=0.35):
    return mix(colour, (30, 20, 50), t)


def light(colour, t=0.4):
    return mix(colour, (255, 252, 240), t)


def polygon(*points):
    return np.array(points, dtype=np.float64)


def rectangle(x0, y0, x1, y1):
    return polygon((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def ellipse(x, y, rx, ry=None, turn=0.0, start=0.0, stop=1.0, count=40):
    angle = 2 * np.pi * np.linspace(start, stop, count, endpoint=stop - start < 1)
    u, v = rx * np.cos(angle), (ry or rx) * np.sin(angle)
    cos, sin = np.cos(turn), np.sin(turn)
    return np.stack([x + u * cos - v * sin, y + u * sin + v * cos], 1)


def smooth(*points, steps=8):
    """A closed Catmull-Rom curve through the points."""
    p1 = np.array(points, dtype=np.float64)
    p0, p2, p3 = np.roll(p1, 1, 0), np.roll(p1, -1, 0), np.roll(p1, -2, 0)
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (p[:, None] for p in (p0, p1, p2, p3))
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t ** 2
                   + (3 * p1 - p0 - 3 * p2 + p3) * t ** 3)
    return curve.reshape(-1, 2)


def stroke(x0, y0, x1, y1, width):
    """A straight line as a thin polygon."""
    along = np.array([x1 - x0, y1 - y0])
    normal = np.array([-along[1], along[0]]) / (np.hypot(*along) + 1e-9) * width / 2
    a, b = np.array([x0, y0]), np.array([x1, y1])
    return np.stack([a + normal, b + normal, b - normal, a - normal])


class Sketch:
    """Collects the parts of a subject in its own coordinates: base at y = 0, width 1."""

    def __init__(self, night):
        self.parts = []
        self.window = (255, 224, 110) if night else (206, 232, 250)
        self.night = night

    def add(self, points, colour, relief=0.7, ink=True, lit=False):
        self.parts.append(Part(points, tuple(colour), "subject", relief, ink, lit))


def draw_house(sketch, colour, rng):
    sketch.add(rectangle(0.2, -0.92, 0.33, -0.6), dark(BROWN, 0.2))
    sketch.add(rectangle(-0.42, -0.52, 0.42, 0), colour)
    sketch.add(polygon((-0.56, -0.49), (-0.02, -0.97), (0.02, -0.97), (0.56, -0.49)),
               dark(colour, 0.42), 1.0)
    sketch.add(rectangle(-0.1, -0.32, 0.1, 0), BROWN, 0.4)
    for x in (-0.27, 0.27):
        sketch.add(rectangle(x - 0.1, -0.38, x + 0.1, -0.19), CREAM, 0.6)
        sketch.add(rectangle(x - 0.07, -0.35, x + 0.07, -0.22), sketch.window, 0.4,
                   ink=False, lit=True)
    sketch.add(ellipse(0, -0.66, 0.08), sketch.window, 0.6, lit=True)


def draw_castle(sketch, colour, rng):
    roof = dark(colour, 0.45)
    sketch.add(rectangle(-0.13, -0.8, 0.13, -0.3), light(colour, 0.12), 0.5)
    sketch.add(polygon((-0.19, -0.78), (0, -1.12), (0.19, -0.78)), roof, 0.8)
    sketch.add(polygon((0, -1.12), (0, -1.24), (0.15, -1.19), (0.01, -1.14)),
               (230, 60, 60), 0.8)
    sketch.add(rectangle(-0.4, -0.48, 0.4, 0), colour, 0.6)
    for x in (-0.22, 0.0, 0.22):
        sketch.add(rectangle(x - 0.06, -0.56, x + 0.06, -0.46), colour, 0.6)
    for x in (-0.44, 0.44):
        sketch.add(rectangle(x - 0.13, -0.66, x + 0.13, 0), light(colour, 0.12), 0.9)
        sketch.add(polygon((x - 0.19, -0.64), (x, -0.97), (x + 0.19, -0.64)), roof, 1.0)
        sketch.add(ellipse(x, -0.44, 0.045, 0.08), sketch.window, 0.5, lit=True)
    sketch.add(ellipse(0, -0.66, 0.045, 0.07), sketch.window, 0.3, lit=True)
    gate = np.concatenate([ellipse(0, -0.2, 0.13, 0.14, start=0.5, stop=1.0, count=16),
                           polygon((0.13, 0), (-0.13, 0))])
    sketch.add(gate, dark(BROWN, 0.35), 0.3)


def draw_boat(sketch, colour, rng):
    sketch.add(rectangle(-0.02, -1.0, 0.03, -0.2), BROWN, 0.6)
    sketch.add(smooth((-0.05, -0.95), (-0.2, -0.6), (-0.42, -0.3), (-0.05, -0.29)),
               colour, 0.8)
    sketch.add(smooth((0.06, -0.98), (0.32, -0.66), (0.48, -0.3), (0.06, -0.29)),
               CREAM, 0.8)
    sketch.add(smooth((-0.58, -0.24), (0, -0.2), (0.58, -0.26), (0.4, 0.02),
                      (0, 0.05), (-0.4, 0.02)), colour, 1.0)
    sketch.add(smooth((-0.52, -0.2), (0, -0.16), (0.52, -0.21), (0.49, -0.14),
                      (0, -0.09), (-0.49, -0.14)), light(colour, 0.55), 1.0, ink=False)


def draw_tree(sketch, colour, rng):
    sketch.add(polygon((-0.07, -0.5), (0.07, -0.5), (0.08, -0.1), (0.14, 0),
                       (-0.14, 0), (-0.08, -0.1)), BROWN, 0.6)
    for x, y, r in ((-0.25, -0.52, 0.2), (0.25, -0.52, 0.2), (-0.2, -0.78, 0.21),
                    (0.2, -0.78, 0.21), (0, -0.95, 0.2), (0, -0.62, 0.24)):
        r *= rng.uniform(0.92, 1.1)
        shade = dark(colour, 0.14) if y > -0.6 else light(colour, 0.1)
        sketch.add(ellipse(x, y, r), shade, 0.9)


def draw_mountain(sketch, colour, rng):
    peak = rng.uniform(-0.06, 0.06)
    sketch.add(polygon((-0.8, 0), (-0.42, -0.56), (0, 0)), dark(colour, 0.22), 0.5)
    sketch.add(polygon((0.05, 0), (0.47, -0.5), (0.8, 0)), dark(colour, 0.28), 0.5)
    sketch.add(polygon((-0.52, 0), (peak, -0.98), (0.56, 0)), colour, 0.9)
    sketch.add(polygon((peak, -0.98), (0.56, 0), (0.12, 0), (0.16, -0.3), (0.04, -0.5)),
               dark(colour, 0.24), 0.8, ink=False)
    sketch.add(polygon((peak - 0.17, -0.66), (peak, -0.98), (peak + 0.18, -0.66),
                       (peak + 0.08, -0.6), (peak + 0.02, -0.69), (peak - 0.07, -0.58)),
               (250, 252, 255), 1.0)


def draw_cat(sketch, colour, rng):
    for side in (-1, 1):
        sketch.add(polygon((side * 0.46, -0.5), (side * 0.44, -1.02),
                           (side * 0.08, -0.8)), colour, 0.6)
        sketch.add(polygon((side * 0.39, -0.66), (side * 0.38, -0.9),
                           (side * 0.2, -0.78)), (246, 160, 170), 0.4, ink=False)
    sketch.add(ellipse(0, -0.43, 0.52, 0.44), colour, 1.0)
    sketch.add(ellipse(0, -0.22, 0.25, 0.17), light(colour, 0.6), 1.0, ink=False)
    for side in (-1, 1):
        sketch.add(ellipse(side * 0.22, -0.51, 0.13, 0.14), (206, 232, 120), 0.9,
                   lit=True)
        sketch.add(ellipse(side * 0.22, -0.51, 0.05, 0.12), INK, 0.9, ink=False)
    sketch.add(polygon((-0.07, -0.35), (0.07, -0.35), (0, -0.27)), (226, 96, 116), 1.0)
    for side in (-1, 1):
        sketch.add(stroke(0, -0.19, side * 0.13, -0.24, 0.035), INK, 1.0, ink=False)


def draw_fish(sketch, colour, rng):
    fin = dark(colour, 0.25)
    sketch.add(smooth((-0.36, -0.5), (-0.62, -0.78), (-0.56, -0.5), (-0.62, -0.22)),
               fin, 0.6)
    sketch.add(smooth((-0.2, -0.68), (0.02, -0.96), (0.22, -0.74), (0, -0.6)), fin, 0.6)
    sketch.add(smooth((-0.1, -0.28), (-0.02, -0.08), (0.14, -0.28)), fin, 0.6)
    sketch.add(smooth((-0.42, -0.5), (-0.1, -0.76), (0.3, -0.72), (0.56, -0.5),
                      (0.3, -0.28), (-0.1, -0.24)), colour, 1.0)
    sketch.add(smooth((-0.26, -0.44), (0.1, -0.46), (0.4, -0.38), (0.2, -0.29),
                      (-0.08, -0.28)), light(colour, 0.5), 1.0, ink=False)
    sketch.add(smooth((-0.02, -0.5), (0.1, -0.58), (0.1, -0.42)), fin, 0.8, ink=False)
    sketch.add(ellipse(0.36, -0.56, 0.075), (252, 252, 252), 1.0, lit=True)
    sketch.add(ellipse(0.38, -0.56, 0.035), INK, 1.0, ink=False)


def draw_flower(sketch, colour, rng):
    green = (56, 140, 62)
    sketch.add(stroke(0, -0.55, 0.02, 0, 0.07), green, 0.4)
    sketch.add(smooth((0.02, -0.08), (0.2, -0.3), (0.36, -0.28), (0.22, -0.1)),
               green, 0.5)
    sketch.add(smooth((0, -0.04), (-0.2, -0.24), (-0.36, -0.2), (-0.2, -0.05)),
               green, 0.5)
    start = rng.uniform(0, 1)
    for i in range(6):
        angle = 2 * np.pi * (i + start) / 6
        petal = ellipse(0.25 * np.cos(angle), -0.68 + 0.25 * np.sin(angle), 0.2, 0.16,
                        turn=angle)
        sketch.add(petal, mix(colour, dark(colour), i % 2 * 0.4), 0.8)
    centre = BROWN if colour == COLOURS["yellow"] else (250, 206, 60)
    sketch.add(ellipse(0, -0.68, 0.16), centre, 1.0)


def draw_car(sketch, colour, rng):
    sketch.add(smooth((-0.34, -0.32), (-0.22, -0.6), (0.16, -0.61), (0.36, -0.32),
                      (0, -0.28)), dark(colour, 0.12), 0.7)
    sketch.add(polygon((-0.26, -0.35), (-0.18, -0.53), (-0.03, -0.54), (-0.03, -0.35)),
               sketch.window, 0.6)
    sketch.add(polygon((0.03, -0.35), (0.03, -0.54), (0.14, -0.53), (0.27, -0.35)),
               sketch.window, 0.6)
    sketch.add(smooth((-0.6, -0.3), (-0.35, -0.38), (0.3, -0.37), (0.6, -0.28),
                      (0.61, -0.1), (0.3, -0.07), (-0.3, -0.07), (-0.62, -0.1)),
               colour, 1.0)
    sketch.add(stroke(-0.5, -0.2, 0.5, -0.2, 0.04), light(colour, 0.5), 1.0, ink=False)
    for x in (-0.34, 0.34):
        sketch.add(ellipse(x, -0.09, 0.14), INK, 1.0)
        sketch.add(ellipse(x, -0.09, 0.065), (205, 205, 212), 1.0, ink=False)
    sketch.add(ellipse(0.55, -0.24, 0.045), (255, 236, 140), 1.0, lit=True)


def draw_balloon(sketch, colour, rng):
    for x in (-0.1, 0.1):
        sketch.add(stroke(x, -0.16, x * 2.2, -0.42, 0.035), BROWN, 0.3, ink=False)
    outline = smooth((0, -1.12), (0.3, -1.02), (0.42, -0.76), (0.3, -0.5), (0.1, -0.33),
                     (-0.1, -0.33), (-0.3, -0.5), (-0.42, -0.76), (-0.3, -1.02))
    sketch.add(outline, colour, 1.0)
    pale = light(colour, 0.55) if colour != COLOURS["white"] else (196, 204, 220)
    for x in (-0.22, 0.22):
        sketch.add(smooth((x * 0.6, -1.08), (x * 1.5, -0.78), (x * 0.62, -0.36),
                          (x * 0.3, -0.36), (x * 0.75, -0.78)), pale, 1.0, ink=False)
    sketch.add(rectangle(-0.13, -0.18, 0.13, 0), BROWN, 0.8)
    sketch.add(rectangle(-0.15, -0.2, 0.15, -0.14), dark(BROWN, 0.3), 0.9, ink=False)


def draw_bird(sketch, colour, rng):
    for x in (-0.04, 0.1):
        sketch.add(stroke(x, -0.26, x + 0.03, 0, 0.05), (226, 140, 40), 0.3, ink=False)
    sketch.add(smooth((-0.3, -0.45), (-0.7, -0.5), (-0.66, -0.36), (-0.3, -0.3)),
               dark(colour, 0.35), 0.6)
    sketch.add(smooth((-0.4, -0.44), (-0.1, -0.62), (0.2, -0.72), (0.42, -0.56),
                      (0.3, -0.26), (0, -0.18), (-0.26, -0.26)), colour, 0.9)
    sketch.add(polygon((0.52, -0.84), (0.74, -0.74), (0.52, -0.7)), (246, 170, 50), 0.8)
    sketch.add(ellipse(0.36, -0.76, 0.22, 0.2), colour, 1.0)
    sketch.add(smooth((0.1, -0.3), (0.34, -0.5), (0.3, -0.3), (0.1, -0.22)),
               light(colour, 0.6), 0.9, ink=False)
    sketch.add(smooth((0.12, -0.54), (-0.14, -0.56), (-0.48, -0.36), (-0.12, -0.28),
                      (0.08, -0.38)), dark(colour, 0.25), 1.0)
    sketch.add(ellipse(0.43, -0.8, 0.06), (252, 252, 252), 1.0, ink=False, lit=True)
    sketch.add(ellipse(0.44, -0.8, 0.035), INK, 1.0, ink=False)


def draw_butterfly(sketch, colour, rng):
    pale = light(colour, 0.6) if colour != COLOURS["white"] else (186, 200, 226)
    for side in (-1, 1):
        sketch.add(smooth((side * 0.02, -0.46), (side * 0.34, -0.44), (side * 0.42, -0.2),
                          (side * 0.24, -0.06), (side * 0.08, -0.2)), dark(colour, 0.22),
                   0.8)
        sketch.add(smooth((side * 0.02, -0.56), (side * 0.3, -0.98), (side * 0.62, -0.94),
                          (side * 0.58, -0.6), (side * 0.24, -0.42)), colour, 1.0)
        sketch.add(ellipse(side * 0.4, -0.74, 0.12), pale, 1.0, ink=False)
        sketch.add(ellipse(side * 0.26, -0.24, 0.07), pale, 0.8, ink=False)
        sketch.add(stroke(0, -0.8, side * 0.14, -1.02, 0.045), INK, 0.5, ink=False)
    sketch.add(ellipse(0, -0.5, 0.06, 0.3), dark(BROWN, 0.4), 1.0)
    sketch.add(ellipse(0, -0.8, 0.08), dark(BROWN, 0.4), 1.0, ink=False)


DRAW = {name: globals()["draw_" + name] for name in SUBJECTS}
FLOATING = {"fish": 0.1, "balloon": 0.16, "butterfly": 0.14}
HEIGHT = {"house": 0.66, "castle": 0.55, "boat": 0.62, "tree": 0.63, "mountain": 0.64,
          "cat": 0.66, "fish": 0.68, "flower": 0.66, "car": 0.7, "balloon": 0.55,
          "bird": 0.6, "butterfly": 0.62}


def land(rng, setting, horizon, night, parts):
    """Adds the background from the horizon down."""
    def add(points, colour, ink=True, lit=False, relief=0.0):
        parts.append(Part(points, colour, "land", relief, ink, lit))

    def hills(y, height, colour, waves):
        x = np.linspace(-0.02, 1.02, 40)
        phase = rng.uniform(0, 2 * np.pi)
        top = y - height * np.sin(2 * np.pi * waves * x + phase)
        add(np.concatenate([np.stack([x, top], 1), polygon((1.02, 1.02), (-0.02, 1.02))]),
            colour)

    if setting == "field":
        hills(horizon, 0.05, (98, 168, 104), rng.uniform(0.8, 1.3))
        hills(horizon + 0.1, 0.03, (122, 188, 84), rng.uniform(0.6, 1.2))
        for _ in range(4):
            x, y = rng.uniform(0.04, 0.96), rng.uniform(horizon + 0.16, 0.95)
            add(ellipse(x, y, 0.022, count=12), (244, 232, 150), ink=False)
    elif setting == "sea":
        add(rectangle(-0.02, horizon, 1.02, 1.02), (46, 128, 172))
        add(rectangle(-0.02, horizon + 0.14, 1.02, 1.02), (36, 110, 158), ink=False)
        for _ in range(4):
            x, y = rng.uniform(0, 1), rng.uniform(horizon + 0.05, 0.97)
            length = rng.uniform(0.08, 0.14)
            add(ellipse(x, y, length, 0.012, count=14), (124, 186, 212), ink=False)
    elif setting == "desert":
        hills(horizon, 0.035, (222, 170, 104), rng.uniform(0.8, 1.4))
        hills(horizon + 0.11, 0.035, (238, 194, 126), rng.uniform(0.5, 1.1))
        for x in (rng.uniform(0.04, 0.16), rng.uniform(0.84, 0.96)):
            y, h = horizon + 0.1, rng.uniform(0.16, 0.24)
            green = (74, 132, 84)
            for dx, low, high in ((-0.055, 0.35, 0.7), (0.055, 0.45, 0.85)):
                add(stroke(x, y - h * low, x + dx, y - h * low, 0.03), green, ink=False)
                add(stroke(x + dx, y - h * low, x + dx, y - h * high, 0.032), green,
                    ink=False)
            add(stroke(x, y, x, y - h, 0.046), green, ink=False)
    elif setting == "snow":
        hills(horizon, 0.04, (206, 220, 236), rng.uniform(0.8, 1.3))
        for x in (rng.uniform(0.04, 0.18), rng.uniform(0.82, 0.96)):
            y, h = horizon + rng.uniform(0.05, 0.1), rng.uniform(0.24, 0.34)
            for step, tone in ((0.0, (52, 104, 96)), (0.32, (70, 124, 112))):
                add(polygon((x - h * 0.3 * (1 - step), y - h * step),
                            (x, y - h * (0.62 + step)),
                            (x + h * 0.3 * (1 - step), y - h * step)), tone, ink=False)
            add(polygon((x - h * 0.1, y - h * 0.7), (x, y - h * 0.94),
                        (x + h * 0.1, y - h * 0.7)), (244, 248, 252), ink=False)
        hills(horizon + 0.1, 0.025, (240, 245, 250), rng.uniform(0.5, 1.0))
    else:
        x = -rng.uniform(0, 0.08)
        while x < 1:
            width, height = rng.uniform(0.17, 0.23), rng.uniform(0.2, 0.42)
            tone = rng.uniform(-18, 18)
            add(rectangle(x, horizon - height, x + width, horizon + 0.04),
                (128 + tone, 132 + tone, 152 + tone))
            window = (255, 220, 110) if night else (182, 198, 216)
            for wy in np.arange(horizon - height + 0.05, horizon - 0.05, 0.115):
                for wx in (0.18, 0.57):
                    if not night or rng.random() < 0.7:
                        left = x + width * wx
                        add(rectangle(left, wy, left + 0.05, wy + 0.06), window,
                            ink=False, lit=True)
            x += width
        add(rectangle(-0.02, horizon, 1.02, 1.02), (150, 148, 152))
        add(rectangle(-0.02, horizon + 0.1, 1.02, 1.02), (96, 96, 106), ink=False)
        start = rng.uniform(-0.15, 0)
        for i in range(4):
            x = start + i * 0.36
            add(rectangle(x, 0.925, x + 0.2, 0.95), (222, 214, 184), ink=False)


def sky_parts(rng, scene, horizon, light_at, parts):
    """Adds sun or moon, stars and the extras."""
    def add(points, colour, ink=False, lit=True):
        parts.append(Part(points, colour, "sky", 0.0, ink, lit))

    x, y = light_at
    if scene.time == "night":
        for _ in range(8):
            add(ellipse(rng.uniform(0.02, 0.98), rng.uniform(0.03, horizon - 0.06),
                        rng.uniform(0.009, 0.014), count=8), (250, 246, 214))
        moon = np.concatenate([
            ellipse(x, y, 0.075, start=0.2, stop=0.8, count=24),
            ellipse(x + 0.045, y, 0.075, 0.073, start=0.7, stop=0.3, count=24)])
        add(moon, (252, 244, 206))
    else:
        add(ellipse(x, y, 0.105 if scene.time == "sunset" else 0.075),
            (255, 226, 132) if scene.time == "sunset" else (255, 244, 178), ink=True)
    if scene.extra == "rainbow":
        cx, cy, radius = 0.5 + rng.uniform(-0.1, 0.1), horizon + 0.06, 0.5
        bands = ((232, 92, 92), (250, 200, 100), (120, 196, 124), (120, 136, 214))
        for i, colour in enumerate(bands):
            outer, inner = radius - i * 0.038, radius - (i + 1) * 0.038
            arc = [ellipse(cx, cy, outer, start=0.5, stop=0.999, count=30),
                   ellipse(cx, cy, inner, start=0.999, stop=0.5, count=30)]
            add(np.concatenate(arc), colour, lit=False)
    elif scene.extra == "clouds":
        cloud = (250, 250, 252) if scene.time == "day" else (246, 206, 196)
        if scene.time == "night":
            cloud = (108, 116, 160)
        for cx in (rng.uniform(0.08, 0.35), rng.uniform(0.65, 0.92)):
            cy, s = rng.uniform(0.1, 0.22), rng.uniform(0.8, 1.2)
            bumps = [(cx + s * dx, cy + s * dy) for dx, dy in
                     ((-0.15, 0.02), (-0.1, -0.04), (-0.02, -0.075), (0.07, -0.055),
                      (0.15, 0.01), (0.1, 0.04), (-0.1, 0.04))]
            add(smooth(*bumps), cloud, ink=True)
    elif scene.extra == "birds":
        colour = (84, 84, 112) if scene.time != "night" else (176, 182, 212)
        for _ in range(3):
            bx, by = rng.uniform(0.08, 0.92), rng.uniform(0.06, 0.28)
            w = rng.uniform(0.05, 0.066)
            add(polygon((bx - w, by - w * 0.7), (bx, by), (bx + w, by - w * 0.7),
                        (bx, by + w * 0.42)), colour)


@dataclasses.dataclass(frozen=True)
class Geometry:
    """What the hands draw: parts from back to front, the light and the ground."""

    parts: list
    horizon: float
    light_at: tuple
    foot: tuple


def geometry(scene):
    rng = np.random.default_rng([scene.seed, 1])
    night = scene.time == "night"
    horizon = rng.uniform(0.58, 0.66)
    side = rng.choice((0.16, 0.84)) + rng.uniform(-0.06, 0.06)
    height = horizon - 0.05 if scene.time == "sunset" else rng.uniform(0.13, 0.19)
    light_at = (side, height)
    parts = []
    sky_parts(rng, scene, horizon, light_at, parts)
    land(rng, scene.setting, horizon, night, parts)

    size = HEIGHT[scene.subject] * rng.uniform(0.9, 1.12)
    x = rng.uniform(0.43, 0.57)
    y = rng.uniform(0.84, 0.9) - FLOATING.get(scene.subject, 0.0)
    if scene.subject == "mountain":
        y -= 0.08
    flip = -1 if rng.random() < 0.5 else 1
    foot = (x, min(y + FLOATING.get(scene.subject, 0.0), 0.92), size * 0.5)
    if scene.setting == "sea" and scene.subject not in ("boat", *FLOATING):
        parts.append(Part(ellipse(x, y + 0.015, size * 0.74, 0.075), (232, 206, 146),
                          "land"))
    sketch = Sketch(night)
    DRAW[scene.subject](sketch, COLOURS[scene.colour], rng)
    for part in sketch.parts:
        points = part.points * (flip * size, size) + (x, y)
        parts.append(dataclasses.replace(part, points=points))
    return Geometry(parts, horizon, light_at, foot)
