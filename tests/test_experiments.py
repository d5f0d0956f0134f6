"""The sweeps in experiments/ are readable, and ask for what the paper did."""

import re
import tomllib
from pathlib import Path

import pytest

from l2s_jax.config import PRESETS
from l2s_jax.reports.aggregation import aggregate
from l2s_jax.reports.names import askable_columns
from l2s_jax.reports.paper_values import paper_dataset, paper_values
from l2s_jax.reports.reading import read_results
from l2s_jax.runs.config_file import read_config
from l2s_jax.sweeps.file import PERCENTS, SETTINGS, read_sweep
from l2s_jax.sweeps.plan import cells_of
from l2s_jax.sweeps.report import report

FILES = sorted((Path(__file__).parents[1] / "experiments").glob("*.toml"))
SWEEPS = [file for file in FILES if "name" in tomllib.loads(file.read_text())]
PAPER = {"bach": "ICIAR BACH 2018", "gleason2019": "Gleason2019", "digestpath2019": "DigestPath2019"}
STUDIES = {"": "segmentation", "_classification": "classification"}


RESULTS = Path(__file__).parents[1] / "experiments" / "results"
VALIDATED = {"metrics": ["macro_f1", "validation_score"]}
WITH_BACKGROUND = ["macro_f1", "validation_score", "f1_background"]
OPTIONS = {
    "ebhi": {},
    "ebhi_ten_draws": {"metrics": WITH_BACKGROUND, "against": ["labelset S+C", "round_1 S+C"]},
    "ebhi_class_weights": {"metrics": WITH_BACKGROUND, "against": ["inverse_1 S+C"]},
    "ebhi_share": {"metrics": WITH_BACKGROUND, "against": ["share_1 S+C", "labelset S+C"]},
    "ebhi_shift": {"metrics": WITH_BACKGROUND, "against": ["share_1 S+C", "labelset S+C", "moved_1 S+C"]},
}
"""With what the tables beside the results were made, where not with `VALIDATED`."""
PARTS_OF_DRAWS = ({0, 1}, set(range(10)), set(range(5, 10)), {*range(5), *range(10, 15)})
"""Draws that the documents also give means of: those of longer runs, the first ten, those on which options
were decided on validation, and those that took no part in that."""


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_every_sweep_is_read(file):
    sweep = read_sweep(file)
    assert sweep.name == file.stem and sweep.manifest is not None and list(cells_of(sweep))


@pytest.mark.parametrize("file", sorted(set(FILES) - set(SWEEPS)), ids=lambda file: file.stem)
def test_every_other_file_is_the_config_of_a_run(file):
    assert read_config(file, PRESETS["paper"]).weights == "random"


@pytest.mark.parametrize("dataset", [*PAPER, "ebhi_full", "phantom"])
@pytest.mark.parametrize("suffix", STUDIES)
def test_both_studies_of_every_data_set_are_whole(dataset, suffix):
    (file,) = (file for file in SWEEPS if file.stem == dataset + suffix)
    sweep, study = read_sweep(file), STUDIES[suffix]
    assert sweep.study == study and sweep.draws == (0, 1, 2, 3, 4)
    assert [(variant.name, variant.preset) for variant in sweep.variants] == [
        ("paper", "paper"),
        ("release", "release"),
    ]
    for variant in sweep.variants:
        assert variant.settings == SETTINGS[study] and variant.percents == PERCENTS[study]
        assert variant.config.select == "validation"
    assert sweep.variants[1].config.head == "max" and sweep.variants[1].config.routing == "all"
    indexed = dataset in ("gleason2019", "digestpath2019")
    assert sweep.variants[1].config.class_weights == ("index" if indexed else "inverse")
    # S at 0% is not run; the paper counts it.
    assert (
        len(list(cells_of(sweep))) == 2 * 5 * ({"segmentation": 3 * 14 - 1, "classification": 3 * 12}[study])
    )
    assert paper_dataset(sweep.dataset) == PAPER.get(dataset)
    assert len(paper_values(sweep.dataset, study)) == (
        {"segmentation": 84, "classification": 36}[study] if dataset in PAPER else 0
    )


@pytest.mark.parametrize("name", sorted(path.parent.name for path in RESULTS.glob("*/results.csv")))
def test_committed_tables_are_those_of_the_committed_results(name, tmp_path):
    folder = RESULTS / name
    report(folder, out=tmp_path, pictures=False, say=lambda line: None, **OPTIONS.get(name, VALIDATED))
    tables = [path.name for path in folder.glob("*.md")]
    assert "table_segmentation.md" in tables
    for table in tables:
        assert (tmp_path / table).read_text() == (folder / table).read_text(), table


def test_every_mean_in_the_documents_is_one_of_the_committed_results():
    known = set()
    for path in RESULTS.glob("*/results.csv"):
        cells = read_results(path.parent).cells
        for draws in (set(cells["draw"]), *PARTS_OF_DRAWS):
            chosen = cells[cells["draw"].isin(draws)]
            if len(chosen):
                means = aggregate(chosen, askable_columns(chosen))
                known |= {f"{100 * row.mean:.1f} ± {100 * row.sd:.1f}" for row in means.itertuples()}
    for document in ("README.md", "REPRODUCIBILITY.md"):
        written = re.findall(r"\d+\.\d ± \d+\.\d", (RESULTS.parents[1] / document).read_text())
        assert len(written) > 10 and not set(written) - known, document
