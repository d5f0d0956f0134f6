"""The documents against each other and against the code: links, names, options, lengths."""

import ast
import re
import runpy
import tomllib
from typing import get_type_hints

import pytest

from helpers.pages import NAMES, ROOT, anchors, blocks, inline_code, links, text_of
from l2s_jax.cli.app import COMMANDS
from l2s_jax.config import TrainConfig
from l2s_jax.reports.confusions import COLUMN
from l2s_jax.reports.names import CELL, DEFAULT_METRICS, FACTS, REQUIRED

PACKAGE = ROOT / "l2s_jax"
NAV = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]

OTHER_OPTIONS = {
    "CHANGELOG.md": {"tf32"},
    "benchmarks/README.md": {"help"}.union(
        *(
            re.findall(r'add_argument\("--([a-z0-9-]+)"', text_of(f"benchmarks/{path.name}"))
            for path in (ROOT / "benchmarks").glob("*.py")
        )
    ),
    "docs/scale_out.md": {"gpus-per-task"},  # Slurm's
    "docs/training.md": {"help"},
}
"""Options in the texts that are not of `l2s`."""


def options_of_l2s():
    hints = {name for command in COMMANDS.values() for name in get_type_hints(command)}
    return {name.replace("_", "-") for name in hints | set(get_type_hints(TrainConfig))} | {"config"}


def pages_in(entry):
    """Pages of a part of the navigation, in order."""
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [page for part in parts for page in pages_in(part)]


def test_the_readme_is_short():
    assert len(text_of("README.md").splitlines()) <= 130


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    page = ROOT / name
    for path, anchor in links(name):
        target = page.parent / path if path else page
        assert target.exists(), f"{name} links to {path}"
        assert not anchor or anchor in anchors(target), f"{name} links to {path}#{anchor}"


@pytest.mark.parametrize("name", NAMES)
def test_options_exist(name):
    known = options_of_l2s() | OTHER_OPTIONS.get(name, set())
    code = inline_code(name) + [
        " ".join(words) for block in blocks(name) if block.language == "sh" for words in block.commands
        if words[0] == "l2s"
    ]  # fmt: skip
    for option in re.findall(r"(?<![\w-])--([a-z][a-z0-9-]*)", "\n".join(code)):
        assert option in known or option.removeprefix("no-") in known, f"{name}: --{option}"


def test_commands_in_texts_are_commands():
    for name in NAMES:
        for code in inline_code(name):
            words = code.split()
            if words[0] == "l2s" and len(words) > 1 and words[1].islower():
                two = " ".join(words[1:3])
                assert words[1] in COMMANDS or words[1] == "prepare", (name, code)
                assert words[1] != "prepare" or len(words) == 2 or two.split("|")[0] in COMMANDS, (name, code)


def test_every_package_has_its_row_and_its_page():
    rows = set(re.findall(r"^\| \d \| `([\w.]+)` \|", text_of("docs/architecture.md"), re.M))
    names = {path.name for path in PACKAGE.iterdir() if path.suffix in ("", ".py") and path.stem[0] != "_"}
    assert rows == names
    assert {f"api/{name.removesuffix('.py')}.md" for name in names} <= set(pages_in(NAV))
    for path in re.findall(r"`(\w+/[\w/]*\.py|\w+/)`", text_of("docs/architecture.md")):
        assert (PACKAGE / path).exists() or (ROOT / path).exists(), path


def test_every_page_is_in_the_navigation():
    pages = {name.removeprefix("docs/") for name in NAMES if name != "experiments/README.md"}
    assert {page for page in pages_in(NAV) if not page.startswith(("api/", "tutorials/"))} == {
        "index.md" if page == "README.md" else page for page in pages
    }


def test_the_api_page_has_every_public_name_where_it_lives():
    shown = re.findall(r"^::: ([\w.]+)$", text_of("docs/api.md"), re.M)
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text()).body
    homes = [
        f"l2s_jax.{node.module}.{node.names[0].name}" for node in stub if isinstance(node, ast.ImportFrom)
    ]
    assert sorted(shown) == sorted(homes)


def test_the_columns_of_a_table_of_results_are_those_that_are_read():
    named = set(re.findall(r"`(\w+)`", text_of("docs/results_table.md")))
    assert {
        *REQUIRED, *CELL, *FACTS, "group", "selection", "n_mask", *COLUMN.values(),
        DEFAULT_METRICS["segmentation"][0],
    } <= named  # fmt: skip


def test_every_claim_names_its_sweep_and_its_results():
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| \[", text_of("REPRODUCIBILITY.md"), re.M)
    assert len(rows) >= 12
    for row in rows:
        names = re.findall(r"`((?:ebhi|luad)\w*)`", row)
        assert names, row
        for name in names:
            assert (ROOT / "experiments" / f"{name}.toml").exists(), name
            assert (ROOT / "experiments" / "results" / name / "results.csv").exists(), name


def test_the_table_of_differences_is_whole():
    numbers = re.findall(r"^\| (\d+) \|", text_of("docs/paper_and_release.md"), re.M)
    assert [int(number) for number in numbers] == list(range(1, 74))


def test_links_move_with_their_page_and_code_stays():
    move_links = runpy.run_path(str(ROOT / "docs" / "build_site.py"))["move_links"]
    text = "[`l2s train`](docs/training.md#trackers) `[a](docs/api.md)` [two `x` words](docs/method.md)\n"
    fence = "```sh\n[b](docs/none.md)\n```\n"
    moved, wanted = move_links(text + fence, "README.md")
    assert moved == text.replace("](docs/training", "](training").replace("](docs/method", "](method") + fence
    assert wanted == {"docs/training.md", "docs/method.md"}
