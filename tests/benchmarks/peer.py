"""braintrace, asked from here: it runs in a process of its own, on the same weights and data."""

import json
import pathlib
import subprocess
import tempfile
import time
from typing import Any

import numpy as np
from models import Network


class Peer:
    """The process that runs braintrace."""

    def __init__(self, python: str, cell: str, n: int, model: Network, inputs: Any):
        with tempfile.NamedTemporaryFile(suffix=".npz", delete=False) as file:
            arrays = {"readout": model.readout.weight, "readout_bias": model.readout.bias}
            if cell != "gru":  # Its gates are laid out otherwise; the sizes are the same.
                arrays |= {"weight": model.cell.weight.weight, "bias": model.cell.weight.bias}
            np.savez(file, xs=inputs[0], ys=inputs[1], **arrays)
        script = str(pathlib.Path(__file__).with_name("peer_process.py"))
        self.process = subprocess.Popen(
            [python, script], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.names = self.ask(json.dumps({"cell": cell, "units": n, "file": file.name}))["methods"]
        pathlib.Path(file.name).unlink()

    def ask(self, line: str) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def methods(self) -> list["PeerMethod"]:
        return [PeerMethod(self, name) for name in self.names]


class PeerMethod:
    """One method of the peer."""

    def __init__(self, peer: Peer, name: str):
        self.peer, self.name, self.times = peer, name, []
        began = time.perf_counter()
        self.ready = peer.ask(name)
        self.compile_time = time.perf_counter() - began

    @property
    def cells(self) -> str:
        return f"{self.compile_time:>11.2f}" + " " * 23 + self.ready.get("error", "")[:60]

    def time(self) -> None:
        self.times.append(self.peer.ask(self.name).get("ms", float("nan")))
