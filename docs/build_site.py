"""Gathers the pages of the site into build/docs: what zensical.toml then builds.

  python docs/build_site.py

Pages stay where people look for them in the repository (README.md, docs/, benchmarks/), so their links are
written for there. Here they move into one folder, and every file that a page links to comes along: the site
needs nothing beside it. Notebooks are run and become pages with their output. Each package gets a page of
the API reference.
"""

import os
import re
import shutil
import sys
from pathlib import Path
from posixpath import normpath, relpath

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "docs"

MOVED = {"README.md": "index.md", "docs": "."}
"""Places in the repository that have another place in the site; all others keep theirs."""

PAGES = ("README.md", "REPRODUCIBILITY.md", "CHANGELOG.md", "benchmarks/README.md")
"""Pages outside of docs/. What they link to comes along."""

LINK = r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^)\s#]*)(#[^)\s]*)?(\))"
CODE = r"^```.*?^```|`[^`\n]*`"
LINK_OR_CODE = re.compile(f"{CODE}|{LINK}", re.M | re.S)
"""Whichever begins first: code may stand in a link's text, and what looks like a link in code."""


def place_in_site(path: str) -> str:
    """Where a file of the repository lies in the site, both relative to their roots.

    Notebooks become Markdown pages.
    """
    for old, new in MOVED.items():
        if path == old:
            path = new
        elif path.startswith(f"{old}/"):
            path = normpath(f"{new}/{path.removeprefix(f'{old}/')}")
    return path.removesuffix(".ipynb") + ".md" if path.endswith(".ipynb") else path


def links_of(text: str) -> list[str]:
    """Targets of a page's links to files, as written, without those in code."""
    return [found[2] for found in LINK_OR_CODE.finditer(text) if found[2] and ":" not in found[2]]


def move_links(text: str, page: str) -> tuple[str, set[str]]:
    """Rewrites a page's links for its place in the site.

    Args:
      text: Markdown.
      page: its path in the repository.

    Returns:
      The text, and the files of the repository that it links to.

    Raises:
      FileNotFoundError: a link leads nowhere.
    """
    wanted = set()
    folder, here = str(Path(page).parent), str(Path(place_in_site(page)).parent)

    def moved(found: re.Match[str]) -> str:
        if found.group(1) is None:  # code
            return found.group()
        before, target, anchor, after = found.group(1), found.group(2), found.group(3) or "", found.group(4)
        if not target or ":" in target:
            return found.group()
        path = normpath(f"{folder}/{target}")
        if path.startswith("..") or not (ROOT / path).is_file():
            raise FileNotFoundError(f"{page} links to {target}, which is no file")
        wanted.add(path)
        return before + relpath(place_in_site(path), here) + anchor + after

    return LINK_OR_CODE.sub(moved, text), wanted


def all_pages() -> list[str]:
    """Markdown pages and notebooks of the site, as paths in the repository."""
    docs = [path for kind in ("*.md", "*.ipynb") for path in (ROOT / "docs").rglob(kind)]
    found = [path for path in docs if ".ipynb_checkpoints" not in path.parts]
    return [*PAGES, *sorted(path.relative_to(ROOT).as_posix() for path in found)]


def packages() -> dict[str, list[str]]:
    """The modules of every package of l2s_jax, and of its two files, by the name of their page."""
    home = ROOT / "l2s_jax"
    pages: dict[str, list[str]] = {}
    for path in sorted(home.rglob("*.py")):
        parts = path.relative_to(home).with_suffix("").parts
        if parts == ("__init__",):
            continue
        name = ".".join(("l2s_jax", *parts)).removesuffix(".__init__")
        pages.setdefault(parts[0], []).append(name)
    return pages


def api_page(package: str, modules: list[str]) -> str:
    """A package's page of the API reference: its sentence, and its modules one after the other."""
    root = f"l2s_jax.{package}"
    lines = [f"# {package}", "", f"::: {root}", "    options:", "      show_root_heading: false"]
    lines += ["      members: []"] if len(modules) > 1 else []
    for module in modules:
        if module != root:
            lines += ["", f"::: {module}", "    options:", "      show_root_full_path: true"]
    return "\n".join([*lines, ""])


def run_notebook(page: str, out: Path) -> tuple[str, set[str]]:
    """Runs a notebook in a folder of its own, and writes its pictures beside the page that it becomes.

    Returns:
      The page as Markdown, and the files of the repository that it links to.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbconvert import MarkdownExporter

    work = ROOT / "build" / "tutorials" / Path(page).stem
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    notebook, wanted = nbformat.read(ROOT / page, as_version=4), set()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source, linked = move_links(cell.source, page)
            wanted |= linked
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(work)}}).execute()
    folder = {"output_files_dir": f"{out.stem}_files"}
    text, resources = MarkdownExporter().from_notebook_node(notebook, folder)
    for name, content in resources["outputs"].items():
        (out.parent / name).parent.mkdir(exist_ok=True)
        (out.parent / name).write_bytes(content)
    return text, wanted


def main() -> None:
    """Writes build/docs anew."""
    # The notebooks' `l2s` is that of this environment, activated or not.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shutil.rmtree(OUT, ignore_errors=True)
    pages = all_pages()
    wanted = list(pages)
    done = set()
    while wanted:
        page = wanted.pop()
        if page in done:
            continue
        done.add(page)
        out = OUT / place_in_site(page)
        out.parent.mkdir(parents=True, exist_ok=True)
        if page.endswith((".ipynb", ".md")):
            notebook = page.endswith(".ipynb")
            text, linked = (
                run_notebook(page, out) if notebook else move_links((ROOT / page).read_text(), page)
            )
            out.write_text(text)
            wanted += linked
        else:
            shutil.copyfile(ROOT / page, out)
    shutil.copytree(ROOT / "docs" / "assets", OUT / "assets")
    for package, modules in packages().items():
        path = OUT / "api" / f"{package}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(api_page(package, modules))
    print(f"{len(pages)} pages and {len(packages())} of the API reference in {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
