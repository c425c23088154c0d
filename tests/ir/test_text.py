import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikec.ir import (
    F32,
    F64,
    OPS,
    DType,
    Graph,
    InvalidGraph,
    Node,
    Param,
    ParseError,
    TensorType,
    parse,
    same_values,
    signed,
    unsigned,
    verify,
)
from spikec.ir.op import STAGES
from spikec.ir.ops.activations.pointwise import FUNCTIONS
from spikec.ir.verify import is_windowed

GOLDEN = """\
graph @tiny <stage=int, steps=4> {
  param @x.scale : f64[]
  param @x.offset : f64[]
  param @c.w : i8[2,1,2,2]
  param @n.theta : i24[2]
  param @n.v0 : i24[]
  param @d.w : i8[2,8]
  param @o.bias : i24[2]
  %x : u8[1,3,3] = input() <scale=@x.scale, offset=@x.offset> from "image"
  %c : i24[2,2,2] = conv(%x) <w=@c.w, strides=[1, 1], pads=[0, 0, 0, 0], dilations=[1, 1], groups=1>
  %n : spike[2,2,2] = integrate(%c) <theta=@n.theta, v0=@n.v0> from "Relu_1"
  %f : spike[8] = reshape(%n) <shape=[8]>
  %d : i24[2] = dense(%f) <w=@d.w> from "Gemm_2"
  %o : i24[2] = accumulate(%d) <bias=@o.bias>
  return %o
}
"""


def test_golden(graph_text):
    graph = parse(graph_text)
    assert graph.to_text() == GOLDEN
    assert graph.to_text(values=True) == graph_text
    assert parse(GOLDEN) == graph
    assert not same_values(parse(GOLDEN), graph)
    assert graph["n"].loc == "Relu_1"
    assert graph.array(graph["c"], "w").dtype == np.int8


def test_comments_and_layout_do_not_matter(graph_text):
    loose = graph_text.replace("\n", " // note\n").replace(" = ", "\n=\n")
    assert same_values(parse(loose), parse(graph_text))


def test_strings_are_escaped():
    node = Node("x", OPS["input"](), (), TensorType(F32, (2,)), loc='a "b" \\ \n é \u2028')
    graph = Graph("g", "ann", 0, (node,), ("x",), source='dir/"m".onnx')
    assert parse(graph.to_text()) == graph


HEAD = "graph @g <stage=ann, steps=0> {\n"
X = "  %x : f32[2] = input()\n"


def fails(text: str) -> str:
    with pytest.raises(ParseError) as caught:
        parse(text, file="net.spk")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "net.spk:1:1: the text ends too early; expected 'graph'\n  \n  ^"),
        ("graf", "net.spk:1:1: expected 'graph'\n  graf\n  ^"),
        (
            HEAD + X + "  %y : f32[2] = relu(x)\n  return %y\n}",
            "net.spk:3:22: expected '%' or ')'\n    %y : f32[2] = relu(x)\n" + " " * 23 + "^",
        ),
        (
            HEAD + X + "  %y : f33[2] = relu(%x)\n  return %y\n}",
            "net.spk:3:8: element type 'f33' has an unsupported width\n"
            "    %y : f33[2] = relu(%x)\n" + " " * 9 + "^",
        ),
        (
            HEAD + X + "  %y : f32[0] = relu(%x)\n  return %y\n}",
            "net.spk:3:8: a shape holds positive integers\n"
            "    %y : f32[0] = relu(%x)\n" + " " * 9 + "^",
        ),
        (
            HEAD + "  param @w : i8[1] = [200]\n" + X + "  return %x\n}",
            "net.spk:2:3: the values of @w leave the range of i8\n"
            "    param @w : i8[1] = [200]\n" + " " * 4 + "^",
        ),
        (
            HEAD + "  param @w : i8[1] = [1.5]\n" + X + "  return %x\n}",
            "net.spk:2:3: the values of @w do not form an array of i8[1]\n"
            "    param @w : i8[1] = [1.5]\n" + " " * 4 + "^",
        ),
        (
            HEAD + "  param @w : f32[2] = [[1, 2], [3]]\n" + X + "  return %x\n}",
            "net.spk:2:3: the values of @w do not form an array of f32[2]\n"
            "    param @w : f32[2] = [[1, 2], [3]]\n" + " " * 4 + "^",
        ),
        (
            HEAD + "  param @w : f32[2] = [1]\n" + X + "  return %x\n}",
            "net.spk:2:3: the values of @w have shape [1], not f32[2]\n"
            "    param @w : f32[2] = [1]\n" + " " * 4 + "^",
        ),
    ],
)
def test_errors_show_the_place(text, message):
    assert fails(text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + X + "  return %x\n", "the text ends too early; expected ',' or '}'"),
        (HEAD + X + "  return x\n}", "net.spk:3:10: expected '%'"),
        (HEAD + X + "}", "net.spk:3:1: expected 'from' or '<' or 'param'"),
        ("graph @g <stage=ann> {\n" + X + "  return %x }", "must set stage and steps"),
        ("graph @g <stage=ann, steps=0, a=1> {\n" + X + "  return %x }", "must set stage"),
        ("graph @g <stage=ann, steps=0, steps=1> {\n" + X + "  return %x }", "each once"),
        ("graph @g <stage=ann, steps=one> {\n" + X + "  return %x }", "steps an integer"),
        ("graph @g <stage=ann, steps=true> {\n" + X + "  return %x }", "steps an integer"),
        (HEAD + "param @w : f32[]\nparam @w : f32[]\n" + X + "return %x }", "declared twice"),
        (HEAD + X + "%y : f32[2] = clip(%x) <hi=1.0, hi=2.0>\nreturn %y }", "an attribute twice"),
        (HEAD + X + '  return %x\n} "more"', "expected the end"),
        (HEAD + '%x : f32[2] = input() from "\\q"\n return %x }', "bad string"),
        (
            HEAD + "%x : q8[2] = input()\n return %x }",
            "hint: f32, f64, iN, uN, spike, spikeN, ispikeN or uspikeN",
        ),
        (HEAD + "%x : f32[2] = input() ;\n return %x }", "net.spk:2:23: expected"),
    ],
)
def test_more_errors(text, message):
    assert message in fails(text)


def test_a_huge_number_is_an_error_not_a_crash():
    assert "digits" in fails(HEAD + f"%x : f32[{'9' * 5000}] = input()\n return %x }}")


# Random graphs over all ops.


def _names(draw):
    return draw(st.from_regex(r"[A-Za-z_][A-Za-z0-9_.]{0,6}", fullmatch=True))


FLOATS = st.floats(allow_nan=False, width=32)


def _values(dtype: DType, shape: tuple[int, ...], draw) -> np.ndarray:
    size = int(np.prod(shape))
    if dtype.kind == "f":
        element = st.floats(width=dtype.bits)
    else:
        low, high = dtype.bounds
        element = st.integers(low, high)
    pool = draw(st.lists(element, min_size=1, max_size=4))
    return np.array([pool[i % len(pool)] for i in range(size)], dtype.storage).reshape(shape)


class _Grower:
    """Appends random valid nodes to a graph."""

    def __init__(self, draw) -> None:
        self.draw = draw
        self.stage = draw(st.sampled_from(STAGES))
        self.nodes: list[Node] = []
        self.params: dict[str, Param] = {}
        self.number = DType("f", 32) if self.stage != "int" else signed(24)
        self.ints = st.integers(1, 3)

    def pick(self, rank: int | None = None) -> Node:
        fitting = [n for n in self.nodes if rank is None or len(n.type.shape) == rank]
        return self.draw(st.sampled_from(fitting))

    def shape(self, rank: int) -> tuple[int, ...]:
        return tuple(self.draw(st.integers(3, 4)) for _ in range(rank))

    def param(self, name: str, shape: tuple[int, ...], dtype: DType | None = None) -> str:
        dtype = dtype or (F32 if self.stage != "int" else signed(self.draw(st.integers(2, 24))))
        with_values = self.draw(st.booleans())
        type_ = TensorType(dtype, shape)
        array = _values(dtype, shape, self.draw) if with_values else None
        if array is not None and self.stage == "int" and name.endswith(".theta"):
            array = np.maximum(array, 1)
        self.params[name] = Param(type_) if array is None else Param.of(array, dtype)
        return name

    def spreadable(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.draw(st.sampled_from([(), shape[:1], shape]))

    def add(self, op: str, inputs=(), attrs=None, shapes=None) -> None:
        name = f"n{len(self.nodes)}"
        if self.draw(st.booleans()):
            name += "." + _names(self.draw)
        roles = {}
        for role, (shape, dtype) in (shapes or {}).items():
            roles[role] = self.param(f"{name}.{role}", shape, dtype)
        is_input = op in ("input", "frames")
        shape_of_input = attrs.pop("_shape") if is_input else ()
        kind = OPS[op].of(attrs or {})
        types = {role: self.params[p].type for role, p in roles.items()}
        given = [i.type for i in inputs]
        if is_input:
            dtype = unsigned(8) if self.stage == "int" else F32
            out = TensorType(dtype, shape_of_input)
        else:
            shape = kind.infer(given, types)
            spiking = kind.payload_type(given)
            dtype = {"spike": spiking, "same": given[0].dtype}.get(kind.result, self.number)
            out = TensorType(dtype, shape)
        loc = self.draw(st.none() | st.text(max_size=5))
        self.nodes.append(Node(name, kind, tuple(i.name for i in inputs), out, roles, loc))

    def window(self, rank: int) -> dict:
        many = [tuple(self.draw(st.integers(1, 2)) for _ in range(rank)) for _ in range(2)]
        pads = tuple(self.draw(st.integers(0, 1)) for _ in range(2 * rank))
        return {"strides": many[0], "pads": pads, "dilations": many[1]}

    def grow(self, op: str) -> None:
        getattr(self, f"op_{op}", self.plain)(op)

    def plain(self, op: str) -> None:
        self.add(op, [self.pick()])

    def op_input(self, op):
        units = {r: ((), F64) for r in ("scale", "offset")} if self.draw(st.booleans()) else {}
        self.add(op, (), {"_shape": self.shape(self.draw(st.integers(1, 3)))}, units)

    op_frames = op_input

    def op_accumulate(self, op):
        x = self.pick()
        self.add(op, [x], {}, {"bias": (self.spreadable(x.type.shape), None)})

    def op_add(self, op):
        x = self.pick()
        same = [n for n in self.nodes if n.type.shape == x.type.shape]
        self.add(op, self.draw(st.lists(st.sampled_from(same), min_size=1, max_size=3)))

    def op_affine(self, op):
        x = self.pick()
        self.add(op, [x], {}, {"w": (self.spreadable(x.type.shape), None)})

    def op_clip(self, op):
        self.add(op, [self.pick()], {"hi": self.draw(st.floats(1e-6, 1e6))})

    def op_concat(self, op):
        x = self.pick()
        same = [n for n in self.nodes if n.type == x.type]
        many = self.draw(st.lists(st.sampled_from(same), min_size=1, max_size=2))
        self.add(op, many, {"axis": self.draw(st.integers(0, len(x.type.shape) - 1))})

    def op_conv(self, op):
        x = self.pick(3)
        w = (2, x.type.shape[0], 1, 2)
        attrs = {**self.window(2), "groups": 1}
        attrs["dilations"] = (1, 1)
        self.add(op, [x], attrs, {"w": (w, None), "b": ((2,), None)})

    def op_conv_transpose(self, op):
        x = self.pick(3)
        attrs = {**self.window(2), "pads": (0,) * 4, "groups": 1, "extra": (0, 1)}
        self.add(op, [x], attrs, {"w": ((x.type.shape[0], 2, 2, 1), None)})

    def op_dense(self, op):
        x = self.pick(1)
        self.add(op, [x], {}, {"w": ((3, x.type.shape[0]), None), "b": ((3,), None)})

    def op_gather(self, op):
        x = self.pick()
        axis = self.draw(st.integers(0, len(x.type.shape) - 1))
        one = st.integers(0, x.type.shape[axis] - 1)
        many = self.draw(st.lists(one, min_size=1, max_size=3))
        self.add(op, [x], {"axis": axis, "indices": tuple(many)})

    def neuron(self, op, attrs):
        x = self.pick()
        spec = OPS[op].params
        roles = [role for role in spec if not spec[role].is_unit]
        shapes = {role: (self.spreadable(x.type.shape), None) for role in roles}
        if self.draw(st.booleans()):
            attrs["core"] = self.draw(st.integers(0, 127))
        self.add(op, [x], attrs, {**shapes, "scale": (x.type.shape[:1], F64)})

    def op_integrate(self, op):
        self.neuron(op, {})

    def op_integrate_signed(self, op):
        self.neuron(op, {"free": self.draw(st.booleans())})

    def op_integrate_window(self, op):
        self.neuron(op, {"free": self.draw(st.booleans())})

    def op_integrate_graded(self, op):
        attrs = {"free": self.draw(st.booleans()), "levels": self.draw(st.integers(2, 8))}
        self.neuron(op, attrs)

    op_integrate_radix = op_integrate_window
    op_integrate_window_graded = op_integrate_graded

    def op_integrate_integer(self, op):
        attrs = {"free": self.draw(st.booleans()), "bits": self.draw(st.integers(2, 8))}
        self.neuron(op, attrs)

    op_integrate_window_integer = op_integrate_integer

    def op_accumulate_radix(self, op):
        self.op_accumulate(op)

    def pool(self, op):
        x = self.pick(3)
        attrs = {"kernel": (1, 2), **self.window(2), "dilations": (1, 1)}
        if op in ("max_pool_count", "max_pool_radix"):  # a window of pads alone is refused
            attrs |= {"pads": (0, *attrs["pads"][1:2], 0, 0), "strides": (1, 1)}
        self.add(op, [x], attrs)

    op_max_pool = op_max_pool_count = op_max_pool_radix = op_sum_pool = pool

    def op_pad(self, op):
        x = self.pick()
        pads = tuple(self.draw(st.integers(0, 1)) for _ in range(2 * len(x.type.shape)))
        self.add(op, [x], {"pads": pads})

    def op_pointwise(self, op):
        fn = self.draw(st.sampled_from(sorted(FUNCTIONS)))
        self.add(op, [self.pick()], {"fn": fn, "alpha": self.draw(FLOATS)})

    def op_qcfs(self, op):
        x = self.pick()
        even = self.draw(st.booleans())
        attrs = {"levels": self.draw(st.integers(1, 300)), "shift": 0.5 if even else 0.25}
        attrs["rounding"] = "even" if even else "floor"
        self.add(op, [x], attrs, {"lambda": (self.spreadable(x.type.shape), None)})

    def op_quantize(self, op):
        x = self.pick()
        attrs = {"lo": -4, "hi": 3, "rounding": "even"}
        self.add(op, [x], attrs, {"scale": (self.spreadable(x.type.shape), None)})

    def op_reduce_sum(self, op):
        x = self.pick()
        axes = self.draw(st.sets(st.integers(0, len(x.type.shape) - 1)))
        self.add(op, [x], {"axes": tuple(sorted(axes))})

    def op_reshape(self, op):
        x = self.pick()
        shapes = [(x.type.size,), (1, x.type.size), x.type.shape[::-1]]
        self.add(op, [x], {"shape": self.draw(st.sampled_from(shapes))})

    def op_slice(self, op):
        x = self.pick()
        rank = len(x.type.shape)
        sizes = tuple(self.draw(st.integers(1, s)) for s in x.type.shape)
        back = self.draw(st.booleans())
        starts = tuple(s - 1 if back else 0 for s in sizes)
        self.add(op, [x], {"starts": starts, "sizes": sizes, "steps": (-1 if back else 1,) * rank})

    def op_transpose(self, op):
        x = self.pick()
        perm = self.draw(st.permutations(range(len(x.type.shape))))
        self.add(op, [x], {"perm": tuple(perm)})

    def op_upsample(self, op):
        x = self.pick()
        self.add(op, [x], {"factors": tuple(self.draw(self.ints) for _ in x.type.shape)})

    def finish(self) -> Graph:
        if self.stage == "ann":
            outputs = (self.pick().name,)
        else:
            self.op_accumulate("accumulate")
            outputs = (self.nodes[-1].name,)
        steps = 0 if self.stage == "ann" else self.draw(st.integers(1, 32))
        source = self.draw(st.none() | st.text(max_size=8))
        return Graph(
            _names(self.draw), self.stage, steps, tuple(self.nodes), outputs, self.params, source
        )


@st.composite
def graphs(draw, op: str | None = None) -> Graph:
    grower = _Grower(draw)
    if op is not None and grower.stage not in OPS[op].stages:
        grower.stage = OPS[op].stages[0]
        grower.number = F32
    for rank in (3, 1):
        grower.add("input", (), {"_shape": grower.shape(rank)})
    names = [name for name, kind in OPS.items() if grower.stage in kind.stages]
    chosen = [op] if op else draw(st.lists(st.sampled_from(names), max_size=6))
    if "frames" in chosen:
        chosen = [name for name in chosen if not is_windowed(OPS[name])]
    for name in chosen:
        grower.grow(name)
    return grower.finish()


def check_round_trip(graph: Graph) -> None:
    verify(graph)
    short = parse(graph.to_text())
    assert short == graph
    assert short.to_text() == graph.to_text()
    full = parse(graph.to_text(values=True))
    assert same_values(full, graph)
    assert all(full.params[n].array is None or not full.params[n].array.flags.writeable
               for n in full.params)  # fmt: skip


@given(graphs())
@settings(max_examples=120)
def test_random_graphs_read_back(graph):
    check_round_trip(graph)


@pytest.mark.parametrize("op", sorted(OPS))
def test_every_op_reads_back(op):
    @given(graphs(op))
    @settings(max_examples=5)
    def inner(graph):
        assert any(node.op == op for node in graph.nodes)
        check_round_trip(graph)

    inner()


@given(data=st.data())
@settings(max_examples=300)
def test_mutated_text_gives_only_clear_errors(graph_text, data):
    text = graph_text
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        end = min(len(text), at + data.draw(st.integers(0, 6)))
        piece = data.draw(
            st.sampled_from(["", "%", "@", "<", "]", "-1", "0", "1.5", "nan", "inf", "1e9", '"',
                             "true", "spike", "f32", "i8", "u64", "x", "{", ",", "return", "//",
                             "999999999999999999999"])
            | st.text(max_size=3)
        )  # fmt: skip
        text = text[:at] + piece + text[end:]
        if not text:
            break
    try:
        graph = parse(text)
    except (ParseError, InvalidGraph) as error:
        clear = isinstance(error, InvalidGraph) or (error.loc is not None and "^" in str(error))
    else:
        clear = parse(graph.to_text(values=True)) == graph
    assert clear


@pytest.mark.parametrize("value", [1e-5, 1e20, 1.0, 5e-324, 1.7976931348623157e308])
def test_float_attributes_read_back(value):
    text = f"{HEAD}{X}  %y : f32[2] = clip(%x) <hi={value!r}>\n  return %y\n}}"
    assert parse(parse(text).to_text())["y"].operation.hi == value


def test_numpy_numbers_in_attributes_print_as_plain_ones():
    x = Node("x", OPS["input"](), (), TensorType(F32, (2,)))
    y = Node("y", OPS["clip"].of({"hi": np.float64(0.5)}), ("x",), TensorType(F32, (2,)))
    graph = verify(Graph("g", "ann", 0, (x, y), ("y",)))
    assert parse(graph.to_text()) == graph


@pytest.mark.parametrize("kind", ["u64", "i64"])
def test_the_widest_integers_read_back(kind):
    dtype = DType.parse(kind)
    wide = np.array(dtype.bounds, dtype.storage)
    x = Node("x", OPS["input"](), (), TensorType(F32, (2,)))
    graph = Graph("g", "ann", 0, (x,), ("x",), {"p": Param.of(wide, dtype)})
    assert same_values(parse(graph.to_text(values=True)), graph)


def test_defaults_are_filled_in_and_printed():
    graph = parse(f"{HEAD}{X}  %y : f32[4] = concat(%x, %x)\n  return %y\n}}")
    assert graph["y"].operation == OPS["concat"](axis=0)
    assert "concat(%x, %x) <axis=0>" in graph.to_text()


@pytest.mark.parametrize(
    ("node", "problem"),
    [
        ("warp(%x)", "unknown op 'warp' in %y"),
        ("relu(%x) <hi=1.0>", "%y = relu: unknown attribute 'hi'"),
        ("clip(%x)", "%y = clip: attribute 'hi' is missing"),
        ("clip(%x) <hi=high>", "%y = clip: attribute 'hi' must be float, not 'high'"),
        ("quantize(%x) <lo=-1, hi=1, rounding=up>", "%y = quantize: unknown rounding 'up'"),
    ],
)
def test_wrong_ops_and_attributes_have_a_place(node, problem):
    with pytest.raises(ParseError) as caught:
        parse(f"{HEAD}{X}  %y : f32[2] = {node}\n  return %y\n}}")
    assert caught.value.message.splitlines()[0] == problem
    assert caught.value.loc.startswith("<text>:3:")


def test_types_stand_below_each_other():
    text = parse("""graph @x <stage=int, steps=1> {
      %a : u8[1] = input()
      %longer : i24[1] = accumulate(%a)
      return %longer
    }""").to_text()
    nodes = [line for line in text.splitlines() if line.startswith("  %")]
    assert [line.index(" : ") for line in nodes] == [len("  %longer")] * 2
