"""The tasks of the results on a small budget; their generators against what their sources say; the page."""

import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_examples import EXAMPLES

pytestmark = pytest.mark.outside_sample  # what is tested hardly depends on the version of JAX

sys.path.insert(0, str(EXAMPLES / "results"))
harness, page, cues, evidence, match = map(importlib.import_module, ("harness", "page", "cues", "evidence", "match"))
TASKS = importlib.import_module("tasks").TASKS
LONG = "match", "evidence"
RUNS = [
    pytest.param(name, method, marks=[pytest.mark.slow if number or name in LONG else pytest.mark.outside_sample])
    for name, task in TASKS.items()
    for number, method in enumerate(task.methods)
]


def quiet(**_):
    """A bar that shows nothing."""
    return harness.tqdm(disable=True)


@pytest.mark.parametrize(("name", "method"), RUNS)
def test_a_task_on_a_small_budget(name, method):
    with jax.enable_x64(False):
        outcome = TASKS[name].train(method, 0, harness.Budget(short=True, bar=quiet))
    scores = [score for _, score in outcome.curve] + [outcome.score]
    assert len(scores) > 1 and np.isfinite(scores).all()
    assert np.all(np.diff([seen for seen, _ in outcome.curve]) > 0)


def test_evidence_is_that_of_the_paper(key):
    """Seven cues of 100 ms, every 150; 1,050 ms of silence, 150 to answer; 40 Hz, 10 Hz of noise; 70 % on one side."""
    batches = [evidence.draw(k) for k in jax.random.split(key, 8)]
    spikes = np.concatenate([b.spikes for b in batches], 1).reshape(2250, -1, 4, 10)
    labels, asked = np.concatenate([b.label[0] for b in batches]), np.asarray(batches[0].asked)
    assert spikes.shape[1] == len(labels) == 512
    assert (asked[2100:] == 1).all() and not asked[:2100].any()
    shown = spikes[:1050].reshape(7, 150, 512, 4, 10)
    assert not shown[:, :50, :, :2].any() and not spikes[1050:, :, :2].any() and not spikes[:2100, :, 2].any()
    counts = shown[:, 50:, :, :2].sum((1, 4))  # cue, lane, side: about 40 spikes, or none
    assert ((counts > 0).sum(-1) == 1).all()
    assert abs(counts.max(-1).mean() / (100 * 10) - 0.04) < 0.001
    assert abs(spikes[:, :, 3].mean() - 0.01) < 0.0005 and abs(spikes[2100:, :, 2].mean() - 0.04) < 0.001
    right = (counts.argmax(-1) == 1).sum(0)
    np.testing.assert_array_equal(labels, right > 3)
    # Of seven cues with chances of 0.7, or of 0.3: mean 3.5, variance 7 * 0.21 + 1.4^2.
    assert abs(right.mean() - 3.5) < 0.25 and abs(right.var() - 3.43) < 0.5


def test_a_match_needs_both_cues(key):
    batch = match.draw(key)
    spikes = np.asarray(batch.spikes).reshape(1300, -1, 4, 10)
    first, second = (spikes[part, :, :2].sum((0, 3)).argmax(-1) for part in (slice(0, 150), slice(1150, 1300)))
    np.testing.assert_array_equal(np.asarray(batch.label[0]), first == second)
    assert not spikes[150:1150, :, :3].any() and (batch.asked.sum(), batch.asked[1200]) == (100, 1)


def test_gradients_of_the_cues_are_those_of_bptt(key):
    """E-prop is exact for the network whose recurrent spikes and resets carry no credit; BPTT has more."""
    with jax.enable_x64(False):
        units = cues.neuron(200.0, all_credit=False)
        loss_step = cues.loss_step_of(units, 60, 20)
        model = cues.Network(key)
        state = cues.State(units.init_state((cues.LANES, cues.UNITS)), jnp.zeros((cues.LANES, 2)), jnp.zeros(100))
        spikes = jax.random.bernoulli(key, 0.2, (60, cues.LANES, 40)).astype(jnp.float32)
        label, asked = jnp.ones((60, cues.LANES), int), (jnp.arange(60) >= 40).astype(jnp.float32)
        given = loss_step, model, state, spikes, label, asked
        found, expected = (cues.METHODS[name](*given)[1] for name in ("e-prop", "BPTT"))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert float(jnp.linalg.norm(a - b)) < 1e-4 * float(jnp.linalg.norm(b)) > 0


def test_outcomes_are_kept_and_shown(tmp_path, monkeypatch):
    """Seeds in order, whatever was run first; the page is written between its markers."""
    monkeypatch.setattr(harness, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(page, "DOCS", tmp_path)
    scores = {("good", 1): 91.0, ("good", 0): 93.0, ("bad", 0): 51.0}

    def train(method, seed, budget):
        assert not budget.short
        return harness.Outcome(scores[method, seed], [(1, 50.0), (2, scores[method, seed])])

    task = harness.Task("tried", "Tried", "right, %", "steps", 50.0, ("good", "bad"), train, "In two steps.")
    for seeds, methods in (([1], ("good",)), ([0], ("good", "bad"))):
        harness.run(task, seeds, methods, again=False)
    kept = harness.load(task)
    assert list(kept["good"]) == [0, 1] and kept["good"][0].score == 93.0
    harness.run(task, [0, 1], ("good",), again=False)  # nothing is left to run
    (tmp_path / "results.md").write_text("# Results\n<!-- tried -->\nold\n<!-- end -->\nafter\n<!-- end -->\n")
    page.write(task)
    text = (tmp_path / "results.md").read_text()
    assert "| good | 92.0 ± 1.4 |" in text and "| bad | 51.0 |" in text and "| chance | 50.0 |" in text
    assert "    In two steps." in text
    assert "old" not in text and text.endswith("after\n<!-- end -->\n")
    assert harness.mean_and_spread([0.5, float("nan"), 0.7], 1) == "0.6 ± 0.1 (1 of 3 diverged)"
    assert "<svg" in (tmp_path / "results" / "tried.svg").read_text()
