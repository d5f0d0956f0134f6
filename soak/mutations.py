"""Damaged inputs into every reader: the answer is a result or a `UserError`, nothing else."""

import faulthandler
import json
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from soak.figures import Counts
from soak.process import peak_mib
from soak.readers import READERS, Reader

BATCH = 250
"""Inputs a process: one that dies costs no more."""
SECONDS = 20
"""An input that takes longer hangs."""

NUMBERS = (
    b"nan",
    b"inf",
    b"-1",
    b"0",
    b"1e999",
    b"-0.0",
    b"99999999999999999999",
    b"1e-320",
    b"true",
    b"null",
    b'""',
)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """One to four changes: bits, bytes, chunks, ends, and numbers of texts."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        kind = rng.randrange(8)
        place = rng.randrange(len(data) + 1)
        length = min(rng.choice((1, 1, 2, 4, 16, 256)), len(data) - place)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1 and place < len(data):
            data[place] = rng.randrange(256)
        elif kind == 2:
            del data[place : place + length]
        elif kind == 3:
            data[place:place] = rng.randbytes(max(length, 1))
        elif kind == 4:
            data[place:place] = data[place : place + length]
        elif kind == 5:
            del data[rng.randrange(len(data) + 1) :]
        elif kind == 6:
            start, end = _number_near(data, place)
            data[start:end] = rng.choice(NUMBERS)
        else:
            other = rng.randrange(len(data) + 1)
            data[place : place + length] = data[other : other + length]
    return bytes(data)


def _number_near(data: bytearray, place: int) -> tuple[int, int]:
    """The digits at or after a place; nothing where there are none."""
    start = place
    while start < len(data) and not 48 <= data[start] <= 57:
        start += 1
    end = start
    while end < len(data) and (48 <= data[end] <= 57 or data[end] in b".eE+-"):
        end += 1
    return start, end


def feed(reader: Reader, seed: int, count: int) -> tuple[int, dict[str, list[str]]]:
    """Feeds `count` damaged inputs to a reader in this process.

    Returns:
      How many it read, the others being refused, and what went wrong, by kind.

    Raises:
      UserError: the input is refused before it is damaged, so that nothing would be tried.
    """
    from l2s_jax.system.errors import UserError

    def too_long(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, too_long)
    faults: dict[str, list[str]] = {"tracebacks": [], "hangs": [], "damage read as data": []}
    with tempfile.TemporaryDirectory() as folder:
        path = reader.make(Path(folder))
        content = path.read_bytes()
        sound, were_read = reader.read(path), 0
        expected = reader.value(sound) if reader.checksummed else None
        for number in range(count):
            data = mutated(content, random.Random(f"{reader.name} {seed} {number}"))
            path.write_bytes(data)
            where = f"{reader.name} seed {seed} number {number}"
            signal.alarm(SECONDS)
            try:
                result = reader.read(path)
                were_read += 1
                if reader.checksummed and data != content and reader.value(result) != expected:
                    faults["damage read as data"].append(where)
            except UserError:
                pass
            except TimeoutError:
                faults["hangs"].append(where)
            except Exception as error:
                faults["tracebacks"].append(f"{where}: {type(error).__name__}: {str(error)[:200]}")
            finally:
                signal.alarm(0)
    return were_read, faults


def campaign(reader: Reader, counts: Counts, rng: random.Random, count: int = BATCH) -> None:
    """One batch in a process of its own, so that a crash is seen and costs the batch only."""
    seed = rng.getrandbits(32)
    command = [sys.executable, "-m", "soak.mutations", reader.name, str(seed), str(count)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS * count, check=False)
    except subprocess.TimeoutExpired:
        counts.fault("hangs", f"{reader.name} seed {seed}")
        return
    if done.returncode != 0:
        counts.fault("crashes", f"{reader.name} seed {seed}: {done.returncode}: {done.stderr[-400:]}")
        return
    told = json.loads(done.stdout.splitlines()[-1])
    counts.add("mutated inputs", count)
    counts.add("of these read", told["read"])
    counts.most("peak MiB", told["peak_mib"])
    for kind, places in told["faults"].items():
        for place in places:
            counts.fault(kind, place)


def main() -> None:
    """One batch: `python -m soak.mutations READER SEED COUNT`; its faults as JSON on the last line."""
    faulthandler.enable()
    name, seed, count = sys.argv[1:]
    reader = next(one for one in READERS if one.name == name)
    were_read, faults = feed(reader, int(seed), int(count))
    print(json.dumps({"read": were_read, "faults": faults, "peak_mib": peak_mib()}))


if __name__ == "__main__":
    main()
