"""Arguments in another order, forgotten, or a class where an instance is meant."""

import optax

from .case import wrong
from .network import etr, H, LABELS, learner, loss_step, ONLINE, SPIKING, spiking, spiking_step, trace, weights, X, XS

ORDER, CLASS = "order of arguments", "class or function in place of an instance"


@wrong(ORDER, TypeError, found="idx='w'", do="other way round: pass `(model, state, *inputs)`", where="`loss_step`")
def init_of_state_and_model():
    return ONLINE.init(H, weights(), X)


@wrong(
    ORDER,
    TypeError,
    found="('into', 'weight')",
    do="other way round: pass `(model, state, *inputs)`",
    where="`spiking_step`",
)
def init_of_a_learner_of_state_and_model():
    one, learning = learner()
    return one.init(learning.state, learning.model, X, LABELS[0])


@wrong(
    ORDER,
    TypeError,
    found="('into', 'weight')",
    do="other way round: pass `(model, state, *inputs)`",
    where="`spiking_step`",
)
def a_call_of_state_and_model():
    model, state, before = spiking()
    return SPIKING(state, model, before, X, LABELS[0])


@wrong(
    ORDER,
    TypeError,
    found="('into', 'weight')",
    do="other way round: pass `(model, state, *inputs)`",
    where="`spiking_step`",
)
def a_graph_of_state_and_model():
    model, state, _ = spiking()
    return etr.compile_graph(spiking_step, state, model, X, LABELS[0])


@wrong(ORDER, TypeError, found="float32[2]", do="(model, state, trace, *inputs)", why="Was it left out?")
def a_call_without_the_trace():
    return ONLINE(weights(), H, X)


@wrong(ORDER, TypeError, found="float32[5, 2]", do="(model, state, trace, *inputs)", why="Was it left out?")
def a_scan_without_the_trace():
    return ONLINE.scan(weights(), H, XS)


@wrong(ORDER, TypeError, found="float32[3]", do="(model, state, trace, *inputs)", why="is second here")
def trace_and_state_swapped():
    return ONLINE(weights(), trace(), H, X)


@wrong(ORDER, TypeError, found="is first here", do="(model, state, trace, *inputs)")
def the_trace_first():
    return ONLINE(trace(), weights(), H, X)


@wrong(ORDER, TypeError, found="ETrace", do="(model, state, *inputs)")
def init_with_a_trace():
    return ONLINE.init(weights(), H, trace(), X)


@wrong(ORDER, TypeError, found="tuple", do="gradients, state, trace")
def the_whole_result_as_the_trace():
    result = ONLINE(weights(), H, trace(), X)
    return ONLINE(weights(), H, result, X)


@wrong(ORDER, TypeError, found="DRTRL", do="`(step, rule)`")
def rule_and_step_swapped():
    return etr.etrace_grad(etr.DRTRL(), loss_step)


@wrong(ORDER, TypeError, found="missing", do="'rule'")
def a_transform_without_a_rule():
    return etr.etrace_grad(loss_step)


@wrong(ORDER, TypeError, found="tuple", do="optax.adam(1e-3)")
def a_learner_of_what_the_step_returns():
    return etr.OnlineLearner(ONLINE, (optax.adam(1e-3).init, 1))


@wrong(ORDER, TypeError, found="GradientTransformation", do="`OnlineLearner(online, optimiser)`")
def optimiser_and_transform_swapped():
    return etr.OnlineLearner(optax.adam(1e-3), ONLINE)


@wrong(ORDER, TypeError, found="etrace_grad", do="etrace_value_and_grad")
def a_learner_of_a_transform_without_the_value():
    return etr.OnlineLearner(etr.etrace_grad(loss_step, etr.DRTRL()), optax.adam(1e-3))


@wrong(ORDER, TypeError, found="ETraceVJP", do="etrace_value_and_grad")
def a_learner_of_a_vjp():
    return etr.OnlineLearner(etr.etrace_vjp(loss_step, etr.DRTRL()), optax.adam(1e-3))


@wrong(ORDER, TypeError, found="dict", do="learner.init(")
def a_learner_called_with_a_model():
    one, _ = learner()
    return one(weights(), X, LABELS[0])


@wrong(ORDER, TypeError, found="tuple", do="learning, losses")
def a_learner_given_the_pair_that_it_returned():
    one, learning = learner()
    return one(one(learning, X, LABELS[0]), X, LABELS[0])


@wrong(ORDER, TypeError, found="dict", do="learner.init(")
def a_learner_scanned_with_model_and_state():
    one, _ = learner()
    return one.scan(weights(), XS, LABELS)


@wrong(CLASS, TypeError, found="DRTRL", do="Make one: `DRTRL(")
def a_class_of_rules():
    return etr.etrace_value_and_grad(loss_step, etr.DRTRL)


@wrong(CLASS, TypeError, found="adam", do="optax.adam(1e-3)", why="function")
def an_optimiser_that_was_not_made():
    return etr.OnlineLearner(ONLINE, optax.adam)


@wrong(CLASS, TypeError, found="'adam'", do="optax.adam(1e-3)")
def the_name_of_an_optimiser():
    return etr.OnlineLearner(ONLINE, "adam")


@wrong(CLASS, TypeError, found="DRTRL", do="DRTRL(")
def a_report_of_a_class():
    return etr.compile_graph(loss_step, weights(), H, X).report(etr.DRTRL)


@wrong(CLASS, TypeError, found="'DRTRL'", do="DRTRL()")
def the_name_of_a_rule():
    return etr.etrace_grad(loss_step, "DRTRL")


@wrong(CLASS, TypeError, found="DRTRL", do="DRTRL()")
def a_function_that_gives_a_class():
    return etr.etrace_grad(loss_step, lambda relation: etr.DRTRL).init(weights(), H, X)


@wrong(CLASS, TypeError, found="Arctan", do="`Arctan()`")
def a_class_of_surrogates():
    return etr.nn.LIF(surrogate=etr.nn.Arctan)


@wrong(CLASS, TypeError, found="LIF", do="`LIF()`")
def a_refractory_class():
    return etr.nn.Refractory(etr.nn.LIF, 2.0)


@wrong(CLASS, ValueError, found="the class `Network`", do="make one, `Network(...)`", where="`spiking_step`")
def a_class_as_the_model():
    model, state, _ = spiking()
    return SPIKING.init(type(model), state, X, LABELS[0])


@wrong(CLASS, TypeError, found="float32[3]", do="the step, a function")
def what_the_step_returns_in_place_of_the_step():
    return etr.etrace_grad(loss_step(weights(), H, X)[1], etr.DRTRL())


@wrong(
    CLASS, TypeError, found="`(x, *, key=None)`", do="write a function that calls it", why="`(model, state, *inputs)`"
)
def a_layer_in_place_of_the_step():
    model, state, _ = spiking()
    return etr.etrace_vjp(model.into, etr.DRTRL()).init(model, state, X)
