"""Delayed match to sample: are two cues the same, with a second between them?

A cue of 150 ms from the left or the right, a silence of a second, then a second cue of 150 ms from the left or the
right, and at the same time a third group of inputs that asks for the answer: do they match? Neither cue alone says
anything of it. Thresholds remember for 1 s.

The task goes back to Miller, Erickson and Desimone, "Neural mechanisms of visual working memory in prefrontal cortex of
the macaque", Journal of Neuroscience 1996. Network and numbers are those of evidence accumulation.
"""

import cues
import jax.numpy as jnp
import jax.random as jr
from cues import Batch, Cues, LANES, METHODS, spikes_of
from harness import Task
from jaxtyping import Array

CUE, DELAY = 150, 1000
STEPS, ASKED = CUE + DELAY + CUE, 100


def draw(key: Array) -> Batch:
    """Sequences, whether their cues match, and when that is asked for."""
    which, noise = jr.split(key)
    sample, test = jr.bernoulli(which, 0.5, (2, LANES, 1))
    t = jnp.arange(STEPS)
    first, second = t < CUE, t >= STEPS - CUE
    left = (first & ~sample) | (second & ~test)
    right = (first & sample) | (second & test)
    asked = t >= STEPS - ASKED
    spikes = spikes_of(noise, [left, right, jnp.broadcast_to(second, left.shape)])
    label = jnp.broadcast_to((sample == test)[:, 0].astype(int), (STEPS, LANES))
    return Batch(spikes, label, asked.astype(jnp.float32))


MATCH = Task(
    name="match",
    title="Delayed match to sample",
    measure="right, %",
    seen="sequences",
    chance=50.0,
    methods=tuple(METHODS),
    train=Cues(draw, STEPS, ASKED, tau_a=1000.0, updates=250).train,
    about=f"{__doc__}\n{cues.__doc__}",
)
