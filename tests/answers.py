"""Models as metrics see them: a score for each image, written in a line."""

import numpy as np


def linear(weights, bias=0.0):
    """The sum of weights (C, *space) times the image, plus a bias."""
    return lambda images: np.array([float((weights * image).sum()) + bias for image in images.astype(np.float64)])


def bumpy(images):
    """A score in which neighbours matter to each other; any number of space axes, about linear in nothing."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    wave = np.sin(np.arange(flat.shape[1]))
    return np.tanh((flat * wave).sum(axis=1) / 3) + (flat[:, 1:] * flat[:, :-1]).mean(axis=1)


def counted(answer):
    """The same answer, which notes how many images each call had."""
    calls = []

    def asked(images):
        calls.append(len(images))
        return answer(images)

    return asked, calls


def recorded(answer):
    """The same answer, and the images that it was asked about."""
    seen = []

    def asked(images):
        seen.extend(images)
        return answer(images)

    return asked, seen


SPACES = {"signal": (17,), "image": (6, 7), "volume": (3, 4, 5)}
"""One shape for each number of space axes."""


def example(space, channels=2, seed=0):
    """An image (C, *space) and a map (*space) without ties."""
    random = np.random.default_rng(seed)
    return random.normal(size=(channels, *space)).astype(np.float32), random.normal(size=space)
