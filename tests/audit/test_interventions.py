"""Interventions on pictures of a few pixels, and what they say of classifiers that can be worked out by hand."""

import numpy as np
import pytest

import audit.interventions as interventions
from audit import plugins
from audit.errors import ConfigError
from audit.interventions import Aim, Donors, Link, Picture, Scope
from audit.interventions._controls import alike, elsewhere, further_in, nearest, shifted
from audit.interventions._fills import FILLS, MAX_INPAINTED, grown, laid_on, spread
from audit.interventions._scenes import scene
from audit.interventions.impose import Impose
from audit.interventions.keep_alone import KeepAlone
from audit.interventions.noise import Noise
from audit.interventions.normalise import Normalise
from audit.interventions.remove import Remove
from audit.interventions.swap_background import SwapBackground
from audit.interventions.thing_alone import ThingAlone
from audit.interventions.transplant import Transplant
from audit.properties.brightness import Brightness
from audit.properties.jpeg_blockiness import JpegBlockiness
from audit.properties.sharpness import Sharpness
from audit.types import BACKGROUND, FOREGROUND, IGNORE
from tests.classifiers import linear_classifier

SIDE = 16
GREY, RED, GREEN = 0.5, (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)
FACE, GARMENT = np.s_[1:5, 2:6], np.s_[9:15, 5:12]
PLAIN = {"grow": 0.0, "feather": 0.0}


def mask_of(*places):
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    for place in places:
        mask[place] = True
    return mask


def picture(*, face=None, background=GREY, garment=GREEN):
    """A garment on an even background, with a red face where one is asked for."""
    image = np.full((SIDE, SIDE, 3), background, dtype=np.float32)
    image[GARMENT] = garment
    region = mask_of(*([face] if face else []))
    image[region] = RED
    foreground = np.where(mask_of(GARMENT), FOREGROUND, BACKGROUND).astype(np.uint8)
    return Picture(image, foreground, region)


def unannotated(shown):
    return Picture(shown.image, np.full_like(shown.foreground, IGNORE), shown.region)


def donors_for(kind):
    """Donors with which every intervention works."""
    own = tuple(picture(face=FACE, background=level) for level in (0.3, 0.4))
    return Donors(own=own, other=tuple(picture(background=level) for level in (0.7, 0.8)))


def subject_of(kind):
    if plugins.find(interventions, kind).scope is Scope.PROPERTY:
        return aimed(picture(), Brightness(), 0.6)
    return picture() if kind == "transplant" else picture(face=FACE)


def aimed(shown, changed, target):
    """A picture whose property, measured outside of the object, is to be brought to a target."""
    return Picture(shown.image, shown.foreground, shown.foreground == BACKGROUND, Aim(changed, target))


def textured(seed=0, level=0.5, size=0.2):
    """A picture of even noise around a level, with the garment's mask."""
    noise = np.random.default_rng(seed).uniform(-size, size, (SIDE, SIDE, 1)) + np.zeros(3)
    return Picture((level + noise).astype(np.float32), picture().foreground, mask_of())


def brightness_of(image, where):
    return float((image @ np.array([0.299, 0.587, 0.114]))[where].mean())


def redness_classifier():
    """logit of the first class: redness less greenness, summed over the picture, over 16; of the second: 0."""
    weights = np.zeros((2, SIDE, SIDE, 3), dtype=np.float32)
    weights[0, ..., 0], weights[0, ..., 1] = 1 / 16, -1 / 16
    return linear_classifier(weights)


@pytest.mark.parametrize("seed", range(20))
def test_a_control_region_has_the_same_shape_and_covers_neither_object_nor_thing(seed):
    shape = np.eye(4, dtype=bool) | np.eye(4, dtype=bool)[::-1]
    region = np.zeros((SIDE, SIDE), dtype=bool)
    region[FACE] = shape
    blocked = mask_of(GARMENT) | region
    control = shifted(region, elsewhere(region, blocked, seed))
    assert control.sum() == region.sum() == 8
    assert not (control & blocked).any()
    rows, columns = np.nonzero(control)
    np.testing.assert_array_equal(
        control[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1], shape
    )


def test_a_control_is_drawn_from_all_places_that_are_free():
    # A bar of 16 x 15 fits only at the left and at the right of one more column.
    bar = mask_of(np.s_[:, :15])
    assert {elsewhere(bar, mask_of(), seed) for seed in range(20)} == {(0, 0), (0, 1)}


def test_the_same_seed_draws_the_same_control_and_others_draw_others():
    region = mask_of(FACE)
    drawn = [elsewhere(region, region, seed) for seed in range(10)]
    assert drawn == [elsewhere(region, region, seed) for seed in range(10)]
    assert len(set(drawn)) > 5


def test_a_matched_control_lies_as_near_to_the_object_as_the_thing():
    # The thing touches the wall at the left; so do 12 other places, and the nearest tenth are 18 of 186.
    wall, thing = mask_of(np.s_[:, 0]), mask_of(np.s_[1:3, 1:3])
    for seed in range(20):
        down, right = alike(thing, wall | thing, wall, seed)
        assert right in (0, 1)
        assert abs(down) >= 2


def test_without_an_object_every_place_is_alike():
    thing = mask_of(np.s_[1:3, 1:3])
    assert [alike(thing, thing, mask_of(), seed) for seed in range(9)] == [
        elsewhere(thing, thing, seed) for seed in range(9)
    ]


def test_without_room_there_is_no_control():
    assert elsewhere(mask_of(FACE), ~mask_of(np.s_[:3, :]), 0) is None
    assert nearest(mask_of(np.s_[:, :]), mask_of(np.s_[0, 0])) is None


def test_the_nearest_place_is_the_one_that_is_least_far():
    assert nearest(mask_of(FACE), mask_of(GARMENT)) == (0, 0)
    # Columns 2 to 5 are blocked up to column 3: two columns to the right are free.
    assert nearest(mask_of(FACE), mask_of(np.s_[:, :4])) == (0, 2)


def test_a_shape_without_pixels_is_a_wrong_call():
    with pytest.raises(ValueError, match="no pixel"):
        elsewhere(mask_of(), mask_of(), 0)


@pytest.mark.parametrize("shift", [(0, 0), (2, -1), (-3, 4), (20, 0)])
def test_shifting_moves_without_wrapping_round(shift):
    array = np.arange(1, SIDE * SIDE + 1).reshape(SIDE, SIDE)
    moved = shifted(array, shift)
    for row, column in ((0, 0), (7, 9), (15, 15)):
        source = (row - shift[0], column - shift[1])
        is_inside = all(0 <= place < SIDE for place in source)
        assert moved[row, column] == (array[source] if is_inside else 0)


@pytest.mark.parametrize("name", FILLS)
def test_a_fill_changes_nothing_outside_of_its_region_and_stays_within_the_range(name):
    image = np.random.default_rng(0).random((SIDE, SIDE, 3), dtype=np.float32)
    kept = image.copy()
    filled = FILLS[name](image, mask_of(FACE), mask_of(GARMENT), 3)
    np.testing.assert_array_equal(image, kept)
    np.testing.assert_array_equal(filled[~mask_of(FACE)], image[~mask_of(FACE)])
    assert (filled[FACE] != image[FACE]).any()
    assert (filled.min(), filled.max()) >= (0.0, 0.0)
    assert filled.max() <= 1.0


@pytest.mark.parametrize("name", ["inpaint", "mean", "patch"])
def test_on_an_even_background_a_fill_leaves_nothing_of_the_thing(name):
    shown = picture(face=FACE)
    filled = FILLS[name](shown.image, shown.region, shown.protected, 3)
    np.testing.assert_allclose(filled, picture().image, atol=1e-6)


def test_blurring_leaves_a_weaker_spot_of_the_colour():
    shown = picture(face=FACE)
    filled = FILLS["blur"](shown.image, shown.region, shown.protected, 3)
    redness = (filled[..., 0] - filled[..., 1])[FACE]
    assert 0 < redness.max() < 0.6


def test_inpainting_a_large_region_solves_for_few_pixels():
    image = np.full((128, 128, 3), 0.25, dtype=np.float32)
    region = np.zeros((128, 128), dtype=bool)
    region[20:100, 20:100] = True
    image[region] = 1.0
    assert region.sum() > 20 * MAX_INPAINTED
    np.testing.assert_allclose(FILLS["inpaint"](image, region, region & False, 0), 0.25, atol=1e-5)


def test_inpainting_continues_a_slope():
    slope = np.broadcast_to(np.linspace(0, 1, SIDE, dtype=np.float32)[:, None, None], (SIDE, SIDE, 3))
    holed = np.where(mask_of(GARMENT)[..., None], np.float32(0), slope)
    np.testing.assert_allclose(FILLS["inpaint"](holed, mask_of(GARMENT), mask_of(), 0), slope, atol=0.04)


def test_what_is_everything_cannot_be_filled():
    everything = mask_of(np.s_[:, :])
    image = picture().image
    assert [FILLS[name](image, everything, mask_of(), 0) for name in ("inpaint", "mean", "patch")] == [
        None
    ] * 3
    with pytest.raises(ValueError, match="nothing is left"):
        spread(image, everything)


def test_a_soft_edge_fades_out_and_spares_what_is_kept():
    black, white = np.zeros((1, 7, 3), dtype=np.float32), np.ones((1, 7, 3), dtype=np.float32)
    shape = np.array([[False, False, False, True, False, False, False]])
    kept = np.array([[False, False, False, False, True, True, True]])
    laid = laid_on(black, white, shape, 2, kept=kept)[0, :, 0]
    np.testing.assert_allclose(laid, [0, 1 / 3, 2 / 3, 1, 0, 0, 0], atol=1e-6)


def test_a_region_grows_by_a_share_of_its_side():
    # The side is 4, a half of it 2: 4 x 4 become 7 x 8 at the picture's edge.
    assert grown(mask_of(FACE), 0.5).sum() == 7 * 8
    assert grown(mask_of(FACE), 0.1).sum() == 16


@pytest.mark.parametrize("kind", plugins.names(interventions))
def test_every_intervention_keeps_the_contract(kind):
    intervention = plugins.find(interventions, kind)()
    subject, donors = subject_of(kind), donors_for(kind)
    before = [subject.image.copy(), *(d.image.copy() for d in (*donors.own, *donors.other))]
    variants = intervention(subject, donors, 5)
    for old, new in zip(before, (subject, *donors.own, *donors.other), strict=True):
        np.testing.assert_array_equal(old, new.image)
    assert 0 < len(variants) <= intervention.n_variants
    assert len({variant.fill for variant in variants}) == len(variants)
    for variant in variants:
        for image in (variant.after, variant.control):
            assert image is None or (image.dtype, image.shape) == (np.float32, subject.image.shape)
            assert image is None or (image.min() >= 0 and image.max() <= 1)
        assert bool(variant.reason) == (variant.after is None or variant.control is None)
    assert variants[0].after is not None
    assert variants[0].control is not None
    again = intervention(subject, donors, 5)
    for one, other in zip(variants, again, strict=True):
        np.testing.assert_array_equal(one.after, other.after)


@pytest.mark.parametrize("kind", plugins.names(interventions))
def test_what_cannot_be_made_says_why(kind):
    nothing = unannotated(picture())
    full = Picture(nothing.image, np.full((SIDE, SIDE), FOREGROUND, dtype=np.uint8), nothing.region)
    for shown in (nothing, full):
        for variant in plugins.find(interventions, kind)()(shown, Donors(), 0):
            assert variant.after is None
            assert variant.control is None
            assert variant.reason


@pytest.mark.parametrize("fill", FILLS)
def test_removing_touches_the_thing_alone_and_its_control_another_place(fill):
    shown = picture(face=FACE)
    noisy = Picture(
        np.random.default_rng(1).random(shown.image.shape, dtype=np.float32), shown.foreground, shown.region
    )
    (variant,) = Remove(fills=(fill,), **PLAIN)(noisy, Donors(), 2)
    changed, touched = ((image != noisy.image).any(axis=-1) for image in (variant.after, variant.control))
    np.testing.assert_array_equal(changed, shown.region)
    assert touched.sum() == shown.region.sum()
    assert not (touched & (shown.region | mask_of(GARMENT))).any()


@pytest.mark.parametrize("fill", FILLS)
def test_the_margin_and_the_soft_edge_never_touch_the_object(fill):
    close = picture(face=np.s_[7:9, 6:8])  # directly above the garment
    (variant,) = Remove(fills=(fill,), grow=0.4, feather=0.05)(close, Donors(), 2)
    np.testing.assert_array_equal(variant.after[GARMENT], close.image[GARMENT])


def test_without_room_for_a_control_the_thing_is_removed_all_the_same():
    wide = picture(face=np.s_[:9, :])
    for variant in Remove(fills=("mean", "inpaint"), **PLAIN)(wide, Donors(), 0):
        assert variant.after is not None
        assert variant.control is None
        assert variant.reason == "there is no room for a control region"


def test_the_effect_of_removing_is_what_the_weights_say():
    # 16 red pixels have the logit 16/16 = 1 more than grey ones, 42 green ones -42/16 in both.
    classifier, shown = redness_classifier(), picture(face=FACE)
    (variant,) = Remove(fills=("mean",), **PLAIN)(shown, Donors(), 0)
    before, after, control = classifier.logits(np.stack([shown.image, variant.after, variant.control]))[:, 0]
    np.testing.assert_allclose([before, after, control], [1 - 42 / 16, -42 / 16, 1 - 42 / 16], atol=1e-5)


def test_the_effect_of_pasting_is_what_the_weights_say():
    classifier, shown = redness_classifier(), picture()
    (variant,) = Transplant(**PLAIN)(shown, Donors(own=(picture(face=FACE),)), 0)
    after, control = classifier.logits(np.stack([variant.after, variant.control]))[:, 0]
    np.testing.assert_allclose([after, control], [1 - 42 / 16, -42 / 16], atol=1e-5)


def test_a_thing_is_pasted_where_the_donor_has_it_with_a_control_at_the_same_place():
    donor = picture(face=FACE, background=0.25)
    (variant,) = Transplant(**PLAIN)(picture(), Donors(own=(donor,)), 0)
    np.testing.assert_allclose(variant.after[FACE], np.broadcast_to(RED, (4, 4, 3)))
    np.testing.assert_allclose(variant.control[FACE], 0.25)
    for image in (variant.after, variant.control):
        np.testing.assert_array_equal(image[~mask_of(FACE)], picture().image[~mask_of(FACE)])


def test_a_thing_that_would_cover_the_object_is_pasted_beside_it():
    above = np.s_[5:9, 5:9]
    donor = Picture(
        picture(face=above).image,
        np.where(mask_of(np.s_[0:3, :]), FOREGROUND, BACKGROUND).astype(np.uint8),
        mask_of(above),
    )
    recipient = Picture(
        picture().image,
        np.where(mask_of(np.s_[5:16, 0:12]), FOREGROUND, BACKGROUND).astype(np.uint8),
        mask_of(),
    )
    (variant,) = Transplant(**PLAIN)(recipient, Donors(own=(donor,)), 0)
    changed = (variant.after != recipient.image).any(axis=-1)
    # Columns 5 to 8 would have to move seven to the right, rows 5 to 8 only four up.
    np.testing.assert_array_equal(changed, mask_of(np.s_[1:5, 5:9]))
    np.testing.assert_array_equal(variant.after[recipient.protected], recipient.image[recipient.protected])


def test_donors_are_tried_in_turn_until_one_fits():
    unfit = picture(face=np.s_[:9, :])  # no room for a control
    (variant,) = Transplant(**PLAIN)(picture(), Donors(own=(unfit, picture(face=FACE))), 0)
    np.testing.assert_allclose(variant.after[FACE], np.broadcast_to(RED, (4, 4, 3)))


def test_a_scene_has_no_trace_of_the_object_nor_of_its_outline():
    shown = picture()
    triangle = np.tri(SIDE, dtype=bool) & mask_of(np.s_[6:12, 3:12])
    image = np.where(triangle[..., None], np.float32(1), np.float32(GREY))
    foreground = np.where(triangle, FOREGROUND, BACKGROUND).astype(np.uint8)
    for each in (shown, Picture(np.broadcast_to(image, shown.image.shape), foreground, shown.region)):
        np.testing.assert_allclose(scene(each), GREY, atol=1e-6)


def test_behind_an_object_that_fills_the_picture_there_is_no_scene():
    large = Picture(
        picture().image, np.where(mask_of(np.s_[1:, :]), FOREGROUND, BACKGROUND).astype(np.uint8), mask_of()
    )
    assert scene(large) is None
    assert scene(unannotated(picture())) is None


def test_swapping_backgrounds_keeps_the_object_and_takes_the_control_from_its_own_class():
    donors = Donors(own=(picture(background=0.25),), other=(picture(background=0.75),))
    (variant,) = SwapBackground(feather=0.0)(picture(), donors, 0)
    np.testing.assert_allclose(variant.after, picture(background=0.75).image, atol=1e-6)
    np.testing.assert_allclose(variant.control, picture(background=0.25).image, atol=1e-6)


def test_keeping_alone_gives_the_background_against_another_and_the_object():
    background, object_ = KeepAlone(feather=0.0)(picture(), Donors(other=(picture(background=0.75),)), 0)
    np.testing.assert_allclose(background.after, GREY, atol=1e-6)
    np.testing.assert_allclose(background.control, 0.75, atol=1e-6)
    np.testing.assert_allclose(object_.after, picture().image, atol=1e-6)
    assert (background.fill, object_.fill, object_.control) == ("object", "background", None)
    assert KeepAlone.link is Link.REMARK


def test_an_unknown_fill_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="blur, inpaint, mean, patch; found"):
        Remove(fills=("magic",))


FRAME = np.s_[2:14, 2:14]


def framed(colour=RED):
    """A frame of two pixels around a picture whose object is four pixels wide."""
    image = np.full((SIDE, SIDE, 3), GREY, dtype=np.float32)
    frame = ~mask_of(FRAME)
    image[frame] = colour
    foreground = np.where(mask_of(np.s_[6:10, 6:10]), FOREGROUND, BACKGROUND).astype(np.uint8)
    return Picture(image, foreground, frame)


def test_the_control_of_a_frame_is_a_strip_of_its_size_beside_it():
    shown = framed()
    strip = further_in(shown.region, shown.protected, 0)
    # The frame has 256 - 144 = 112 pixels, the rings inside it 44, 36 and 28: four more are of the next.
    assert strip.sum() == shown.region.sum() == 112
    assert not (strip & (shown.region | shown.protected)).any()
    assert strip[2:5, 2:14].all()
    apart = further_in(shown.region, shown.protected, 1)
    assert not apart[2].any()
    assert apart[3, 3:13].all()


def test_without_half_as_many_free_pixels_a_frame_has_no_control():
    wide = mask_of(np.s_[:, :]) & ~mask_of(np.s_[4:12, 4:12])
    assert further_in(wide, mask_of(), 0) is None


def test_removing_a_frame_is_measured_against_its_strip():
    classifier, shown = redness_classifier(), framed()
    (variant,) = Remove(fills=("mean",), **PLAIN)(shown, Donors(), 0)
    before, after, control = classifier.logits(np.stack([shown.image, variant.after, variant.control]))[:, 0]
    # The 112 red pixels have the logit 7; the strip is grey and stays grey.
    np.testing.assert_allclose([before, after, control], [7, 0, 7], atol=1e-4)


def test_pasting_a_frame_is_measured_against_the_mirrored_margin():
    recipient = Picture(picture(background=0.25).image, framed().foreground, mask_of())
    (variant,) = Transplant(**PLAIN)(recipient, Donors(own=(framed(),)), 0)
    frame = framed().region
    np.testing.assert_allclose(variant.after[frame], np.broadcast_to(RED, (112, 3)))
    np.testing.assert_array_equal(variant.control[frame], recipient.image[:, ::-1][frame])
    np.testing.assert_array_equal(variant.control[~frame], recipient.image[~frame])


def test_a_thing_alone_is_measured_against_a_patch_alone():
    classifier = redness_classifier()
    by_fill = {v.fill: v for v in ThingAlone(**PLAIN)(picture(face=FACE), Donors(), 0)}
    assert set(by_fill) == {"mean", "blur"}
    after, control = classifier.logits(np.stack([by_fill["mean"].after, by_fill["mean"].control]))[:, 0]
    # Around the face 42 pixels are green and 198 grey, so their mean has the redness -42/240. The face adds its
    # 16 pixels of 1; the grey patch 16 of 0.
    np.testing.assert_allclose(
        [after, control], [(16 - 240 * 42 / 240) / 16, -240 * 42 / 240 / 16], atol=1e-5
    )
    assert ThingAlone.is_far


def test_swapping_makes_a_pair_of_every_two_donors():
    donors = Donors(
        own=tuple(picture(background=level) for level in (0.2, 0.3)),
        other=tuple(picture(background=level) for level in (0.7, 0.8, 0.9)),
    )
    first, second = SwapBackground(feather=0.0)(picture(), donors, 0)
    assert (first.fill, second.fill) == ("background", "background #2")
    np.testing.assert_allclose(second.after, picture(background=0.8).image, atol=1e-6)
    np.testing.assert_allclose(second.control, picture(background=0.3).image, atol=1e-6)


def test_noise_has_one_energy_on_the_object_and_around_it():
    shown = picture(garment=0.5)
    (variant,) = Noise(strength=0.02)(shown, Donors(), 4)
    energies = [np.square(image - shown.image).mean() for image in (variant.after, variant.control)]
    np.testing.assert_allclose(energies, 0.02**2, rtol=1e-3)
    changed = (variant.after != shown.image).any(axis=-1)
    np.testing.assert_array_equal(changed, shown.protected)
    np.testing.assert_array_equal((variant.control != shown.image).any(axis=-1), ~shown.protected)
    assert Noise.link is Link.REMARK


@pytest.mark.parametrize("kind", [Normalise, Impose])
def test_a_property_is_brought_to_its_target_and_its_control_as_far_the_other_way(kind):
    shown = aimed(textured(), Brightness(), 0.6)
    variant, around = kind()(shown, Donors(), 0)
    now = brightness_of(shown.image, shown.region)
    assert brightness_of(variant.after, shown.region) == pytest.approx(0.6, abs=1e-3)
    assert brightness_of(variant.control, shown.region) == pytest.approx(2 * now - 0.6, abs=1e-3)
    # The object is in the picture: it is lightened with the rest, but where the surroundings alone are changed.
    assert (variant.after[GARMENT] > shown.image[GARMENT]).all()
    for whole, spared in ((variant.after, around.after), (variant.control, around.control)):
        np.testing.assert_array_equal(spared[GARMENT], shown.image[GARMENT])
        np.testing.assert_array_equal(spared[shown.region], whole[shown.region])
    assert (variant.fill, around.fill) == ("whole picture", "surroundings")


def test_the_control_of_a_blur_is_as_much_sharper():
    shown = aimed(textured(), Sharpness(), 0.3)
    variant, _ = Normalise()(shown, Donors(), 0)
    np.testing.assert_allclose(variant.control - shown.image, shown.image - variant.after, atol=1e-6)


def test_what_cannot_be_sharpened_has_no_changed_picture():
    soft = np.full((SIDE, SIDE, 3), 0.0, dtype=np.float32) + np.linspace(0.2, 0.8, SIDE)[:, None, None]
    shown = aimed(Picture(soft.astype(np.float32), picture().foreground, mask_of()), Sharpness(), 0.9)
    (variant,) = Normalise()(shown, Donors(), 0)
    assert (variant.after, variant.control) == (None, None)
    assert variant.reason == "pixels cannot be changed that far"


def test_a_change_that_does_not_fit_the_other_way_has_no_control():
    # Twice as bright fits, black is too near for as much darker.
    shown = aimed(textured(level=0.12, size=0.1), Brightness(), 0.6)
    variant, _ = Normalise()(shown, Donors(), 0)
    assert brightness_of(variant.after, shown.region) == pytest.approx(0.6, abs=1e-3)
    # As much darker is black all over, a quarter of the change.
    assert variant.control is None
    assert variant.reason == "as large a change of another kind does not fit between black and white"


def test_the_control_of_compression_is_noise_of_its_size_without_blocks():
    rng = np.random.default_rng(0)
    image = np.clip(0.5 + np.cumsum(rng.normal(0, 0.01, (64, 64, 3)), axis=1), 0.1, 0.9).astype(np.float32)
    foreground = np.full((64, 64), BACKGROUND, dtype=np.uint8)
    foreground[24:40, 24:40] = FOREGROUND
    blocks = JpegBlockiness()
    shown = Picture(image, foreground, foreground == BACKGROUND, Aim(blocks, 1.0))
    variant, _ = Normalise()(shown, Donors(), 0)

    def blockiness(changed):
        return blocks.measure(np.rint(changed * 255).astype(np.uint8), None, shown.region)

    assert blockiness(image) < 0.3
    assert blockiness(variant.after) > 0.9
    assert blockiness(variant.control) < (0.3 + 1.0) / 2
    sizes = [np.abs(changed - image).mean() for changed in (variant.after, variant.control)]
    np.testing.assert_allclose(sizes[0], sizes[1], rtol=0.05)
