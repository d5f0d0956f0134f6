import numpy as np
import pytest
from skimage import measure

from l2s_jax.data.check import check_manifest
from l2s_jax.data.pictures import read_image, read_mask
from l2s_jax.phantom.brushes import enlarged, scattered_points, smooth_noise, stamp_ellipses
from l2s_jax.phantom.patches import CLASSES, draw_look, phantom_patch, phantom_slide, prepare_phantom
from l2s_jax.system.errors import UserError

SMALL = {"patches": 24, "patches_per_slide": 2, "patch_size": 32}


def bytes_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_phantom_is_a_valid_manifest(tmp_path):
    manifest = prepare_phantom(tmp_path / "p", **SMALL)
    report = check_manifest(tmp_path / "p")
    assert report.ok, report
    assert len(manifest.patches) == 24
    assert {row.split for row in manifest.patches} == {"train", "val", "test"}
    assert len(manifest.of_split("train")) == 12
    for row in manifest.patches:
        mask = read_mask(row.mask, manifest.classes)
        assert set(np.unique(mask)) <= {0, row.label}
        assert read_image(row.image).shape == (32, 32, 3) == (*mask.shape, 3)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        prepare_phantom(tmp_path / name, seed=seed, **SMALL)
    first, same, other = (bytes_of(tmp_path / name) for name in "abc")
    assert first == same
    pictures = [path for path in first if path.parts[0] == "images"]
    assert len(pictures) == 24 and all(first[path] != other[path] for path in pictures)


@pytest.mark.parametrize("share, masked", [(0.0, 0), (0.25, 3), (1.0, 12)])
def test_a_share_of_the_training_patches_keeps_its_masks(tmp_path, share, masked):
    manifest = prepare_phantom(tmp_path / "p", masks=share, **SMALL)
    train = manifest.of_split("train")
    assert sum(row.mask is not None for row in train) == masked
    assert all(row.mask is not None for row in manifest.patches if row.split != "train")
    assert len({row.label for row in train if row.mask is not None}) == min(masked, 3)
    assert len(list((tmp_path / "p" / "masks").iterdir())) == 12 + masked
    assert check_manifest(tmp_path / "p").ok


def test_masks_are_nested_in_their_share(tmp_path):
    kept = [
        {row.image.name for row in prepare_phantom(tmp_path / str(s), masks=s, **SMALL).patches if row.mask}
        for s in (0.2, 0.5, 0.9)
    ]
    assert kept[0] < kept[1] < kept[2]


@pytest.mark.parametrize(
    "option",
    [{"patches": 3}, {"patches_per_slide": 0}, {"patch_size": 100}, {"masks": 1.5}, {"overlap": -1.0}],
)
def test_options_out_of_range_are_named(tmp_path, option):
    with pytest.raises(UserError, match=next(iter(option))):
        prepare_phantom(tmp_path / "p", **{**SMALL, **option})
    assert not (tmp_path / "p").exists()


def test_a_folder_of_something_else_is_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        prepare_phantom(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def patches(label, count=6, overlap=0.0):
    return [phantom_patch(label, 128, overlap, (0, n), (0, n, label)) for n in range(count)]


def test_glands_differ_in_architecture():
    """Crypts are round, adenomas long, carcinomas fused into outlines that are far from convex."""

    def shape(label):
        glands = [
            gland
            for _, mask in patches(label)
            for gland in measure.regionprops(measure.label(mask == label))
            if gland.area > 200
        ]
        weights = [gland.area for gland in glands]
        return (
            np.average([gland.eccentricity for gland in glands], weights=weights),
            np.average([gland.solidity for gland in glands], weights=weights),
        )

    (round_, whole), (long, _), (_, ragged) = (shape(label) for label in (1, 2, 3))
    assert round_ < long - 0.05
    assert ragged < whole - 0.1


def test_colour_does_not_give_the_class_away():
    """Slides differ more in mean colour than the classes do."""
    colours = np.array([[image.mean(axis=(0, 1)) for image, _ in patches(label)] for label in (1, 2, 3)])
    between = colours.mean(axis=1).std(axis=0).max()
    assert between < colours.std(axis=1).mean()


def test_every_class_fills_a_fair_part_of_its_pictures():
    for label in (1, 2, 3):
        shares = [np.mean(mask == label) for _, mask in patches(label)]
        assert 0.3 < np.mean(shares) < 0.85
        assert min(shares) > 0.05


def test_patches_of_a_slide_share_its_stain():
    def colours(slide_seed):
        return np.array(
            [phantom_patch(1, 64, 0, slide_seed, (*slide_seed, n))[0].mean(axis=(0, 1)) for n in range(4)]
        )

    slides = np.stack([colours((0, slide)) for slide in range(6)])
    assert slides.std(axis=1).mean() < 0.5 * slides.mean(axis=1).std(axis=0).mean()


def test_stains_are_physical():
    for seed in range(50):
        look = draw_look(np.random.default_rng(seed))
        assert (look.stains >= 0).all() and (look.light <= 1).all() and look.blur > 0 and look.noise > 0


def test_a_slide_has_all_classes_and_white_glass():
    image, mask = phantom_slide((256, 384), seed=3, overlap=0)
    assert image.shape == (256, 384, 3) and image.dtype == np.uint8
    assert mask.shape == (256, 384) and mask.dtype == np.uint8
    assert set(np.unique(mask)) == set(range(len(CLASSES)))
    corners = np.concatenate([image[:8, :8].reshape(-1, 3), image[-8:, -8:].reshape(-1, 3)])
    assert corners.mean() > 225 and (mask[:8] == 0).all()
    again, _ = phantom_slide((256, 384), seed=3, overlap=0)
    np.testing.assert_array_equal(image, again)
    with pytest.raises(UserError, match="at least 32"):
        phantom_slide((16, 64), seed=0)


@pytest.mark.parametrize("sigma", [1.0, 2.2, 7.0, 30.0])
def test_noise_is_standard(sigma):
    fields = np.array([smooth_noise(np.random.default_rng(n), (200, 150), sigma) for n in range(40)])
    assert fields.shape == (40, 200, 150) and fields.dtype == np.float32
    # They hold 40 * 200 * 150 / (4 pi sigma^2) independent values, 100 at the widest: 3 sigma of the mean.
    assert abs(fields.mean()) < 0.3
    assert 0.7 < fields.std() < 1.1  # interpolation between coarse samples loses some


def test_enlarging_is_linear_interpolation():
    rows, cols = np.indices((6, 7), dtype=np.float32)
    field = 3 * rows - 2 * cols
    big = enlarged(field, 4, (20, 21))
    by_hand = (3 * np.arange(20)[:, None] - 2 * np.arange(21)) / 4
    np.testing.assert_allclose(big, by_hand, atol=1e-4)  # float32 weights


def test_points_are_evenly_scattered(rng):
    points = scattered_points(rng, (300, 200), 10, jitter=0.2)
    inside = ((points >= 0) & (points < (300, 200))).all(axis=1).sum()
    assert inside == pytest.approx(300 * 200 / (10 * 8.66), rel=0.1)


def test_an_ellipse_has_its_area_and_direction():
    canvas = np.zeros((81, 81), np.float32)
    stamp_ellipses(canvas, np.array([[40.0, 40.0]]), *(np.array([v]) for v in (20.0, 8.0, np.pi / 2, 0.7)))
    assert canvas.sum() / 0.7 == pytest.approx(np.pi * 20 * 8, rel=0.02)  # soft edges
    assert canvas[40, 22] > 0.6 > canvas[22, 40] == 0  # long along the columns
    stamp_ellipses(canvas, np.zeros((0, 2)), *4 * [np.zeros(0)])
    stamp_ellipses(
        canvas, np.array([[-500.0, 3.0], [2.0, 80.0]]), *(np.full(2, v) for v in (5.0, 5.0, 0.0, 1.0))
    )
    assert canvas[2, 80] == 1 and canvas[40, 0] == 0
