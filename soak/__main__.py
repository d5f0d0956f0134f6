"""`python -m soak`: kills, damaged inputs and short room, by turns, for so many minutes; figures add up.

Outside CI. Figures go to soak/figures.json, which is committed, and as a table to the terminal.
"""

import argparse
import os
import platform
import random
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from soak.figures import Figures
from soak.kills import CASES, kill_once_more, make_reference
from soak.limits import lack_room
from soak.mutations import campaign
from soak.readers import READERS
from soak.workspace import make_workspace

HERE = Path(__file__).parent
KINDS = ("kills", "mutations", "limits")


def main() -> int:
    """Ends with 1 where this sitting met a fault."""
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, help="some kinds alone")
    parser.add_argument("--case", action="append", help="commands to kill, by name; all by default")
    parser.add_argument("--seed", type=int, help="random by default; kept with the figures")
    parser.add_argument("--figures", type=Path, default=HERE / "figures.json")
    parser.add_argument("--report", action="store_true", help="print the figures so far, and do nothing")
    asked = parser.parse_args()
    if asked.report:
        print(Figures(asked.figures).report())
        return 0
    seed = asked.seed if asked.seed is not None else random.SystemRandom().getrandbits(32)
    rng = random.Random(seed)
    figures = Figures(asked.figures)
    before = _faults(figures)
    end = time.monotonic() + asked.minutes * 60
    figures.sittings.append(_sitting(seed, asked.minutes))
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        os.environ.setdefault("L2S_CACHE", str(Path(folder) / "cache"))
        work = make_workspace(Path(folder))
        os.environ["SOAK_RUN"] = str(work.trained)
        cases = [case for case in CASES if not asked.case or case.name in asked.case]
        needed = cases if {*asked.only} - {"mutations"} else []
        references = {case.name: make_reference(case, work) for case in needed}
        for turn in _turns(asked.only, cases, figures, work, references, rng):
            for _ in turn:
                figures.save()
                if time.monotonic() > end:
                    break
            if time.monotonic() > end:
                break
    figures.save()
    print(figures.report())
    return int(_faults(figures) > before)


def _turns(only, cases, figures, work, references, rng) -> Iterator[Iterator[None]]:  # type: ignore[no-untyped-def]
    """Campaigns by turns, without end; of the commands, the one that has had the least time."""
    spent = {case.name: 0.0 for case in cases}
    while True:
        if "kills" in only:
            for _ in cases:
                case = min(cases, key=lambda one: spent[one.name])
                counts, began = figures.campaign(f"kills: {case.name}"), time.monotonic()
                yield kill_once_more(case, work, references[case.name], counts, rng)
                spent[case.name] += time.monotonic() - began
        if "mutations" in only:
            for reader in READERS:
                campaign(reader, figures.campaign(f"damage: {reader.name}"), rng)
                yield iter((None,))
        if "limits" in only:
            yield lack_room(work, references, figures.campaign("short room"), rng)


def _faults(figures: Figures) -> int:
    return sum(len(words) for counts in figures.campaigns.values() for words in counts.faults.values())


def _sitting(seed: int, minutes: float) -> dict[str, object]:
    import jax

    from l2s_jax import __version__

    return {
        "date": datetime.now(UTC).date().isoformat(),
        "minutes": minutes,
        "seed": seed,
        "l2s_jax": __version__,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "cpus": os.cpu_count(),
    }


if __name__ == "__main__":
    raise SystemExit(main())
