"""Reading a trained network back from its run folder."""

import hashlib
from pathlib import Path

import jax
import numpy as np

from l2s_jax.models.forward import Network
from l2s_jax.models.network import L2S, zero_variables
from l2s_jax.runs import checkpoints
from l2s_jax.runs.folder import BEST, NetworkFacts, read_network_facts, read_run_classes


def load_network(folder: str | Path) -> tuple[Network, NetworkFacts]:
    """The best network of a run folder, ready for `forward.make_forward`.

    Raises:
      UserError: the folder is no run, has no checkpoint yet, or its weights are damaged.
    """
    folder = Path(folder)
    facts = read_network_facts(folder)
    classes = read_run_classes(folder)
    model = L2S(len(classes), facts.head, decoder=facts.decoder)  # type: ignore[arg-type]
    items, _, _ = checkpoints.load(folder / BEST, {"variables": zero_variables(model)})
    mean, std = np.asarray(facts.mean, np.float32), np.asarray(facts.std, np.float32)
    return Network(model, items["variables"], mean, std), facts


def network_digest(network: Network) -> "hashlib._Hash":
    """SHA-256 of a network's weights and scaling, to be read or gone on with."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves((network.variables, network.mean, network.std)):
        digest.update(np.asarray(leaf).tobytes())
    return digest
