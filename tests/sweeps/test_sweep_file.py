import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2s_jax.config import PRESETS
from l2s_jax.sweeps.sweep_file import PERCENTS, read_sweep
from l2s_jax.system.errors import UserError


def written(folder, text):
    path = folder / "sweep.toml"
    path.write_text(text)
    return path


def test_the_default_is_the_papers_study(tmp_path):
    sweep = read_sweep(written(tmp_path, 'name = "mine"'))
    assert (sweep.study, sweep.draws, sweep.manifest) == ("segmentation", (0, 1, 2, 3, 4), None)
    (variant,) = sweep.variants
    assert variant.settings == ("S", "S+C", "S+C*") and variant.percents == PERCENTS["segmentation"]
    assert len(variant.percents) == 14 and variant.config == PRESETS["paper"]
    study = read_sweep(written(tmp_path, 'study = "classification"')).variants[0]
    assert study.settings == ("S2+C2", "S2+C2*", "S2*+C2") and len(study.percents) == 12


def test_variants_take_the_presets_the_shared_and_their_own_options(tmp_path):
    sweep = read_sweep(
        written(
            tmp_path,
            """
            draws = [3, 1]
            percents = [100, 5]
            [options]
            steps = 7
            [[variant]]
            name = "release"
            preset = "release"
            [[variant]]
            name = "slow"
            settings = ["S"]
            percents = [100]
            start_from = "release S"
            options = { steps = 70 }
            """,
        )
    )
    release, slow = sweep.variants
    assert sweep.draws == (3, 1)
    assert release.config.head == "max" and release.config.steps == 7 and release.percents == (5, 100)
    assert slow.config.steps == 70 and slow.settings == ("S",) and slow.percents == (100,)
    (source,) = slow.takes_from
    assert (source.option, source.variant, source.setting) == ("weights", "release", "S")
    assert release.takes_from == ()


FAULTS = {
    r'dataset = "a\nb"': "holds the control character U+000A",
    'nam = "x"': "unknown key 'nam'",
    "study = 'both'": "study = 'both' must be one of",
    "draws = 0": "draws = 0 must be how many",
    "draws = [1.5]": "must be how many",
    "percents = [101]": "numbers between 0 and 100",
    "percents = []": "numbers between 0 and 100",
    "[options]\nsteps = 'many'": "steps = 'many' must be",
    "[options]\npercent = 5": "option 'percent' is set by the sweep itself",
    "[[variant]]\nname = 'a'\n[[variant]]\nname = 'a'": "two variants are called 'a'",
    "[[variant]]\nname = '../a'": "name must be letters",
    "[[variant]]\nname = 'a'\npreset = 'papr'": "preset 'papr' is none of",
    "[[variant]]\nname = 'a'\nsettings = ['S2+C2']": "must list some of S, S+C, S+C*",
    "[[variant]]\nname = 'a'\nstep = 5": "variant 'a': unknown key 'step'",
    "[[variant]]\nname = 'a'\nstart_from = 'b'": "start_from = 'b' must be a variant and a setting",
    "[[variant]]\nname = 'a'\nstart_from = 'a S'": "start_from = 'a S', and no variant before it",
    "[[variant]]\nname = 'a'\n[[variant]]\nname = 'b'\npercents = [0, 3]\nstart_from = 'a S'": "at 0, 3%",
    "[[variant]]\nname = 'a'\nstart_from = 'a S'\noptions = { weights = 'random' }": "leave one out",
    "[[variant]]\nname = 'a'\nteacher = 'b S'": "variant 'a': teacher = 'b S', and no variant before it",
    "[[variant]]\nname = 'a'\noptions = { teacher_shift = 0.5 }": "variant 'a': teacher_shift: how",
    "variant = 5": "variant must be tables",
    "a = ": "is not valid TOML",
}


@pytest.mark.parametrize("text", FAULTS)
def test_faults_are_named(text, tmp_path):
    with pytest.raises(UserError) as caught:
        read_sweep(written(tmp_path, text))
    assert FAULTS[text] in str(caught.value) and "sweep.toml" in str(caught.value)


def test_all_faults_are_named_at_once(tmp_path):
    with pytest.raises(UserError) as caught:
        read_sweep(written(tmp_path, "nam = 1\ndraws = 0\npercents = [500]\n[options]\nrats = 1"))
    assert all(word in str(caught.value) for word in ("'nam'", "draws", "percents", "'rats'"))
    with pytest.raises(UserError, match="cannot read the sweep"):
        read_sweep(tmp_path / "absent.toml")


TOML = st.recursive(
    st.integers() | st.text(max_size=5) | st.booleans() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("name", "dataset", "manifest", "study", "draws", "percents", "options", "variant")


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), TOML))
def test_whatever_stands_in_it_it_is_read_or_refused(tmp_path_factory, table):
    import tomli_w

    path = tmp_path_factory.mktemp("any") / "sweep.toml"
    path.write_text(tomli_w.dumps(table), encoding="utf-8")
    try:
        assert read_sweep(path).variants
    except UserError as error:
        assert "sweep.toml" in str(error)
