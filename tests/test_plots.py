"""Pictures: what is drawn is what was given, nothing is cut off, and the command says what is wrong."""

import itertools
import math
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot

import minioss
from minioss import cli, mxfp4, plots
from minioss.attention import visible
from minioss.cli import plot
from minioss.config import RopeConfig
from minioss.parts import Part, parts
from minioss.plots.conversation import KINDS
from minioss.plots.experts import entropy
from minioss.plots.labels import LONGEST
from minioss.plots.training import COLUMNS
from minioss.rope import inverse_frequencies, yarn_ramp
from minioss.text.harmony.messages import Message, System
from minioss.text.harmony.rendering import render

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def no_window():
    matplotlib.use("agg")
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def model(tiny):
    return minioss.load(tiny)


@pytest.fixture(scope="module")
def encoding(model):
    return minioss.load_tokenizer(model.folder, model.config.vocab_size)


def random_trace(T, layers=(0,), n=2, E=4, A=2, window=None):
    """Attention and routing of a model that is none."""
    random, trace = np.random.default_rng(T), {"tokens": np.arange(T)}
    for layer in layers:
        scores = np.where(visible(T, T, window), random.normal(size=(n, T, T)), -np.inf)
        exponentials = np.exp(scores)
        trace[f"layers.{layer}.attention.weights"] = exponentials / (exponentials.sum(axis=-1, keepdims=True) + 0.3)
        logits = random.normal(size=(T, E))
        trace[f"layers.{layer}.router.logits"] = logits
        trace[f"layers.{layer}.router.experts"] = np.argsort(-logits, axis=1)[:, :A]
    return trace


ODD = [
    random_trace(1, n=1, E=1, A=1),
    random_trace(7, layers=(2, 0, 11), n=3, E=5, A=2, window=3),
    random_trace(150, n=1, E=130, A=4, window=64),
    random_trace(9, layers=range(40), n=70, E=3, A=3),
]
odd = pytest.mark.parametrize("trace", ODD, ids=["one", "few", "long", "deep"])


def layers_of(trace):
    return sorted({int(name.split(".")[1]) for name in trace if name.startswith("layers.")})


def mesh(ax):
    """The matrix that was drawn."""
    (drawn,) = ax.collections[:1]
    return np.asarray(drawn.get_array().filled(np.nan))


def texts(ticks):
    return [tick.get_text() for tick in ticks]


def hold_legible(ax):
    """Nothing is cut off, no label of an axis overlaps another, and the axes say what they are."""
    figure = ax.figure
    figure.draw_without_rendering()
    drawn = figure.get_tightbbox()
    assert drawn.x0 > -0.01 and drawn.y0 > -0.01
    assert drawn.x1 < figure.get_figwidth() + 0.01 and drawn.y1 < figure.get_figheight() + 0.01
    for labels, (start, end) in (
        (ax.get_xticklabels() + ax.get_xticklabels(minor=True), ax.bbox.intervalx),
        (ax.get_yticklabels(), ax.bbox.intervaly),
    ):
        boxes = [each.get_window_extent() for each in labels if each.get_text()]
        across = [(box.intervalx if labels[0] in ax.get_xticklabels() else box.intervaly) for box in boxes]
        inside = sorted(tuple(each) for each in across if start <= sum(each) / 2 <= end)
        assert all(one[1] < other[0] + 1 for one, other in itertools.pairwise(inside))
    assert ax.get_xlabel() or ax.get_title(loc="left")
    assert ax.get_ylabel() or not len(ax.get_yticks()) or texts(ax.get_yticklabels())[0][0].isalpha()


# Attention


@odd
def test_attention_map(trace):
    layer = layers_of(trace)[-1]
    weights = trace[f"layers.{layer}.attention.weights"][-1]
    T = len(weights)
    ax = plots.attention_map(trace, layer, len(trace[f"layers.{layer}.attention.weights"]) - 1)
    assert mesh(ax).shape == (T, T + 1) and np.allclose(mesh(ax).sum(axis=1), 1)
    assert np.array_equal(mesh(ax)[:, 1:], weights)
    assert texts(ax.get_xticklabels(minor=True)) == ["sink"]
    assert ax.get_xticks(minor=True)[0] < -0.5 and ax.get_xticks()[0] == 0
    hold_legible(ax)


def test_white_is_out_of_sight_and_nothing_else():
    trace = random_trace(7, window=3)
    weights = trace["layers.0.attention.weights"]
    weights[0, 4] /= weights[0, 4].sum()  # nothing for the sink
    ax = plots.attention_map(trace, 0, 0)
    colors = ax.collections[0].to_rgba(mesh(ax))
    is_white = (colors == 1).all(axis=-1)
    assert np.array_equal(is_white, np.c_[np.zeros(7, bool), ~visible(7, 7, 3)])


def test_labels_of_tokens_stand_at_their_rows_and_columns(encoding):
    ids = encoding.encode("a b\n$x$<|start|>é\x1b", allowed_special="all")
    labels = plots.token_labels(ids, encoding)
    assert labels == ["a", "␣", "b", "↵", r"\$", "x", r"\$", "<|start|>", "�", "�", "□"]
    ax = plots.attention_map(random_trace(len(ids)), 0, 1, labels)
    for axis in (ax.xaxis, ax.yaxis):
        assert list(axis.get_ticklocs()) == list(range(len(ids))) and texts(axis.get_ticklabels()) == labels
    hold_legible(ax)
    with pytest.raises(minioss.InputError, match="there are 10 labels for 11 tokens"):
        plots.attention_map(random_trace(11), 0, 1, labels[1:])


@settings(max_examples=30)
@given(text=st.text(max_size=20))
def test_labels_are_short_and_harmless(encoding, text):
    token = encoding.encode_single_token("<|start|>")
    for label in plots.token_labels([*encoding.encode(text, disallowed_special=()), token], encoding):
        assert 0 < len(label.replace(r"\$", "$")) <= LONGEST
        assert label.isprintable() and label.count("$") == label.count(r"\$")


@odd
def test_sink_mass(trace):
    ax = plots.sink_mass(trace)
    for row, layer in enumerate(layers_of(trace)):
        expected = [1 - head.sum() / len(head) for head in trace[f"layers.{layer}.attention.weights"]]
        assert np.allclose(mesh(ax)[row], expected)
    marked = dict(zip(ax.get_yticks(), texts(ax.get_yticklabels()), strict=True))
    assert marked and all(layers_of(trace)[int(row)] == int(name) for row, name in marked.items())
    hold_legible(ax)


@pytest.mark.parametrize("T", [1, 16, 17, 3000])
@pytest.mark.parametrize("name", ["tiny", "20b"])
def test_windows(name, T):
    config = minioss.preset(name)
    ax = plots.windows(config, T)
    assert len(ax.patches) == config.num_hidden_layers
    for bar in ax.patches:
        layer = round(bar.get_y() + bar.get_height() / 2)
        seen = np.flatnonzero(visible(1, T, config.window(layer)))
        assert (bar.get_x(), bar.get_width()) == (seen[0], len(seen))
    hold_legible(ax)


# Experts


@odd
def test_expert_load(trace):
    ax = plots.expert_load(trace)
    for row, layer in enumerate(layers_of(trace)):
        chosen = trace[f"layers.{layer}.router.experts"]
        expected = [(chosen == expert).any(axis=1).mean() for expert in range(mesh(ax).shape[1])]
        assert np.allclose(mesh(ax)[row], expected) and math.isclose(sum(expected), chosen.shape[1])
    hold_legible(ax)


@odd
def test_co_activation(trace):
    layer = layers_of(trace)[0]
    chosen = [set(row) for row in trace[f"layers.{layer}.router.experts"].tolist()]
    ax = plots.co_activation(trace, layer)
    E = len(mesh(ax))
    for one, other in itertools.product(range(min(E, 12)), range(E)):
        with_one = [row for row in chosen if one in row]
        expected = sum(other in row for row in with_one) / max(len(with_one), 1)
        assert np.isnan(mesh(ax)[one, other]) if one == other else math.isclose(mesh(ax)[one, other], expected)
    hold_legible(ax)


@odd
def test_router_entropy(trace):
    ax = plots.router_entropy(trace)
    medians, most = ax.lines
    for place, layer in enumerate(layers_of(trace)):
        assert math.isclose(medians.get_ydata()[place], np.median(entropy(trace[f"layers.{layer}.router.logits"])))
    assert np.allclose(most.get_ydata(), math.log2(trace[f"layers.{layer}.router.logits"].shape[1]))
    hold_legible(ax)


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=9), st.floats(-100, 100))
def test_entropy_is_between_certainty_and_a_lottery(logits, shift):
    found = entropy(np.array([logits]))[0]
    assert -1e-9 <= found <= math.log2(len(logits)) + 1e-9
    assert math.isclose(found, entropy(np.array([logits]) + shift)[0], abs_tol=1e-6)
    assert math.isclose(entropy(np.full((1, len(logits)), shift))[0], math.log2(len(logits)), abs_tol=1e-9)


@odd
def test_load_by_channel_adds_up_to_the_load(trace):
    layer = layers_of(trace)[0]
    T = len(trace["tokens"])
    kinds = [KINDS[(token // 2) % 5] for token in range(T)]
    ax = plots.load_by_channel(trace, layer, kinds)
    rows = [label.split(" ") for label in texts(ax.get_yticklabels())]
    counts = np.array([int(count.strip("()")) for _, count in rows])
    assert [kinds.count(name) for name, _ in rows] == counts.tolist() and counts.sum() == T
    load = mesh(plots.expert_load(trace))[0]
    assert np.allclose(counts @ mesh(ax) / T, load)
    hold_legible(ax)
    with pytest.raises(minioss.InputError, match=f"there are {T + 1} kinds for {T} tokens"):
        plots.load_by_channel(trace, layer, [*kinds, "user"])


# The logit lens


@pytest.mark.parametrize(("T", "position"), [(1, -1), (9, 3)])
def test_logit_lens(model, encoding, T, position):
    ids = encoding.encode("$ay \n twice")[:T]
    trace = minioss.trace(model, ids)
    ax = plots.logit_lens(trace, model, encoding, position)
    probability = plots.lens(trace, model, position)
    exponentials = np.exp(trace["logits"][position].astype(np.float64))
    assert np.allclose(probability[-1], exponentials / exponentials.sum(), rtol=1e-4)
    cells = {tuple(map(round, each.get_position()[::-1])): each.get_text() for each in ax.texts}
    L = model.config.num_hidden_layers
    for row in range(L + 1):
        best = np.argsort(-probability[row], kind="stable")[:4]
        assert [cells[row, column] for column in range(4)] == plots.token_labels(best, encoding, 9)
        assert np.allclose(mesh(ax)[row, :4], probability[row, best])
    for layer in range(L):
        assert [cells[layer + 1, 5 + a] for a in range(2)] == [
            str(expert) for expert in trace[f"layers.{layer}.router.experts"][position]
        ]
        assert np.allclose(mesh(ax)[layer + 1, 5:], trace[f"layers.{layer}.router.weights"][position])
    hold_legible(ax)


def test_the_lens_says_what_it_lacks(model, encoding):
    trace = minioss.trace(model, [1, 2], ["embedding", "layers.*.output"])
    with pytest.raises(minioss.InputError, match="position is 2; expected -2 to 1"):
        plots.lens(trace, model, 2)
    with pytest.raises(minioss.InputError, match="has no layers.N.router.experts"):
        plots.logit_lens(trace, model, encoding)
    with pytest.raises(minioss.InputError, match="no embedding"):
        plots.lens({"tokens": trace["tokens"]}, model)
    del trace["layers.2.output"]
    with pytest.raises(minioss.InputError, match=r"of the layers \[0, 1, 3\]; expected 0 to 3"):
        plots.lens(trace, model)


# Number formats, positions, bytes


def test_number_line():
    ax = plots.number_line()
    assert sorted(set(mxfp4.CODES.tolist())) == ax.lines[0].get_xdata().tolist()
    told = [each.get_text().replace("−", "-").split(" = ") for each in ax.texts]
    bits = {nibble: float(value) for nibbles, value in told for nibble in nibbles.split(", ")}
    assert bits == {f"{nibble:04b}": code for nibble, code in enumerate(mxfp4.CODES)}
    for number in np.random.default_rng(0).uniform(-8, 8, 200):
        (band,) = [each for each in ax.patches if each.get_x() < number < each.get_x() + each.get_width()]
        nearest = mxfp4.CODES[np.abs(mxfp4.CODES - number).argmin()]
        assert band.get_x() < nearest < band.get_x() + band.get_width()
    hold_legible(ax)


def test_rounding_error_is_that_of_rounding():
    ax = plots.rounding_error()
    size, error = ax.lines[0].get_data()
    for number in np.random.default_rng(0).uniform(-6, 6, 200).astype(np.float32):
        block = np.full(32, number)
        block[0] = 6  # so that the scale is 1
        off = abs(float(mxfp4.rounded(block)[1]) - float(number))
        assert math.isclose(np.interp(abs(number), size, error), off, abs_tol=1e-6)
    hold_legible(ax)


@pytest.mark.parametrize(
    ("rope", "head_dim"), [(RopeConfig(), 64), (RopeConfig("default"), 2), (minioss.preset("tiny").rope, 32)]
)
def test_wavelengths(rope, head_dim):
    ax = plots.wavelengths(rope, head_dim)
    assert np.allclose(ax.lines[0].get_ydata(), 2 * math.pi * rope.rope_theta ** (np.arange(0, head_dim, 2) / head_dim))
    if rope.rope_type == "yarn":
        assert np.allclose(ax.lines[1].get_ydata(), 2 * math.pi / inverse_frequencies(rope, head_dim))
        (beside,) = (each for each in ax.figure.axes if each is not ax)
        corners = beside.collections[0].get_paths()[0].vertices
        assert all(any(np.allclose(corner, at) for corner in corners) for at in enumerate(yarn_ramp(rope, head_dim)))
    hold_legible(ax)


def test_bytes_per_token(model):
    found = parts(model.weights, model.config)
    huge = {name: Part(0, 0, 0, part.nbytes_read * 10**9) for name, part in found.items()}
    for each in (found, huge):
        ax = plots.bytes_per_token(each)
        *bars, whole = ax.patches
        assert [bar.get_width() for bar in bars] == [each[name].nbytes_read for name in each if name != "all"]
        assert np.allclose([bar.get_x() for bar in bars], np.cumsum([0, *(bar.get_width() for bar in bars[:-1])]))
        assert (whole.get_x(), whole.get_width()) == (0, each["all"].nbytes_read)
        assert texts(ax.get_yticklabels()) == list(each)
        hold_legible(ax)


@given(st.integers(1, 700))
def test_cache_size_is_what_a_cache_keeps(T):
    for name in ("tiny", "20b"):
        config = minioss.preset(name)
        without_windows, kept = (line.get_ydata() for line in plots.cache_size(config, T).lines)
        windows = [config.window(layer) for layer in range(config.num_hidden_layers)]
        in_view = sum(visible(1, T, window).sum() for window in windows)
        assert kept[-1] == in_view * 2 * config.num_key_value_heads * config.head_dim
        assert without_windows[-1] * in_view == kept[-1] * T * len(windows) and kept[0] == 0
        pyplot.close("all")


def test_cache_sizes_are_legible():
    for T in (1, 131072):
        hold_legible(plots.cache_size(minioss.preset("120b"), T))
    with pytest.raises(minioss.InputError, match="T is 0"):
        plots.cache_size(minioss.preset("tiny"), 0)


# The stream, sampling, two runs


@pytest.mark.parametrize("T", [1, 6])
def test_stream_sizes(model, T):
    trace = minioss.trace(model, range(T), ["embedding", "layers.*.output"])
    ax = plots.stream_sizes(trace)
    (medians,) = ax.lines
    stream = [trace["embedding"], *(trace[f"layers.{layer}.output"] for layer in range(4))]
    for median, line, x_TD in zip(medians.get_ydata(), ax.collections[0].get_segments(), stream, strict=True):
        sizes = sorted(math.sqrt((x_D * x_D).mean()) for x_D in x_TD)
        assert np.allclose([*line[:, 1], median], [sizes[0], sizes[-1], np.median(sizes)])
    assert texts(ax.get_xticklabels()) == ["embedding", "0", "1", "2", "3"]
    hold_legible(ax)
    with pytest.raises(minioss.InputError, match="no embedding"):
        plots.stream_sizes({name: array for name, array in trace.items() if name != "embedding"})


def test_temperatures(encoding):
    logits = np.random.default_rng(0).normal(size=encoding.n_vocab).astype(np.float32)
    ax = plots.temperatures(logits, encoding, (0.5, 3))
    for line, temperature in zip(ax.lines, (0.5, 3), strict=True):
        exponentials = np.exp(logits / np.float64(temperature))
        assert np.allclose(line.get_ydata(), np.sort(exponentials / exponentials.sum())[::-1][:12])
    assert texts(ax.get_xticklabels()) == plots.token_labels(np.argsort(-logits)[:12], encoding)
    hold_legible(ax)
    for wrong in ((), (1, 0), (1, 2, 3, 4, 5)):
        with pytest.raises(minioss.InputError, match="expected 1 to 4 above 0"):
            plots.temperatures(logits, encoding, wrong)


def test_deviations_begin_where_a_mistake_is(model):
    ids = list(range(40))
    reference = minioss.trace(model, ids)
    with minioss.fault("window-plus-one"):
        found = minioss.trace(model, ids)
    ax = plots.deviations(found, reference)
    equal, apart = ax.lines
    names = [name for name, array in reference.items() if array.dtype.kind == "f"]
    assert sorted([*equal.get_xdata(), *apart.get_xdata()]) == list(range(len(names)))
    same = [place for place, name in enumerate(names) if np.array_equal(found[name], reference[name])]
    assert equal.get_xdata().tolist() == same
    assert [each.get_text() for each in ax.texts] == ["first: layers.0.attention.scores"]
    assert texts(ax.get_xticklabels()) == ["0", "1", "2", "3"]
    hold_legible(ax)
    hold_legible(plots.deviations(reference, reference))
    with pytest.raises(minioss.InputError, match=r"logits is \(39, .*; expected \(40, "):
        plots.deviations({"logits": found["logits"][:-1]}, reference)
    with pytest.raises(minioss.InputError, match="share no array of numbers"):
        plots.deviations({"tokens": np.arange(40)}, reference)


# Conversations

SAID = [
    Message("system", System()),
    Message("user", "What is 85 + 347?"),
    Message("assistant", "Columns.", channel="analysis"),
    Message(
        "assistant", '{"a": 85}', channel="commentary", recipient="functions.add", content_type="<|constrain|>json"
    ),
    Message("tool", "432", channel="commentary", recipient="assistant", name="functions.add"),
    Message("assistant", "It is 432.", channel="final"),
    Message("assistant", "Anything else?"),
]


def test_the_kinds_of_tokens(encoding):
    ids = render(SAID, encoding)
    kinds = plots.token_kinds(ids, encoding)
    assert len(kinds) == len(ids) and set(kinds) <= set(KINDS)
    for kind, message in zip(("user", "analysis", "commentary", "tool", "final", "assistant"), SAID[1:], strict=True):
        assert (
            encoding.decode([token for token, each in zip(ids, kinds, strict=True) if each == kind]) == message.content
        )
    runs = [kind for kind, _ in itertools.groupby(kinds)]
    assert runs[::2] == ["header"] * (len(SAID) + 1)


def test_the_kinds_where_the_model_goes_on(encoding):
    ids = encoding.encode("<|channel|>analysis<|message|>so<|end|>", allowed_special="all")
    assert plots.token_kinds(ids, encoding) == ["header"] * (len(ids) - 3) + ["analysis"] * 2 + ["header"]
    assert set(plots.token_kinds(encoding.encode("raw text"), encoding)) == {"header"}


@settings(max_examples=15)
@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=60))
def test_timeline(kinds):
    ax = plots.timeline(kinds)
    rows = [label.split(" ")[0] for label in texts(ax.get_yticklabels())]
    found = []
    for bar in ax.patches:
        assert bar.get_x() == len(found)
        found += [rows[round(bar.get_y() + bar.get_height() / 2)]] * round(bar.get_width())
    assert found == kinds
    pyplot.close(ax.figure)


def test_timelines_are_legible():
    for kinds in (["user"], list(KINDS) * 20):
        hold_legible(plots.timeline(kinds))
    for kinds in ([], ["user", "chorus"]):
        with pytest.raises(minioss.InputError, match="expected some of system, developer, user"):
            plots.timeline(kinds)


# Training


def write_losses(path, steps):
    rows = [f"{step},{100 + step},{8 / step:.5f},1.0,0.5,1e-3" for step in steps]
    path.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    return path


@pytest.mark.parametrize("count", [1, 49, 300])
def test_loss_curve(tmp_path, count):
    losses = plots.read_losses(write_losses(tmp_path / "losses.csv", [*range(1, count + 1), count]))
    assert losses["step"].tolist() == list(range(1, count + 1))
    ax = plots.loss_curve(losses)
    each, mean = ax.lines
    assert np.allclose(each.get_ydata(), losses["cross_entropy"])
    assert np.allclose(each.get_xdata(), np.cumsum(losses["tokens"]) / 1e6)
    width = max(1, count // 50)
    assert len(mean.get_xdata()) == count - width + 1
    assert math.isclose(mean.get_ydata()[-1], losses["cross_entropy"][-width:].mean())
    hold_legible(ax)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "has no column step, tokens"),
        ("step,loss\n1,2\n", "has no column tokens, cross_entropy"),
        (",".join(COLUMNS), "holds no step"),
        (",".join(COLUMNS) + "\n1,2,3,4,5,6\n2,3,x,4,5,6\n", "line 3 of .* is no row of numbers"),
        (",".join(COLUMNS) + "\n1,2,3\n", "line 2 of .* is no row of numbers"),
    ],
)
def test_wrong_losses(tmp_path, content, told):
    path = tmp_path / "losses.csv"
    path.write_text(content)
    with pytest.raises(minioss.InputError, match=told):
        plots.read_losses(path)


# All of them


def test_they_draw_where_they_are_told(model, encoding):
    trace = minioss.trace(model, [1, 2, 3])
    losses = {"tokens": np.array([5.0, 6]), "cross_entropy": np.array([2.0, 1])}
    for draw in (
        lambda ax: plots.attention_map(trace, 1, 2, ax=ax),
        lambda ax: plots.sink_mass(trace, ax=ax),
        lambda ax: plots.windows(model.config, 5, ax=ax),
        lambda ax: plots.expert_load(trace, ax=ax),
        lambda ax: plots.co_activation(trace, 0, ax=ax),
        lambda ax: plots.router_entropy(trace, ax=ax),
        lambda ax: plots.load_by_channel(trace, 0, ["user"] * 3, ax=ax),
        lambda ax: plots.logit_lens(trace, model, encoding, ax=ax),
        lambda ax: plots.bytes_per_token(parts(model.weights, model.config), ax=ax),
        lambda ax: plots.number_line(ax=ax),
        lambda ax: plots.rounding_error(ax=ax),
        lambda ax: plots.wavelengths(model.config.rope, 32, ax=ax),
        lambda ax: plots.timeline(["user"], ax=ax),
        lambda ax: plots.loss_curve(losses, ax=ax),
        lambda ax: plots.stream_sizes(trace, ax=ax),
        lambda ax: plots.temperatures(trace["logits"][-1], encoding, ax=ax),
        lambda ax: plots.cache_size(model.config, 5, ax=ax),
        lambda ax: plots.deviations(trace, trace, ax=ax),
    ):
        figure, ax = pyplot.subplots()
        assert draw(ax) is ax and ax.has_data() and pyplot.get_fignums() == [figure.number]
        pyplot.close(figure)


def test_a_trace_that_lacks_something():
    for draw in (plots.sink_mass, plots.expert_load, plots.router_entropy):
        with pytest.raises(minioss.InputError, match=r"has no layers\.N\."):
            draw({"tokens": np.arange(3)})
    for draw in (lambda: plots.attention_map(ODD[1], 1, 0), lambda: plots.co_activation(ODD[1], 1)):
        with pytest.raises(minioss.InputError, match=r"has no layers\.1\."):
            draw()
    with pytest.raises(minioss.InputError, match="head is 3; expected 0 to 2"):
        plots.attention_map(ODD[1], 0, 3)
    with pytest.raises(minioss.InputError, match="T is 0"):
        plots.windows(minioss.preset("tiny"), 0)


def test_without_matplotlib(monkeypatch, tmp_path, capsys, encoding):
    trace, all_parts = ODD[1], dict.fromkeys(("embedding", "all"), Part(1, 1, 1, 1))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (
        plots.number_line,
        lambda: plots.attention_map(trace, 0, 0),
        lambda: plots.token_labels([1], encoding),
        lambda: plots.bytes_per_token(all_parts),
        lambda: plots.timeline(["user"]),
    ):
        with pytest.raises(
            minioss.InputError, match=r"need the package matplotlib: pip install \"minioss\[notebook\]\""
        ):
            draw()
    assert cli.main(["plot", "number-line", "-o", str(tmp_path / "line.png")]) == 2
    assert "pip install" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_matplotlib_is_imported_when_it_is_used():
    code = "import sys, minioss, minioss.cli, minioss.plots; assert 'matplotlib' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    code = "import sys, minioss; assert 'minioss.plots' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# The command


def given_to(name, folder, tmp_path):
    """The arguments of a picture, as far as it takes them."""
    if name == "losses":
        return [write_losses(tmp_path / "losses.csv", range(1, 9))]
    return [folder] if plot.PICTURES[name].takes else []


@pytest.mark.parametrize("name", plot.PICTURES)
def test_the_command(tiny, tmp_path, capsys, monkeypatch, name):
    monkeypatch.setattr(plot, "NEW_TOKENS", 3)
    out = tmp_path / "new" / "picture.svg"
    assert cli.main(["plot", name, *map(str, given_to(name, tiny, tmp_path)), "-o", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: ")
    assert out.read_text(encoding="utf-8").rstrip().endswith("</svg>")
    assert pyplot.get_fignums() == []


def test_the_command_with_options(tiny, tmp_path):
    given = ["plot", "attention", str(tiny), "--prompt", "<|start|>ab", "--layer", "2", "--head", "5"]
    for name in ("one.png", "two.png", "one.svg", "two.svg"):
        assert cli.main([*given, "-o", str(tmp_path / name)]) == 0
    assert (tmp_path / "one.png").read_bytes()[:4] == b"\x89PNG"
    for suffix in ("png", "svg"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["attention", "TINY", "-o", "a.pdf"], "ends in '.pdf'; expected .png or .svg"),
        (["attention", "TINY", "-o", "there.png"], "there.png exists; expected a file that is still to be made"),
        (["attention", "TINY", "-o", "a.png", "--layer", "4"], "--layer is 4; expected 0 to 3"),
        (["attention", "TINY", "-o", "a.png", "--head", "-1"], "head is -1; expected 0 to 5"),
        (["attention", "TINY", "-o", "a.png", "--prompt", ""], "the prompt is empty"),
        (["attention", "nowhere", "-o", "a.png"], "there is no folder nowhere"),
        (["sinks", "TINY", "-o", "a.png", "--head", "0"], "sinks takes no head; expected folder, prompt, out"),
        (["number-line", "TINY", "-o", "a.png"], "number-line takes no folder; expected out"),
        (["losses", "-o", "a.png"], "no losses given: expected minioss plot losses FILE.csv"),
        (["losses", "nowhere.csv", "-o", "a.png"], "there is no file nowhere.csv"),
    ],
)
def test_the_command_says_what_is_wrong(tiny, tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.png").touch()
    assert cli.main(["plot", *(str(tiny) if each == "TINY" else each for each in arguments)]) == 2
    assert told in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there.png"]


def test_an_unknown_picture_lists_the_known_ones(tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(["plot", "sunset", "-o", str(tmp_path / "a.png")])
    assert error.value.code == 2
    told = capsys.readouterr().err
    assert "sunset" in told and all(name in told for name in plot.PICTURES)
