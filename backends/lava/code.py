"""Writes a planned network as the Python module that a person would have written."""

from __future__ import annotations

from collections.abc import Iterator

from spikec.backends.lava.calls import (
    Call,
    ConstantSource,
    Convolution,
    Delay,
    InputSource,
    Layer,
    OneToOne,
    Sparse,
    StockLayer,
    Synapse,
)
from spikec.backends.lava.plan import Plan, Process, connections
from spikec.ir import Graph, op_of
from spikec.ir.op import Stateful
from spikec.ir.ops.input import Input

_WIDTH = 100
FOREVER = 1 << 62
"""Steps of a current that never ends."""
_HEADER = '''"""{title}

Each synapse delivers one step late, so a layer with k synapses before it works k steps late
(`offset`), and a path that is shorter than another to the same layer gets a delay.
"""

from __future__ import annotations

from typing import Any

{imports}

STEPS = {steps}
"""Time steps per sample that the network was compiled for."""
ANY_STEPS = {any_steps}
"""Whether it runs for other numbers of steps, too: delays or proofs may hold for STEPS alone."""
DEPTH = {depth}
"""Steps from the input to the last layer: N samples take N * STEPS + DEPTH steps."""
INPUTS = {inputs}
"""Shape per sample, smallest and largest value of each input."""
FRAMES = {frames}
"""Inputs with a frame of that shape for each step: (samples, STEPS, *shape)."""
LAYERS = {layers}
"""Spiking layers, in order."""
READOUTS = {readouts}
"""Readouts, and where `weights.npz` has the real value of one unit."""
RADIX = {radix}
"""Whether readouts take binary digits: results are divided by 2^STEPS - 1, not by STEPS."""
SAMPLES_PER_RUN = {samples}
"""None: all follow each other. 1: Lava's stock neurons cannot be reset while the network runs."""


def build(
    w: dict[str, Any], inputs: dict[str, Any], steps: int = STEPS, tag: str = "fixed_pt"
) -> dict[str, {layer}]:
    """Build the network; returns its layers.

    Args:
        w: The arrays of `weights.npz`.
        inputs: For each input, integers (samples, *shape).
        steps: Time steps per sample.
        tag: Arithmetic of the process models: fixed_pt or floating_pt.
    """
    samples = len(inputs["{first}"])
    window: dict[str, Any] = {{"steps": steps, "samples": samples}}
'''


def network_source(graph: Graph, plan: Plan) -> str:
    """The text of `network.py`."""
    blocks = [_process(process) for process in plan.processes.values()]
    layers = [f'"{node}": {variable}' for node, variable in plan.layers.items()]
    return (
        _header(graph, plan)
        + "\n"
        + "\n".join(blocks)
        + "\n"
        + _wrapped("    return {", layers, "}")
    )


def _header(graph: Graph, plan: Plan) -> str:
    source = f", from {graph.source}" if graph.source else ""
    inputs = [
        f'"{node.name}": {(node.type.shape, *node.type.dtype.bounds)}' for node in graph.inputs
    ]
    frames = [f'"{node.name}"' for node in graph.inputs if op_of(node, Input).timed]
    spiking = [name for name in plan.layers if graph[name].type.dtype.is_spike]
    readouts = [f'"{name}": "{name}.scale"' for name in graph.outputs]
    readouts += [
        f'"{name}": "{name}.scale"'
        for name in plan.layers
        if name not in spiking and name not in graph.outputs
    ]
    return _HEADER.format(
        title=_title(f"{graph.name} as a Lava network{source}. Generated; edit the model instead."),
        imports="\n".join(_imports(plan)),
        steps=plan.steps,
        any_steps=not (plan.layerwise or plan.stock),
        radix=op_of(graph[graph.outputs[0]], Stateful).radix,
        samples=1 if plan.stock else None,
        layer="Layer | StockIntegrate" if plan.stock else "Layer",
        depth=plan.depth,
        inputs=_wrapped("{", inputs, "}", indent="").strip(),
        frames=_wrapped("[", frames, "]", indent="").strip(),
        layers=_wrapped("[", [f'"{name}"' for name in spiking], "]", indent="").strip(),
        readouts=_wrapped("{", readouts, "}", indent="").strip(),
        first=graph.inputs[0].name,
    )


def _title(text: str) -> str:
    """One docstring line, whatever the names in it hold."""
    plain = text.replace("\\", "/").replace('"', "'")
    return plain if len(plain) < _WIDTH - 3 else plain[: _WIDTH - 10] + " ..."


def _imports(plan: Plan) -> Iterator[str]:
    made = {written(process.call)[0] for process in plan.processes.values()}
    classes = sorted({name for name in made if name[0].isupper()} | {"Layer"})
    classes = [name for name in classes if name != "StockIntegrate"]
    functions = sorted(made - set(classes) - {"conv", "StockIntegrate"})
    if "conv" in made:
        yield _import("convolution", ["conv"])
    yield _import("neurons", classes)
    if plan.stock:
        yield _import("stock", ["StockIntegrate"])
    if functions:
        yield _import("synapses", functions)


def _import(module: str, names: list[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= _WIDTH:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"


def _process(process: Process) -> str:
    comment = " ".join(process.comment.split())
    lines = [f"    # {comment}"[:_WIDTH]] if comment else []
    function, arguments = written(process.call)
    lines.append(_wrapped(f"    {process.name} = {function}(", arguments, ")").rstrip())
    lines += [_connection(*ends) for ends in connections(process)]
    return "\n".join(lines) + "\n"


def _connection(source: str, target: str) -> str:
    return _wrapped(f"    {source}.connect(", [target], ")").rstrip()


def written(call: Call) -> tuple[str, list[str]]:
    """The class or function of the project that makes a process, and its arguments."""
    match call:
        case InputSource():
            return "Source", [*_input(call), f'name="{call.name}"']
        case ConstantSource():
            return "Source", [f'data=w["{call.weights}"]', f"steps={FOREVER}"]
        case Delay():
            return "delay", [str(call.size), str(call.steps), "tag", f'"{call.title}"']
        case Convolution():
            arguments = [f'w["{call.weights}"]', str(call.shape), *_common(call)]
            return "conv" if call.stock else "unrolled_conv", [*arguments, *_geometry(call)]
        case Sparse():
            return "sparse", ["w", f'"{call.weights}"', *_common(call), *_exponent(call)]
        case OneToOne():
            delay = [f"delay={call.delay}"] if call.delay else []
            arguments = [f'w["{call.weights}"]', *_common(call), *_exponent(call)]
            return "one_to_one", arguments + delay
        case Synapse():
            return "dense", [f'w["{call.weights}"]', *_common(call), *_exponent(call)]
        case Layer():
            return call.kind, _layer(call)


def _input(source: InputSource) -> list[str]:
    data = f'inputs["{source.name}"]'
    if not source.timed:
        return [f"data={data}", "steps=steps"]
    shape = ", ".join(map(str, (-1, *source.shape)))  # each frame is a sample of one step to it
    return [f"data={data}[:, :steps].reshape({shape})", "steps=1"]


def _common(synapse: Synapse) -> list[str]:
    return ["tag", f'"{synapse.title}"']


def _exponent(synapse: Synapse) -> list[str]:
    return [f"exponent={synapse.exponent}"] if synapse.exponent else []


_DEFAULTS = ("strides=(1, 1)", "pads=(0, 0)", "dilations=(1, 1)")
"""What the project's `conv` assumes."""


def _geometry(conv: Convolution) -> list[str]:
    window = conv.window
    pads = window.pads[: len(window.kernel)] if conv.stock else window.pads
    parts = [f"strides={window.strides}", f"pads={pads}", f"dilations={window.dilations}"]
    if conv.stock:
        parts = [part for part in parts if part not in _DEFAULTS]
    if conv.groups != 1:
        parts.append(f"groups={conv.groups}")
    return parts + _exponent(conv)


def _layer(layer: Layer) -> list[str]:
    parts = [f"shape={layer.shape}"]
    if layer.in_shape is not None:
        parts.append(f"in_shape={layer.in_shape}")
    parts += [f'{role}=w["{key}"]' for role, key in layer.params]
    parts += [f"{name}={value!r}" for name, value in layer.attributes]
    parts += [f"offset={layer.offset}", f'name="{layer.title}"']
    if layer.limits is not None:
        parts.append(f"limits={layer.limits}")
    if isinstance(layer, StockLayer):
        parts.append("tag=tag")
        if layer.bias_as_input:
            parts.append("bias_as_input=True")
    return [*parts, "**window"]


def _wrapped(start: str, parts: list[str], end: str, indent: str = "    ") -> str:
    """One line if it fits, else the parts on a line of their own, else one per line."""
    joined = ", ".join(parts)
    if len(start + joined + end) <= _WIDTH:
        return f"{start}{joined}{end}\n"
    inner = f"{indent}    "
    if len(inner + joined) <= _WIDTH:
        return f"{start}\n{inner}{joined}\n{indent}{end}\n"
    return f"{start}\n" + "".join(f"{inner}{part},\n" for part in parts) + f"{indent}{end}\n"
