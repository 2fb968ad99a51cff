"""The model as a whole: cached equals uncached, pieces equal the whole, many prompts equal one."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minioss
from minioss import transformer
from tests.models import Comparison, change_bytes, configs, nmse, recorded_margins, small_config, synthesize

WINDOW = small_config().sliding_window


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def small(folder):
    return synthesize(folder, small_config())


@pytest.fixture(scope="module")
def both(small):
    return {dtype: minioss.load(small, dtype=dtype) for dtype in ("float64", "float32")}


def ids_of(count, seed=0):
    return np.random.default_rng(seed).integers(101, size=count)


def in_pieces(model, ids, sizes):
    cache = model.new_cache()
    ends = np.cumsum(sizes)
    return np.concatenate([model(ids[end - size : end], cache=cache) for size, end in zip(sizes, ends, strict=True)])


def hold(models, ids, other):
    """``other(model, ids)`` gives the logits of a plain call: in float64 and in float32."""
    comparison = Comparison()
    reference, fair = comparison.fair(models["float64"], ids)
    comparison.check()
    assert np.abs(other(models["float64"], ids) - reference).max() < 1e-11
    assert nmse(other(models["float32"], ids)[fair], reference[fair]) < 1e-10


@pytest.mark.parametrize("count", [WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW])
def test_cached_equals_uncached(both, count):
    hold(both, ids_of(count), lambda model, ids: in_pieces(model, ids, [1] * count))


@settings(max_examples=30)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_any_split_equals_the_whole(both, sizes):
    hold(both, ids_of(sum(sizes)), lambda model, ids: in_pieces(model, ids, sizes))


def test_any_split_equals_the_whole_on_drawn_shapes(folder):
    comparison = Comparison()

    @settings(max_examples=25)
    @given(configs(largest_window=12), st.lists(st.integers(1, 20), min_size=2, max_size=4))
    def same(config, sizes):
        out = synthesize(folder, config)
        ids = ids_of(sum(sizes))
        exact, single = minioss.load(out, dtype="float64"), minioss.load(out)
        reference, fair = comparison.fair(exact, ids)
        assert np.abs(in_pieces(exact, ids, sizes) - reference).max() < 1e-11
        assert nmse(in_pieces(single, ids, sizes)[fair], reference[fair]) < 1e-10

    same()
    comparison.check()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_size_of_the_internal_pieces_does_not_matter(both, size, monkeypatch):
    ids = ids_of(40)
    expected = both["float64"](ids)
    monkeypatch.setattr("minioss.prompts.TOKENS_PER_PIECE", size)
    assert np.abs(both["float64"](ids) - expected).max() < 1e-11


@settings(max_examples=20)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(5, 60))
def test_many_prompts_equal_each_alone(both, lengths, per_piece):
    model = both["float64"]
    prompts = [ids_of(length, seed) for seed, length in enumerate(lengths)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minioss.prompts.TOKENS_PER_PIECE", per_piece)
        caches = [model.new_cache() for _ in prompts]
        together = model.batch(prompts, caches, "all")
        after = model.batch([[5]] * len(prompts), caches)
    for ids, logits, then in zip(prompts, together, after, strict=True):
        alone = model(np.append(ids, 5))
        assert np.abs(np.concatenate([logits, then]) - alone).max() < 1e-11


def test_last_is_the_last_of_all(both):
    ids = ids_of(30)
    last = both["float64"](ids, logits="last")
    assert last.shape == (1, 101)
    assert np.abs(last - both["float64"](ids)[-1:]).max() < 1e-11


def test_a_later_token_changes_nothing_before_it(both):
    ids = ids_of(30)
    changed = ids.copy()
    changed[20] = (changed[20] + 1) % 101
    before, after = (both["float64"](each) for each in (ids, changed))
    assert np.abs(before[:20] - after[:20]).max() < 1e-11
    assert np.abs(before[20:] - after[20:]).max(axis=-1).min() > 1e-6


def test_an_interrupted_call_leaves_the_cache_as_it_was(both, monkeypatch):
    model, ids = both["float64"], ids_of(40)
    cache = model.new_cache()
    model(ids[:20], cache=cache)

    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model(ids_of(15, seed=9), cache=cache, progress=interrupt)
    assert cache.length == 20
    assert np.abs(model(ids[20:], cache=cache) - model(ids)[20:]).max() < 1e-11


def test_restored_equals_fresh(both):
    model, ids = both["float64"], ids_of(40)
    cache = model.new_cache()
    model(ids[:25], cache=cache)
    snapshot = cache.snapshot()
    model(ids_of(30, seed=3), cache=cache)
    cache.restore(snapshot)
    assert np.abs(model(ids[25:], cache=cache) - model(ids)[25:]).max() < 1e-11


def test_float64_is_float64_everywhere(both, monkeypatch):
    seen = set()
    for name in ("attention", "mix_experts", "rms_norm"):
        plain = getattr(transformer, name)

        def recording(x, *rest, plain=plain):
            result = plain(x, *rest)
            seen.update((x.dtype.name, result.dtype.name))
            return result

        monkeypatch.setattr(transformer, name, recording)
    for dtype, model in both.items():
        seen.clear()
        model(ids_of(20))
        assert seen == {dtype}


def test_progress_counts_layers_of_pieces(both, monkeypatch):
    monkeypatch.setattr("minioss.prompts.TOKENS_PER_PIECE", 10)
    seen = []
    both["float32"](ids_of(25), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(step, 9) for step in range(1, 10)]


def test_near_ties_are_counted_and_not_hidden(both):
    comparison = Comparison()
    comparison.tokens, comparison.left_out = 1000, 21
    with pytest.raises(AssertionError, match="21 of 1000 left out"):
        comparison.check()
    with recorded_margins() as margins:
        both["float64"](ids_of(30))
    assert len(margins) == 3 and all(margin.shape == (30,) and (margin > 0).all() for margin in margins)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], r"the prompt has shape \(0,\); expected \(T,\) with at least one token"),
        ([[1, 2]], r"the prompt has shape \(1, 2\); expected \(T,\)"),
        ([[1], [2, 3]], "the prompt is no plain list"),
        ([1.5], "the token ids are float64; expected integers"),
        ([3, 101], "token 1 of the prompt is 101; expected 0 to 100"),
        ([-1], "token 0 of the prompt is -1; expected 0 to 100"),
    ],
)
def test_wrong_tokens(both, ids, message):
    with pytest.raises(minioss.InputError, match=message):
        both["float32"](ids)


def test_a_prompt_beyond_the_context(folder):
    model = minioss.load(synthesize(folder, small_config(max_position_embeddings=64)))
    cache = model.new_cache()
    model(ids_of(60), cache=cache)
    with pytest.raises(
        minioss.InputError, match="the text would be 65 tokens long; expected at most max_position_embeddings = 64"
    ):
        model(ids_of(5), cache=cache)
    assert model(ids_of(4), cache=cache).shape == (4, 101)


def test_wrong_caches(both, folder):
    model = both["float32"]
    cache = model.new_cache()
    with pytest.raises(minioss.InputError, match="there are 2 prompts and 1 caches"):
        model.batch([[1], [2]], [cache])
    with pytest.raises(minioss.InputError, match="there are 0 prompts and 0 caches; expected at least one"):
        model.batch([], [])
    with pytest.raises(minioss.InputError, match="two prompts have the same cache"):
        model.batch([[1], [2]], [cache, cache])
    with pytest.raises(minioss.InputError, match=r"the cache \(float64\) is of another model"):
        model([1], cache=both["float64"].new_cache())
    other = minioss.load(synthesize(folder, small_config(head_dim=32)))
    with pytest.raises(minioss.InputError, match="the cache .* is of another model"):
        model([1], cache=other.new_cache())


def test_a_dtype_may_be_numpys(small):
    assert minioss.load(small, dtype=np.float64)([1]).dtype == np.float64


def test_wrong_options(both, small):
    with pytest.raises(minioss.InputError, match="logits is 'first'; expected 'all' or 'last'"):
        both["float32"]([1], logits="first")
    with pytest.raises(minioss.InputError, match="dtype is 'float16'; expected 'float32' or 'float64'"):
        minioss.load(small, dtype="float16")


@pytest.mark.parametrize("kernels", ["numpy", None])
def test_a_nan_names_layer_and_expert(folder, kernels):
    out = synthesize(folder, small_config())
    change_bytes(out, "model.layers.1.mlp.experts.down_proj_scales", lambda scales: scales[3, 7].fill(255))
    with pytest.raises(minioss.NotFiniteError, match="layer 1: expert 3 gave NaN or infinity"):
        minioss.load(out, kernels=kernels)(ids_of(60))


def test_a_nan_in_the_attention_names_the_layer(folder):
    out = synthesize(folder, small_config())
    change_bytes(out, "model.layers.2.self_attn.o_proj.bias", lambda bits: bits[:1].fill(0x7FC0))
    with pytest.raises(minioss.NotFiniteError, match="layer 2: the attention gave NaN or infinity"):
        minioss.load(out)(ids_of(5))


def test_a_nan_in_the_router_names_the_layer(folder):
    out = synthesize(folder, small_config())
    change_bytes(out, "model.layers.1.mlp.router.weight", lambda bits: bits[:].fill(0x7FC0))
    with pytest.raises(minioss.NotFiniteError, match="layer 1: the router gave NaN or infinity"):
        minioss.load(out)(ids_of(5))


def test_a_nan_in_the_embedding(folder):
    out = synthesize(folder, small_config())
    change_bytes(out, "model.embed_tokens.weight", lambda bits: bits[7, :1].fill(0x7FC0))
    assert np.isfinite(minioss.load(out)([1, 2, 3])).all()
    with pytest.raises(minioss.NotFiniteError, match="the embedding holds NaN or infinity"):
        minioss.load(out)([1, 7])


def test_what_is_too_large_for_float32_may_fit_float64(folder):
    out = synthesize(folder, small_config())
    change_bytes(out, "model.layers.0.mlp.experts.down_proj_scales", lambda scales: scales[:].fill(254))
    assert np.isfinite(minioss.load(out, dtype="float64")(ids_of(5))).all()
    with pytest.raises(minioss.NotFiniteError, match="layer 0: expert .* gave NaN or infinity"):
        minioss.load(out)(ids_of(5))


def test_a_nan_in_the_unembedding(folder):
    out = synthesize(folder, small_config())
    change_bytes(out, "lm_head.weight", lambda bits: bits[5, :1].fill(0x7FC0))
    with pytest.raises(minioss.NotFiniteError, match="the unembedding gave NaN or infinity"):
        minioss.load(out)(ids_of(5))


def test_memory_does_not_grow_with_the_square_of_the_prompt(tiny):
    """32,768 tokens through the tiny preset: under 2 GB in all, interpreter included."""
    code = (
        "import sys, numpy, minioss, minioss.machine as machine\n"
        "minioss.load(sys.argv[1])(numpy.arange(32768) % 272, logits='last')\n"
        "print(machine.peak_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tiny)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2e9
