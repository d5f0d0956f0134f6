"""SimCLR for our encoder: what pretrain.py trains (Chen et al. 2020, doi:10.48550/arXiv.2002.05709).

Two views of each picture, made in the step, have to find each other among the views of a batch (NT-Xent).
What is other than in the paper, since a set has hundreds of pictures and not a million:

- A view is a square of a quarter to all of the picture's area, drawn at three quarters of its side. So its
  magnification is 0.75 to 1.5 times the picture's, about the one that the network will see, and a step costs
  half as much.
- Turns and flips, and the colour jitter of our own training, and grey in a fifth of the views. No blur: views
  have some 48 pixels a side.
- Temperature 0.5, the paper's best for small pictures and batches (Appendix B.9). A low one would push views
  apart most that look alike, and of a few hundred pictures those are of one class or of one slide.
- A batch has no picture twice: it would be told from itself.
"""

import json
import math
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from l2s_jax.data.manifest import read_manifest, straddling_groups
from l2s_jax.data.patch_set import load_patches
from l2s_jax.models.encoder import Encoder
from l2s_jax.models.network import normalise
from l2s_jax.models.state_dict import variables_to_state_dict
from l2s_jax.runs import checkpoints
from l2s_jax.runs.weights_file import write_safetensors
from l2s_jax.system.errors import UserError
from l2s_jax.system.progress import track
from l2s_jax.system.stopping import Stopped, stop_requests
from l2s_jax.train_step.augment import GREY, colour_jitter, random_dihedral
from l2s_jax.training.plan import IMAGENET_MEAN, IMAGENET_STD
from l2s_jax.types import IGNORE_LABEL, PATCH_MULTIPLE, fits_network

LEAST_AREA = 0.25
"""Of a picture, in a view."""
GREY_SHARE = 0.2
"""Of the views."""
TEMPERATURE = 0.5
RATE = 1e-3
"""Adam's first step size, which a half cosine takes to zero."""
HIDDEN, PROJECTED = 256, 128
"""Features in the projection head and after it."""
SAY_EVERY, SAVE_EVERY = 50, 200
"""Steps."""
NOTE = "pretraining"
"""Under which the file of an encoder says how it was made."""


@dataclass(frozen=True)
class Pretraining:
    """How an encoder is pretrained."""

    steps: int
    batch: int = 64  # pictures a step, each in two views; all there are, where those are fewer
    seed: int = 0
    temperature: float = TEMPERATURE
    rate: float = RATE


class Contrast(nn.Module):
    """Encoder and projection head: normalised RGB [B,H,W,3] to f32[B,128]."""

    @nn.compact
    def __call__(self, image, train=True):
        """Runs both."""
        rows = jnp.ones(image.shape[0], bool)
        features = Encoder(name="encoder")(image, rows, train).layer3.mean((1, 2))
        return nn.Dense(PROJECTED, name="projection")(nn.relu(nn.Dense(HIDDEN, name="hidden")(features)))


class State(NamedTuple):
    """Everything that a step reads and writes."""

    step: Any  # i32, steps taken
    params: Any
    batch_stats: Any
    opt_state: Any  # Adam's moments
    key: Any  # of the views; folded with the step, never advanced


def optimizer_of(config):
    """Adam, at a rate that falls to zero along a half cosine."""
    return optax.adam(optax.cosine_decay_schedule(config.rate, config.steps))


def first_state(config):
    """Random weights of a seed."""
    init_key, view_key = jax.random.split(jax.random.key(config.seed))
    variables = jax.jit(Contrast().init)(init_key, jnp.zeros((2, 32, 32, 3)))
    opt_state = optimizer_of(config).init(variables["params"])
    step = jnp.zeros((), jnp.int32)
    return State(step, variables["params"], variables["batch_stats"], opt_state, view_key)


def view_side(side):
    """Pixels a side of a view: three quarters of the picture's, as a multiple that the network takes."""
    return max(round(0.75 * side / PATCH_MULTIPLE), 1) * PATCH_MULTIPLE


def random_views(key, images, side):
    """One view of each picture.

    Args:
      key: consumed.
      images: u8[B,S,S,3], RGB.
      side: of the views, pixels.

    Returns:
      f32[B,side,side,3], RGB in 0..1.
    """
    turns, crops, colours, greys = (jax.random.split(one, len(images)) for one in jax.random.split(key, 4))
    turned, _ = random_dihedral(turns, images, images[..., 0], "dihedral")  # there is no mask to turn
    cropped = jax.vmap(lambda one, image: random_square(one, image, side))(crops, turned.astype(jnp.float32))
    view = colour_jitter(colours, jnp.clip(cropped / 255, 0, 1))
    grey = (view * jnp.asarray(GREY)[None, None, None, :]).sum(-1, keepdims=True)
    is_grey = jax.vmap(lambda one: jax.random.bernoulli(one, GREY_SHARE))(greys)
    return jnp.where(is_grey[:, None, None, None], grey, view)


def random_square(key, image, side):
    """A square somewhere in a picture f32[S,S,3], of a quarter to all of its area, as f32[side,side,3]."""
    area_key, place_key = jax.random.split(key)
    own = image.shape[0] * jnp.sqrt(jax.random.uniform(area_key, (), minval=LEAST_AREA))
    corner = jax.random.uniform(place_key, (2,)) * (image.shape[0] - own)
    scale = jnp.full(2, side / own)
    shape = (side, side, image.shape[2])
    return jax.image.scale_and_translate(image, shape, (0, 1), scale, -corner * scale, "linear")


def contrast_loss(projected, temperature):
    """NT-Xent of f32[2B,D], in which rows k and B + k are views of one picture; and how many are nearest.

    Returns:
      The loss, and the share of the views of which no other is nearer than that of the same picture.
    """
    pictures = jnp.tile(jnp.arange(len(projected) // 2), 2)
    loss = optax.losses.ntxent(projected, pictures, temperature)
    unit = projected / jnp.linalg.norm(projected, axis=1, keepdims=True)
    nearest = jnp.where(jnp.eye(len(unit), dtype=bool), -jnp.inf, unit @ unit.T).argmax(1)
    return loss, (pictures[nearest] == pictures).mean()


def make_step(config, side):
    """The step `(state, images u8[B,S,S,3]) -> (state, metrics)`, pure and not yet jitted."""
    model, optimizer = Contrast(), optimizer_of(config)

    def step(state, images):
        key = jax.random.fold_in(state.key, state.step)
        views = random_views(key, jnp.concatenate([images, images]), side)
        views = normalise(views, jnp.asarray(IMAGENET_MEAN), jnp.asarray(IMAGENET_STD))

        def loss_function(params):
            variables = {"params": params, "batch_stats": state.batch_stats}
            projected, updated = model.apply(variables, views, mutable=["batch_stats"])
            loss, found = contrast_loss(projected, config.temperature)
            return loss, (found, updated["batch_stats"])

        (loss, (found, stats)), gradients = jax.value_and_grad(loss_function, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return State(state.step + 1, params, stats, opt_state, state.key), {"loss": loss, "found": found}

    return step


def rows_of_step(n, config, step):
    """Which pictures of `n` are in a step's batch: a function of seed and step, none twice."""
    return np.random.default_rng((config.seed, step)).permutation(n)[: config.batch]


def training_pictures(contents):
    """The pictures of the training split; of masks and labels nothing is read.

    Raises:
      UserError: a group stands in another split too, or there are too few pictures, or none of a fit size.
    """
    torn = straddling_groups(contents.patches)
    if torn:
        raise UserError(f"groups in more than one split: {', '.join(sorted(torn)[:10])}. Run `l2s check`")
    rows = contents.of_split("train")
    if len(rows) < 2:
        raise UserError(f"{contents.folder}: {len(rows)} training patches; 2 are needed to tell them apart")
    unknown = {"mask": None, "label": IGNORE_LABEL, "allowed": (), "bag": "", "bag_label": IGNORE_LABEL}
    bare = [replace(row, **unknown) for row in rows]
    patches = load_patches(bare, contents.classes, memory_gib=2)
    height, width = patches.size
    if height != width or not fits_network(height):
        raise UserError(f"patches of {height}x{width}: squares of a multiple of {PATCH_MULTIPLE} are needed")
    return patches


def read_note(path):
    """How the encoder in a file was made; nothing where the file does not say."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return json.loads((file.metadata() or {}).get(NOTE, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from error


def pretrain(data, out, config, say=print):
    """Pretrains an encoder on the pictures of a manifest's training split.

    A killed one goes on from its last checkpoint, in the folder beside `out`, to the same bits on a CPU.

    Args:
      data: folder of the manifest.
      out: the .safetensors file, as `--weights` takes it; the projection head is not in it.
      config: how.
      say: receives progress messages.

    Returns:
      What the file says of how it was made: options, data, seconds (from reading the pictures to writing the
      file, compiling included, all sittings together), last loss.

    Raises:
      UserError: faulty data or options, or a file or checkpoint that was begun with others.
      Stopped: interrupted; the same call goes on.
    """
    began, out = time.monotonic(), Path(out)
    if config.steps < 1 or config.batch < 2:
        raise UserError(f"steps = {config.steps}, batch = {config.batch}: at least 1 and 2 are needed")
    if out.suffix != ".safetensors":
        raise UserError(f"{out}: the file's name must end in .safetensors")
    contents = read_manifest(data)
    made = {"method": "SimCLR", **asdict(config), "manifest_sha256": contents.sha256}
    if out.exists():
        require_same(made, read_note(out), out)
        say(f"{out} is finished")
        return read_note(out)
    patches = training_pictures(contents)
    groups = len({row.group for row in patches.rows})
    say(f"pretraining on {len(patches)} training patches of {groups} groups, of {patches.size[0]} pixels")
    folder, state, before = out.with_suffix(".checkpoint"), first_state(config), 0.0
    if checkpoints.latest_step(folder) is not None:
        items, note, number = checkpoints.load(folder, {"state": state})
        require_same(made, note, folder)
        state, before = items["state"], note["seconds"]
        say(f"resuming after step {number} of {config.steps}")

    def clock():
        return before + time.monotonic() - began

    def save(state, done):
        checkpoints.save(folder, done, {"state": state}, made | {"seconds": clock()})

    state, last = take_steps(state, patches, config, save, clock, say)
    note = made | {"seconds": round(clock(), 2), "patches": len(patches), "groups": groups} | last
    note |= {"view": view_side(patches.size[0]), "device": jax.devices()[0].device_kind}
    write_encoder(out, state, note)
    shutil.rmtree(folder, ignore_errors=True)
    say(f"done: {out}, {note['seconds']:.0f} s")
    return note


def take_steps(state, patches, config, save, clock, say):
    """The steps that are left; the last state, and the means of the last steps' metrics.

    Args:
      state: to go on from.
      patches: the pictures.
      config: how.
      save: keeps a state, of so many steps.
      clock: seconds so far.
      say: receives progress messages.

    Raises:
      Stopped: after the state was saved.
    """
    step = jax.jit(make_step(config, view_side(patches.size[0])), donate_argnums=0)
    pending, last = [], {}
    with stop_requests() as stop:
        for done in track(range(int(state.step) + 1, config.steps + 1), "pretraining", unit="steps"):
            images, _ = patches.fetch(rows_of_step(len(patches), config, done - 1))
            state, metrics = step(state, images)
            pending.append(metrics)
            if done % SAY_EVERY == 0 or done == config.steps:
                fetched, pending = jax.device_get(pending), []
                last = {name: float(np.mean([one[name] for one in fetched])) for name in metrics}
                if not math.isfinite(last["loss"]):
                    raise UserError(f"the loss is not finite by step {done}: a smaller rate may help")
                found = f"{last['found']:.0%} of the views find their own"
                say(f"step {done} of {config.steps}: loss {last['loss']:.3f}, {found}, {clock():.0f} s")
            if done < config.steps and (stop.is_set() or done % SAVE_EVERY == 0):
                save(state, done)
                if stop.is_set():
                    raise Stopped(None, done, config.steps)
    return state, last


def require_same(made, found, where):
    """Refuses what was made or begun in another way."""
    other = [f"{key} = {found.get(key)!r}, not {made[key]!r}" for key in made if found.get(key) != made[key]]
    if other:
        raise UserError(f"{where} was begun with {'; '.join(other)}. Move it away, or choose another place")


def write_encoder(out, state, note):
    """The encoder's tensors by torchvision's names, and how they were made."""
    variables = {
        kind: {"encoder": values["encoder"]}
        for kind, values in (("params", state.params), ("batch_stats", state.batch_stats))
    }
    scaling = {"mean": IMAGENET_MEAN.tolist(), "std": IMAGENET_STD.tolist()}
    metadata = {key: json.dumps(value) for key, value in {NOTE: note, **scaling}.items()}
    write_safetensors(out, variables_to_state_dict(variables), metadata)
