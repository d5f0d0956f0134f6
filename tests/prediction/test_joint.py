"""What several networks say together, against its definition in plain NumPy."""

import numpy as np
import pytest
from scipy import stats

from helpers.ensembles import plain_joint, softmax
from helpers.forward import fake_forward
from l2s_jax.models.network import Outputs
from l2s_jax.prediction.ensemble_figures import MemberTally, member_figures, member_lines
from l2s_jax.prediction.joint import (
    by_network,
    in_bytes,
    joint,
    joint_answer,
    mean_label,
    most_likely,
    own_answers,
    picture_joint,
)
from l2s_jax.prediction.judging import Picture, judge_one
from l2s_jax.prediction.own_shares import own_shares, too_few_text
from l2s_jax.prediction.slides.finishing import scaled_entropy
from l2s_jax.prediction.tiles import Answer
from l2s_jax.prediction.views import VIEWS, mean_over_turns, with_views
from l2s_jax.system.errors import UserError


def test_equals_plain_numpy_on_each_networks_own_probabilities(rng):
    logits = rng.normal(0, 4, (5, 4, 300)).astype(np.float32)
    temperatures = (1.0, 0.5, 2.0, 1.3, 7.0)
    own = [softmax(one.T / t) for one, t in zip(logits, temperatures, strict=True)]
    mean, entropy, mutual = plain_joint(own)
    said = joint(logits, temperatures)
    np.testing.assert_allclose(said.probabilities.T, mean, atol=1e-6)
    np.testing.assert_allclose(said.entropy, entropy, atol=2e-6)
    np.testing.assert_allclose(said.entropy, stats.entropy(mean, axis=-1), atol=2e-6)
    np.testing.assert_allclose(said.mutual_information, mutual, atol=4e-6)
    np.testing.assert_array_equal(said.codes, mean.argmax(-1))
    np.testing.assert_array_equal(said.own_codes, logits.argmax(1))
    assert (said.codes != logits.mean(0).argmax(0)).any()  # the mean of logits is something else
    assert said.mutual_information.min() >= 0 and mutual.max() > 0.3


def test_mutual_information_is_of_disagreement_and_not_of_doubt():
    unsure = np.zeros((3, 2, 1), np.float32)
    sure_of_one = np.array([[[50.0], [0.0]]] * 3, np.float32)
    apart = np.array([[[50.0], [0.0]], [[0.0], [50.0]]], np.float32)
    found = [joint(one, (1.0,) * len(one)) for one in (unsure, sure_of_one, apart)]
    assert [float(one.mutual_information[0]) for one in found] == pytest.approx([0, 0, np.log(2)], abs=1e-6)
    assert [float(one.entropy[0]) for one in found] == pytest.approx([np.log(2), 0, np.log(2)], abs=1e-6)


def test_one_network_says_together_what_it_says(rng):
    logits = rng.normal(0, 3, (1, 5, 90)).astype(np.float32)
    said = joint(logits, (2.0,))
    np.testing.assert_allclose(said.probabilities.T, softmax(logits[0].T / 2), atol=1e-6)
    assert said.mutual_information.max() < 1e-6
    plain = scaled_entropy(logits[0].T / 2).astype(int)
    assert abs(in_bytes(said.entropy, 5).astype(int) - plain).max() <= 1


def test_the_first_of_equals_is_the_most_likely(rng):
    values = rng.integers(0, 3, (2, 4, 500)).astype(np.float32)
    np.testing.assert_array_equal(most_likely(values), values.argmax(1))
    assert most_likely(np.zeros((3, 0), np.float32)).shape == (0,)


def test_classes_of_one_network_stand_side_by_side(rng):
    each = rng.normal(size=(3, 6, 7, 2)).astype(np.float32)
    logits, labels = np.concatenate(list(each), -1), rng.normal(size=6).astype(np.float32)
    np.testing.assert_array_equal(by_network(logits, 3), np.moveaxis(each, -1, 1))
    mean, entropy, mutual = plain_joint(softmax(each))
    said = picture_joint(logits, (1.0,) * 3)
    np.testing.assert_allclose(np.moveaxis(said.probabilities, 0, -1), mean, atol=1e-6)
    np.testing.assert_allclose(said.entropy, entropy, atol=1e-6)
    np.testing.assert_allclose(said.mutual_information, mutual, atol=2e-6)
    assert said.codes.shape == (6, 7) and said.own_codes.shape == (3, 6, 7)
    of_labels = softmax(labels.reshape(3, 2)).mean(0)
    np.testing.assert_allclose(mean_label(labels, 3), of_labels, atol=1e-6)
    answer, _ = joint_answer(Answer(logits, labels, 8), (1.0,) * 3)
    np.testing.assert_allclose(softmax(answer.logits), mean, atol=1e-6)
    np.testing.assert_allclose(softmax(answer.class_logits), of_labels, atol=1e-6)
    assert answer.cell == 8
    for one, own in zip(own_answers(Answer(logits, labels, 8), 3), each, strict=True):
        np.testing.assert_array_equal(one.logits, own)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_views_give_the_mean_of_their_probabilities_at_the_temperature(temperature, rng):
    images = rng.integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    looked = with_views(fake_forward, "turns", temperature, 32)(images)
    each = []
    for turns, flip in VIEWS:
        seen = np.stack([np.rot90(image, turns)[:, ::flip] for image in images])
        chances = softmax(fake_forward(seen).coarse_logits / temperature)
        each.append(np.stack([np.rot90(one[:, ::flip], -turns) for one in chances]))
    # Of logits up to 255 the least likely classes have the smallest numbers that float32 can tell.
    np.testing.assert_allclose(softmax(looked.coarse_logits / temperature), np.mean(each, 0), atol=1e-5)
    np.testing.assert_allclose(looked.class_logits, fake_forward(images).class_logits, rtol=1e-5)
    assert with_views(fake_forward, "one", temperature, 32) is fake_forward


def test_shifted_views_look_25_times(rng):
    seen = []

    def counting(images):
        seen.append(len(images))
        return fake_forward(images)

    images = rng.integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    looked = with_views(counting, "shifts", 1.0, 32)(images)
    assert (
        len(seen) == 25 and looked.coarse_logits.shape == (2, 4, 4, 3) and looked.class_logits.shape == (2, 3)
    )
    assert np.isfinite(looked.coarse_logits).all()
    with pytest.raises(UserError, match="32 pixels or more, not of 16"):
        with_views(fake_forward, "shifts", 1.0, 16)


def test_turned_views_of_what_is_the_same_from_all_sides_change_nothing():
    def flat(images):
        logits = np.tile(np.float32([3, 1, 0]), (len(images), 2, 2, 1))
        return Outputs(logits, logits.mean((1, 2)))

    mean = mean_over_turns(flat, np.zeros((1, 16, 16, 3), np.uint8), 2.0)
    np.testing.assert_allclose(mean[0, 0, 0], softmax(np.array([1.5, 0.5, 0])), atol=1e-6)


def test_an_interval_says_where_one_more_run_would_lie():
    found = own_shares([2.0, 3.0, 4.0, 5.0, 6.0], 4.2)
    assert (found["together"], found["n"], found["mean"], found["ddof"]) == (4.2, 5, 4, 1)
    assert (found["lowest"], found["highest"]) == (2, 6) and found["sd"] == pytest.approx(2.5**0.5)
    half = 2.7764451 * 2.5**0.5 * 1.2**0.5  # t(4) at 97.5%
    assert found["next_high"] == pytest.approx(4 + half) and found["next_low"] == 0 > 4 - half
    assert own_shares([0.7, 0.8, 0.9], 0.8, 1.0)["next_high"] == 1
    for few in ([1.0], [1.0, 2.0]):
        assert np.isnan([own_shares(few, 1.0)[end] for end in ("next_low", "next_high")]).all()
    assert "no interval is given for 2 runs" in too_few_text(2) and not too_few_text(3)


def test_intervals_hold_one_more_run_as_often_as_they_say(rng):
    draws = rng.normal(10, 1, (2000, 6))
    ends = [own_shares(row[:5].tolist(), 0.0) for row in draws]
    inside = [one["next_low"] < row[5] < one["next_high"] for one, row in zip(ends, draws, strict=True)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)


def test_doubt_is_said_of_wrong_and_of_right_pixels(rng):
    """Cells of 8 pixels, of which each pixel counts for itself; unknown ones do not."""
    logits = rng.normal(0, 2, (4, 4, 6)).astype(np.float32)
    mask = rng.integers(0, 3, (32, 32)).astype(np.uint8)
    mask[:5] = 255
    picture = Picture(None, np.zeros((32, 32, 3), np.uint8), mask)
    together = Answer(logits, np.zeros(6, np.float32), 8)
    answer, said = joint_answer(together, (1.0, 1.0))
    tally = MemberTally(2, 3)
    alone = [judge_one(picture, one, 3) for one in own_answers(together, 2)]
    tally.add(picture, answer, said, alone)
    tally.add(picture._replace(mask=None), answer, said, [])
    found = member_figures(tally, ["a", "b"])
    known, codes = mask != 255, answer.codes()
    mean, entropy, mutual = plain_joint(softmax(np.stack(np.split(logits, 2, -1))))
    np.testing.assert_array_equal(codes, mean.argmax(-1).repeat(8, 0).repeat(8, 1))
    for name, values in (("mutual_information", mutual), ("predictive_entropy", entropy)):
        of_pixels = values.repeat(8, 0).repeat(8, 1)
        for which, where in (("right", known & (codes == mask)), ("wrong", known & (codes != mask))):
            assert found["doubt"][name][which] == pytest.approx(of_pixels[where].mean(), rel=1e-4)
            assert found["doubt"][f"pixels_{which}"] == where.sum()
    share = [
        (one.argmax(-1).repeat(8, 0).repeat(8, 1) == mask)[known].mean() for one in np.split(logits, 2, -1)
    ]
    assert [one["accuracy"] for one in found["runs"]] == pytest.approx(share)
    assert found["spread"]["accuracy"]["n"] == 2 and found["spread"]["accuracy"]["ddof"] == 1
    assert any("over 2 runs (sd, ddof 1)" in line for line in member_lines(found))
