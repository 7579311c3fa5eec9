import numpy as np

from audit.nulls import edge_maps, edge_mass_inside
from audit.types import BACKGROUND, FOREGROUND


def step(column, width=8):
    """A picture that is black up to a column and white from there on."""
    image = np.zeros((6, width, 3), dtype=np.float32)
    image[:, column:] = 1.0
    return image


def test_the_edge_of_a_step_is_at_the_step():
    edges = edge_maps(np.stack([step(4)]))[0]
    np.testing.assert_array_equal(edges.sum(axis=0) > 0, [0, 0, 0, 1, 1, 0, 0, 0])


def test_edge_mass_inside_is_where_the_step_is():
    foreground = np.full((3, 6, 8), BACKGROUND, dtype=np.uint8)
    foreground[:, :, :4] = FOREGROUND
    images = np.stack([step(2), step(4), step(6)])
    np.testing.assert_allclose(edge_mass_inside(images, foreground), [1.0, 0.5, 0.0])


def test_a_picture_without_edges_has_no_edge_null():
    foreground = np.full((1, 6, 8), BACKGROUND, dtype=np.uint8)
    foreground[:, 0] = FOREGROUND
    assert np.isnan(edge_mass_inside(np.full((1, 6, 8, 3), 0.5, dtype=np.float32), foreground))


def test_colours_of_one_luminance_have_weaker_edges_than_black_and_white():
    red_green = np.zeros((6, 8, 3), dtype=np.float32)
    red_green[:, :4, 0], red_green[:, 4:, 1] = 0.7152, 0.2126
    strengths = edge_maps(np.stack([red_green, step(4)])).max(axis=(1, 2))
    assert strengths[0] < 1e-3 < 0.5 < strengths[1]
