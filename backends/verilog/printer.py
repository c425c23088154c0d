"""Prints a design: the top module, and the words of its memories."""

from __future__ import annotations

from dataclasses import dataclass, field

from spikec.backends.lowering.records import Layer, Store, Value
from spikec.backends.verilog.cells import constants_of
from spikec.backends.verilog.design import Design
from spikec.backends.verilog.engines import (
    Engine,
    LayerEngine,
    PoolEngine,
    ReorderEngine,
)
from spikec.backends.verilog.parameters import (
    data_bits,
    of_adapt,
    of_neurons,
    of_pool,
    of_reorder,
    of_sums,
    of_window,
    probe_file,
    table_words,
)
from spikec.backends.verilog.streams import Stream, hex_words
from spikec.backends.verilog.windows import Window
from spikec.backends.verilog.writer import (
    CLOCK,
    bits_of,
    instance,
    receives,
    sends,
    text,
    wires,
)

TOP = "network.sv"
NEVER = "1'b0"


@dataclass(slots=True)
class Printer:
    """Prints one design.

    Attributes:
        design: What is printed.
        files: Words of memories by file name.
    """

    design: Design
    files: dict[str, str] = field(default_factory=dict)
    _parts: list[str] = field(default_factory=list)
    _ports: dict[int, str] = field(default_factory=dict)
    _readers: dict[str, list[int]] = field(default_factory=dict)

    def print(self) -> dict[str, str]:
        """The top module and the memories, by file name."""
        design, plan = self.design, self.design.plan
        self._plan_readers()
        for number, value in enumerate(plan.inputs):
            self._source(value, number)
        for engine in design.engines:
            self._comment(_about(engine, design))
            self._wires(engine.stage.result)
            match engine:
                case LayerEngine():
                    self._layer(engine)
                case PoolEngine():
                    self._pool(engine)
                case ReorderEngine():
                    self._reorder(engine)
        for name in plan.outputs:
            self._sink(self._value(name))
        self.files[TOP] = self._head() + "\n".join(self._parts) + "endmodule\n"
        return self.files

    # Streams and who reads them

    def _value(self, name: str) -> Value:
        values = {v.name: v for v in self.design.plan.inputs}
        values |= {s.result.name: s.result for s in self.design.plan.stages}
        return values[name]

    def _plan_readers(self) -> None:
        """The wires on which each reader takes its stream: the stream's own, or a fork's."""
        readers: dict[str, list[int]] = {}
        for engine in self.design.engines:
            for edge in engine.edges:
                readers.setdefault(self.design.origin(edge.source.name), []).append(id(edge))
        for number, name in enumerate(self.design.plan.outputs):
            readers.setdefault(self.design.origin(name), []).append(-1 - number)
        self._readers = readers
        for name, keys in readers.items():
            stream = f"v_{self.design.names[name]}"
            for place, key in enumerate(keys):
                self._ports[key] = stream if len(keys) == 1 else f"{stream}_f{place}"

    def _wires(self, value: Value) -> None:
        """The stream of a value, and its fork where several read it."""
        name, bits = f"v_{self.design.names[value.name]}", self.design.stream(value).element
        self._add(wires(name, bits))
        readers = len(self._readers.get(value.name, []))
        if readers == 0:
            self._add(f"    assign {name}_ready = 1'b1;  // nothing reads it\n")
        if readers < 2:
            return
        for place in range(readers):
            self._add(wires(f"{name}_f{place}", bits))
            self._add(f"    assign {name}_f{place}_data = {name}_fork;\n")
        self._add(f"    wire [{bits - 1}:0] {name}_fork;\n")
        order = range(readers - 1, -1, -1)
        ports = {
            **CLOCK,
            **receives(name),
            "out_valid": f"{{{', '.join(f'{name}_f{n}_valid' for n in order)}}}",
            "out_ready": f"{{{', '.join(f'{name}_f{n}_ready' for n in order)}}}",
            "out_data": f"{name}_fork",
        }
        parameters = {"WIDTH": bits, "READERS": readers}
        self._add(
            instance("fork_stream", f"fork_{self.design.names[value.name]}", parameters, ports)
        )

    # Ports

    def _head(self) -> str:
        design, plan = self.design, self.design.plan
        lines = [
            f"// {plan.name}: an integer spiking network of {plan.steps} steps. Written by spikec.",
            "// README.md beside it says how to use it, report.json what it takes.",
            "/* verilator lint_off PINCONNECTEMPTY */  // only pools ask what lies on a map",
            "module network (",
        ]
        ports = ["    input wire clk", "    input wire rst"]
        for value in plan.inputs:
            name, bits = design.names[value.name], data_bits(design.stream(value).element)
            ports += [
                f"    input wire s_axis_{name}_tvalid",
                f"    output wire s_axis_{name}_tready",
                f"    input wire [{bits - 1}:0] s_axis_{name}_tdata",
                f"    input wire s_axis_{name}_tlast",
            ]
        for output in plan.outputs:
            name, value = design.names[output], self._value(output)
            bits, user = data_bits(design.stream(value).bits), bits_of(value.size)
            ports += [
                f"    output wire m_axis_{name}_tvalid",
                f"    input wire m_axis_{name}_tready",
                f"    output wire [{bits - 1}:0] m_axis_{name}_tdata",
                f"    output wire m_axis_{name}_tlast",
                f"    output wire [{user - 1}:0] m_axis_{name}_tuser",
            ]
        ports.append("    output wire frame_error")
        ports.append("    output wire overflow")
        lines += [f"{port}," for port in ports[:-1]] + ports[-1:] + [");"]
        errors = [f"error_{design.names[value.name]}" for value in plan.inputs]
        lines += [f"    wire {name};" for name in errors]
        limited = [
            f"overflow_{design.names[stage.result.name]}"
            for stage in plan.stages
            if isinstance(stage, Layer) and stage.limits is not None
        ]
        lines += [f"    wire {name};" for name in limited]
        lines.append("    // TLAST came at another place.")
        lines.append(f"    assign frame_error = {' || '.join(errors)};")
        lines.append(
            "    // A number left the width that the graph declares; 0 where that is proven."
        )
        lines.append(f"    assign overflow = {' || '.join(limited) or NEVER};\n")
        return "\n".join(lines) + "\n"

    def _source(self, value: Value, number: int) -> None:
        name, stream = self.design.names[value.name], self.design.stream(value)
        self._comment([f"Input {value.name}: {_shape(value)}, {_numbers(stream)}."])
        self._wires(value)
        ports = dict(CLOCK)
        for part in ("tvalid", "tready", "tdata", "tlast"):
            ports[f"s_axis_{part}"] = f"s_axis_{name}_{part}"
        ports |= {**sends(f"v_{name}"), "error": f"error_{name}"}
        parameters = {
            "ELEMENT": stream.element,
            "TDATA": data_bits(stream.element),
            "FRAME": value.size,
        }
        self._add(instance("axis_source", f"source_{name}", parameters, ports))

    def _sink(self, value: Value) -> None:
        name, stream = self.design.names[value.name], self.design.stream(value)
        number = self.design.plan.outputs.index(value.name)
        self._comment([f"Output {value.name}: {_shape(value)}, {stream.bits} bits."])
        ports = {**CLOCK, **receives(self._ports[-1 - number])}
        for part in ("tvalid", "tready", "tdata", "tlast", "tuser"):
            ports[f"m_axis_{part}"] = f"m_axis_{name}_{part}"
        parameters = {
            "STEPS": stream.steps,
            "BITS": stream.bits,
            "TDATA": data_bits(stream.bits),
            "TUSER": bits_of(value.size),
            "FRAME": value.size,
        }
        self._add(instance("axis_sink", f"sink_{name}", parameters, ports))

    # Engines

    def _layer(self, engine: LayerEngine) -> None:
        name, fold, sent = self.design.names[engine.stage.result.name], engine.fold, engine.sent
        joined, beats = "", 0
        for number, (window, stream) in enumerate(zip(engine.windows, engine.inputs, strict=True)):
            words = f"w{number}_{name}"
            self._window(window, words, stream.element, "")
            if stream != sent:
                words = self._adapted(words, stream, sent, fold.inputs)
            if joined:
                bits = fold.inputs * sent.element
                words = self._merged(joined, words, (beats, window.beats), bits)
            joined, beats = words, beats + window.beats
        self._sums(engine, joined, name)
        self._neurons(engine, name)

    def _window(self, window: Window, name: str, element: int, inside: str) -> None:
        """A window, which hands on words as `NAME_valid`, `NAME_ready` and `NAME_data`."""
        self._add(wires(name, element * window.walk.lanes))
        if inside:
            self._add(f"    wire {inside};\n")
        ports = {**CLOCK, **receives(self._ports[id(window.edge)]), **sends(name)}
        ports["out_inside"] = inside
        self._add(instance("window", f"window_{name}", of_window(window, element), ports))

    def _adapted(self, name: str, stream: Stream, sent: Stream, lanes: int) -> str:
        """Words of another form; the name of their stream."""
        made = f"a_{name}"
        self._add(wires(made, lanes * sent.element))
        self._add(f"    assign {made}_valid = {name}_valid;\n")
        self._add(f"    assign {name}_ready = {made}_ready;\n")
        ports = {"in_data": f"{name}_data", "out_data": f"{made}_data"}
        self._add(instance("adapt", f"adapt_{name}", of_adapt(lanes, stream, sent), ports))
        return made

    def _merged(self, first: str, second: str, beats: tuple[int, int], bits: int) -> str:
        """Words of one synapse after those of others; the name of their stream."""
        made = f"m_{second}"
        self._add(wires(made, bits))
        ports = {**CLOCK, **receives(first, "a"), **receives(second, "b"), **sends(made)}
        parameters = {"WIDTH": bits, "FIRST": beats[0], "SECOND": beats[1]}
        self._add(instance("merge", f"merge_{made}", parameters, ports))
        return made

    def _file(self, name: str, words: str) -> dict[str, int | str]:
        """Parameters of a memory whose words stand in a file of the weights."""
        file, depth = f"weights/{name}.mem", words.count("\n")
        self.files[file] = words
        return {"DEPTH": depth, "ADDRESS": bits_of(depth), "FILE": text(file)}

    def _sums(self, engine: LayerEngine, words: str, name: str) -> None:
        parameters = of_sums(engine)
        if engine.weight_words:
            content = hex_words(engine.weights(), engine.weight_bits)
            parameters |= self._file(f"{name}.weights", content)
        bits = engine.fold.outputs * engine.sent.steps * engine.stage.sum.bits
        self._add(wires(f"t_{name}", bits))
        ports = {**CLOCK, **receives(words), **sends(f"t_{name}")}
        self._add(instance("sums", f"sums_{name}", parameters, ports))

    def _neurons(self, engine: LayerEngine, name: str) -> None:
        stage, constants = engine.stage, constants_of(engine.stage)
        parameters, bits = of_neurons(engine, constants), sum(constants.bits)
        if constants.same:
            parameters["ONLY"] = f"{bits}'h{constants.words(1)[0]:x}"
        else:
            digits = -(-engine.fold.units * bits // 4)
            words = [f"{word:0{digits}x}\n" for word in constants.words(engine.fold.units)]
            parameters |= self._file(f"{name}.neurons", "".join(words))
        if not isinstance(stage.rule, Store):
            parameters["PROBE"] = text(probe_file(name))
        ports = {**CLOCK, **receives(f"t_{name}"), **sends(f"v_{name}")}
        ports["overflow"] = f"overflow_{name}" if stage.limits is not None else ""
        self._add(instance("neurons", f"neurons_{name}", parameters, ports))

    def _pool(self, engine: PoolEngine) -> None:
        name = self.design.names[engine.stage.result.name]
        words = f"w0_{name}"
        self._window(engine.window, words, engine.sent.element, f"{words}_inside")
        parameters = {**of_pool(engine), "PROBE": text(probe_file(name))}
        ports = {**CLOCK, **receives(words), "in_inside": f"{words}_inside", **sends(f"v_{name}")}
        self._add(instance("max_pool", f"pool_{name}", parameters, ports))

    def _reorder(self, engine: ReorderEngine) -> None:
        name, out = self.design.names[engine.stage.result.name], engine.out
        data = []
        for number, (edge, stream) in enumerate(zip(engine.edges, engine.inputs, strict=True)):
            port = self._ports[id(edge)]
            data.append(f"{port}_data")
            if (stream.steps, stream.bits) != (out.steps, out.bits):
                data[-1] = f"r{number}_{name}_data"
                self._add(f"    wire [{out.element - 1}:0] {data[-1]};\n")
                ports = {"in_data": f"{port}_data", "out_data": data[-1]}
                label = f"adapt_{number}_{name}"
                self._add(instance("adapt", label, of_adapt(1, stream, out), ports))
        parameters = {**of_reorder(engine), **self._file(f"{name}.table", table_words(engine))}
        read = [self._ports[id(edge)] for edge in engine.edges][::-1]
        ports = {
            **CLOCK,
            "in_valid": f"{{{', '.join(f'{port}_valid' for port in read)}}}",
            "in_ready": f"{{{', '.join(f'{port}_ready' for port in read)}}}",
            "in_data": f"{{{', '.join(data[::-1])}}}",
            **sends(f"v_{name}"),
        }
        self._add(instance("reorder", f"reorder_{name}", parameters, ports))

    # Text

    def _add(self, part: str) -> None:
        self._parts.append(part)

    def _comment(self, lines: list[str]) -> None:
        rule = f"    // {'-' * 90}\n"
        self._add(rule + "".join(f"    // {line}\n" for line in lines))


def _shape(value: Value) -> str:
    return " x ".join(map(str, value.shape)) or "a scalar"


def _numbers(stream: Stream) -> str:
    kind = "signed" if stream.signed else "unsigned"
    steps = f"{stream.steps} steps of " if stream.steps > 1 else ""
    return f"{steps}{stream.bits} {kind} bits"


def _about(engine: Engine, design: Design) -> list[str]:
    """What stands above an engine: its numbers."""
    stage, out = engine.stage, engine.out
    total = engine.pixel_cycles * stage.result.positions
    loc = f" (ONNX: {stage.loc})" if stage.loc else ""
    lines = [f"%{stage.result.name}{loc}: {_shape(stage.result)}, {_numbers(out)}."]
    if isinstance(engine, LayerEngine):
        fold, layer = engine.fold, engine.stage
        for term in layer.terms:
            kernel = " x ".join(str(axis.taps) for axis in term.axes)
            lines.append(f"Reads %{term.source.name} through %{term.name}, {kernel} taps.")
        lines.append(
            f"Sums in [{layer.sum.low}, {layer.sum.high}], potentials in "
            f"[{layer.state.low}, {layer.state.high}], proven."
        )
        lines.append(
            f"Fold: {fold.outputs} neurons x {1 if fold.diagonal else fold.inputs} channels at "
            f"once, {fold.units} scanned; {total} cycles for a sample."
        )
    else:
        lines.append(f"{total} cycles for a sample.")
    return lines
