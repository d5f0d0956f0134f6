"""Names of patients and slides that may mean the same one, though they are not the same text.

`TCGA-XX-0001` and its slide `TCGA-XX-0001-01Z-00-DX1` are one patient; so may be `020` and `20`, or `Case_7`
and `case 7`. Only people know; what is near is said to them.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

_SEPARATING = "PZC"
"""Unicode's categories of punctuation, spaces and control characters. Symbols (A+, A=) tell names apart."""


def near_names(a: str, b: str) -> bool:
    """Whether two different names may mean one patient or slide.

    They do where they are one but for case, Unicode form, separators or leading zeros, or where one is the
    beginning of the other up to a separator. `12` and `123` are not near, nor `1-1` and `11`.
    """
    if a == b:
        return False
    forms_a, forms_b = _forms(a), _forms(b)
    return forms_a[-1] in forms_b or forms_b[-1] in forms_a


def near_pairs(these: Iterable[str], those: Iterable[str]) -> list[tuple[str, str]]:
    """All pairs of a name of `these` and one of `those` that `near_names` finds, sorted.

    Takes time in proportion to the number of names and pairs, not to their product.
    """
    whole: dict[str, set[str]] = defaultdict(set)
    begun: dict[str, set[str]] = defaultdict(set)
    for name in set(those):
        forms = _forms(name)
        whole[forms[-1]].add(name)
        for form in forms:
            begun[form].add(name)
    pairs = set()
    for name in set(these):
        forms = _forms(name)
        near = begun[forms[-1]].union(*(whole[form] for form in forms if form in whole))
        pairs |= {(name, other) for other in near if other != name}
    return sorted(pairs)


def _forms(name: str) -> tuple[str, ...]:
    """What is left of a name, after what is left of each of its beginnings up to a separator."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    spaced = "".join(" " if unicodedata.category(letter)[0] in _SEPARATING else letter for letter in plain)
    words = [re.sub(r"(?<!\d)0+(?=\d)", "", word) for word in spaced.split()]
    if not words:
        return (plain,)
    # Two numbers stay apart: 1-1 is not 11.
    joined = [re.sub(r"(?<!\d) | (?!\d)", "", " ".join(words[: k + 1])) for k in range(len(words))]
    return tuple(joined)
