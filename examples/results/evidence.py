"""Evidence accumulation: which side did most of seven cues come from, a second ago?

Seven cues of 100 ms, one every 150 ms, each from the left or the right, then a silence of 1,050 ms, then 150 ms in
which a third group of inputs asks for the answer. A cue is ten inputs that fire at 40 Hz, and ten more fire at 10 Hz
all the time. One side is given 70 % of the cues on average. Thresholds remember for 2 s.

Task and numbers: Bellec et al., Nature Communications 2020, figure 4, and its published code.
"""

import cues
import jax.numpy as jnp
import jax.random as jr
from cues import Batch, Cues, LANES, METHODS, spikes_of
from harness import Task
from jaxtyping import Array

CUES, CUE, EVERY, DELAY, ASKED = 7, 100, 150, 1050, 150
STEPS = CUES * EVERY + DELAY + ASKED


def draw(key: Array) -> Batch:
    """Sequences, their answers, and when these are asked for."""
    side, cue, noise = jr.split(key, 3)
    mostly = jnp.where(jr.bernoulli(side, 0.5, (LANES, 1)), 0.7, 0.3)
    cues = jr.bernoulli(cue, mostly, (LANES, CUES)).astype(int)
    t = jnp.arange(STEPS)
    is_cue = (t < CUES * EVERY) & (t % EVERY >= EVERY - CUE)
    shown = cues[:, jnp.minimum(t // EVERY, CUES - 1)]
    asked = jnp.broadcast_to(t >= STEPS - ASKED, shown.shape)
    spikes = spikes_of(noise, [is_cue & (shown == 0), is_cue & (shown == 1), asked])
    label = jnp.broadcast_to((cues.sum(1) > CUES // 2).astype(int), (STEPS, LANES))
    return Batch(spikes, label, asked[0].astype(jnp.float32))


EVIDENCE = Task(
    name="evidence",
    title="Evidence accumulation",
    measure="right, %",
    seen="sequences",
    chance=50.0,
    methods=tuple(METHODS),
    train=Cues(draw, STEPS, ASKED, tau_a=2000.0, updates=100).train,
    about=f"{__doc__}\n{cues.__doc__}",
)
