"""What the analysis finds in three spiking networks, and what D-RTRL computes for each of their parameters.

python examples/show_graph.py
"""

from networks import convolutional, gif_layers, single_layer

import eqx_etrace as etr

NETWORKS = {
    "One recurrent layer of leaky neurons": single_layer,
    "Three recurrent layers of adapting neurons": gif_layers,
    "A convolutional network of neurons without a leak": convolutional,
}


def main() -> None:
    for title, network in NETWORKS.items():
        print(f"\n{title}\n{'=' * len(title)}\n")
        step, model, state, inputs = network()
        graph = etr.compile_graph(step, model, state, *inputs)
        graph.show_graph()
        print()
        print(graph.report(etr.DRTRL()))


if __name__ == "__main__":
    main()
