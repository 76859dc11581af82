"""Every rule under every transform: the cells of the page, one test each."""

import copy
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest
from transforms import CELLS, H, MODEL, NO_DECAY, out_step, PAGE, REFUSED, RULES, same, step, table, XS

import eqx_etrace as etr


@pytest.mark.sweep(19)  # so that the part has every transform, and every rule
@pytest.mark.parametrize("transform", CELLS)
@pytest.mark.parametrize("rule", RULES)
def test_cell(rule, transform):
    """What is transformed is what is plain, or an error says why not."""
    if (rule, transform) in REFUSED:
        error, said = REFUSED[rule, transform]
        with pytest.raises(error, match=said):
            CELLS[transform](rule)
    elif not (transform == "`vmap` over decays" and rule in NO_DECAY):
        CELLS[transform](rule)


def test_the_page_has_the_table():
    assert table() in PAGE.read_text()


@pytest.mark.parametrize("name", ["UORO", "KFRTRL", "OK"])
def test_a_transform_that_has_no_hash_says_so(name):
    online = etr.etrace_grad(step, RULES[name])
    for wrap in (jax.jit, jax.checkpoint):
        with pytest.raises(TypeError, match=r"holds an array, and has no hash.*`lambda \*args: online\(\*args\)`"):
            wrap(online)(MODEL, H, online.init(MODEL, H, XS[0]), XS[0])


@pytest.mark.parametrize("rule", [etr.RTRL(int("1073741824")), etr.SnAp(1, int("1073741824")), etr.OSTL()], ids=str)
def test_a_rule_is_known_by_its_values(rule):
    """A default that is written out, or came out of a file, is another object and the same rule."""
    for other in (type(rule)(*([1] if isinstance(rule, etr.SnAp) else [])), pickle.loads(pickle.dumps(rule))):
        assert str(other) == str(rule) and "limit" not in str(rule)
        trace = etr.etrace_grad(step, other).init(MODEL, H, XS[0])
        etr.etrace_grad(step, rule)(MODEL, H, trace, XS[0])
    assert "limit=5" in str(etr.RTRL(5))


def public():
    """One of everything that a user may hold, beside rules, transforms and traces."""
    rule = etr.PPProp(0.9)
    online, key = etr.etrace_value_and_grad(step, rule), jax.random.key(0)
    graph = online.graph(MODEL, H, XS[0])
    learning = etr.OnlineLearner(online, optax.sgd(0.1, momentum=0.9)).init(MODEL, H, XS[0])
    probe = etr.FidelityProbe(online, every=2)
    yield from (learning, etr.etrace_vjp(out_step, rule), graph.report(rule), graph.draw(rule), probe)
    yield from (
        probe.init(MODEL, H, XS[0]),
        etr.Scores.of(MODEL),
        etr.SyntheticGradient(H),
        etr.choose_rule(graph, memory=80),
    )
    yield from (*graph.hidden_groups, *graph.relations, etr.nn.LIF(), etr.nn.MGUCell(2, 3, key=key), etr.nn.ALIF())
    yield from (etr.nn.SuperSpike(), etr.nn.Expon(tau=8.0), etr.nn.LeakyRateReadout(3, 2, key=key))


def alike(a, b):
    arrays = [eqx.filter(tree, eqx.is_array) for tree in (a, b)]
    same(jax.tree.leaves(arrays[0]), jax.tree.leaves(arrays[1]))
    assert type(a) is type(b) and jax.tree.structure(arrays[0]) == jax.tree.structure(arrays[1])


def test_all_that_is_public_can_be_copied_and_pickled():
    for one in public():
        for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
            alike(other, one)


def test_a_learner_is_pickled_if_its_optimiser_is():
    """Optax's are made of functions inside functions, which `pickle` does not know, and `cloudpickle` does."""
    cloudpickle = pytest.importorskip("cloudpickle")
    learner = etr.OnlineLearner(etr.etrace_value_and_grad(step, etr.DRTRL()), optax.sgd(0.1, momentum=0.9))
    begin = learner.init(MODEL, H, XS[0])
    wanted, _ = eqx.filter_jit(learner)(begin, XS[0])
    for other in (copy.copy(learner), copy.deepcopy(learner), cloudpickle.loads(cloudpickle.dumps(learner))):
        same(eqx.filter_jit(other)(begin, XS[0])[0], wanted)
    with pytest.raises((AttributeError, pickle.PicklingError), match="init_fn"):
        pickle.dumps(learner)


def test_what_holds_a_program_can_be_copied_and_says_why_it_is_not_pickled():
    vjp = etr.etrace_vjp(out_step, etr.DRTRL())
    *_, pullback = vjp(MODEL, H, vjp.init(MODEL, H, XS[0]), XS[0])
    graph, wanted = vjp.graph(MODEL, H, XS[0]), pullback(jnp.ones(3))
    for how in (copy.copy, copy.deepcopy):
        same(how(pullback)(jnp.ones(3)), wanted)
        assert str(how(graph)) == str(graph)
    for one in (pullback, graph):
        with pytest.raises(TypeError, match="cannot be pickled: it holds"):
            pickle.dumps(one)
