"""What is said of reliability is what was counted."""

from pathlib import Path

from soak.figures import Figures

ROOT = Path(__file__).parents[1]


def test_the_page_shows_the_figures_that_are_kept():
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    shown = page.split("<!-- table -->")[1].split("<!-- end of table -->")[0].strip()
    assert shown == Figures(ROOT / "soak" / "figures.json").report()


def test_figures_add_up_over_sittings(tmp_path):
    for kills in (3, 4):
        figures = Figures(tmp_path / "figures.json")
        figures.campaign("kills: train").add("kills", kills)
        figures.campaign("kills: train").fault("hangs", "train")
        figures.save()
    report = Figures(tmp_path / "figures.json").report()
    assert "**7 kills**" in report and "**2 faults**" in report and "| train | 7 | 2 |" in report
