#!/usr/bin/env bash
# Guess: Grain's DataLoader with the same seed gives the same batches with any number of workers; the last batch of an
#   epoch is the only short one; and processes share the shuffled data.
# What happens: each worker batches its own share. With 2 or 3 workers other rows are together, each worker's last
#   batch may be short, and `drop_remainder` loses up to a batch for each: 6 rows of 22 in place of 2. With several
#   epochs a batch runs over the end of one, and may hold a row twice. And each of several processes shuffles one
#   contiguous run of rows, in every epoch the same run.
# Why it matters here: rows are written slide by slide, so that each process would learn from its own patients only; a
#   run is not repeated by its seed where the number of workers differs; and figures of a validation lose rows.
# Seen: 2026-12-01, grain 0.2.18, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'grain==0.2.18' 'numpy==2.4.6'
seen <<'TEXT'
workers 0: sizes [4, 4, 4, 4, 4, 2], 6 of 6 batches hold the same rows as with 0; drop_remainder loses 2 rows
workers 1: sizes [4, 4, 4, 4, 4, 2], 6 of 6 batches hold the same rows as with 0; drop_remainder loses 2 rows
workers 2: sizes [4, 4, 4, 4, 3, 3], 0 of 6 batches hold the same rows as with 0; drop_remainder loses 6 rows
workers 3: sizes [4, 4, 4, 4, 3, 3], 0 of 6 batches hold the same rows as with 0; drop_remainder loses 6 rows
two epochs: 1 batch holds a row twice
process 0 of 2, three epochs: rows 0 to 10, 11 of them
process 1 of 2, three epochs: rows 11 to 21, 11 of them
TEXT
observe <<'PYTHON'
from absl import flags
from grain.python import Batch, DataLoader, IndexSampler, NoSharding, ShardOptions

ROWS, BATCH = 22, 4


class Rows:
    def __len__(self):
        return ROWS

    def __getitem__(self, row):
        return int(row)


def batches(workers=0, drop=False, epochs=1, shard=None):
    sampler = IndexSampler(
        num_records=ROWS, shuffle=True, seed=3, num_epochs=epochs, shard_options=shard or NoSharding()
    )
    operations = [Batch(batch_size=BATCH, drop_remainder=drop)]
    loader = DataLoader(data_source=Rows(), sampler=sampler, operations=operations, worker_count=workers)
    return [batch.tolist() for batch in loader]


if __name__ == "__main__":
    flags.FLAGS.mark_as_parsed()  # as absl's `app.run` does
    alone = {frozenset(batch) for batch in batches()}
    for workers in (0, 1, 2, 3):
        found = batches(workers)
        same = sum(frozenset(batch) in alone for batch in found)
        lost = ROWS - sum(map(len, batches(workers, drop=True)))
        print(f"workers {workers}: sizes {[len(batch) for batch in found]},", end=" ")
        print(f"{same} of {len(found)} batches hold the same rows as with 0; drop_remainder loses {lost} rows")
    twice = [batch for batch in batches(epochs=2) if len(set(batch)) < len(batch)]
    print(f"two epochs: {len(twice)} batch holds a row twice")
    for index in range(2):
        found = batches(epochs=3, shard=ShardOptions(shard_index=index, shard_count=2))
        rows = sorted({row for batch in found for row in batch})
        print(f"process {index} of 2, three epochs: rows {rows[0]} to {rows[-1]}, {len(rows)} of them")
PYTHON
