"""Streaming, sampling, generating."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minioss
from minioss.checkpoint.tokenizer_json import byte_vocabulary
from minioss.text.sampling import Sampling, candidates, choose, log_softmax, penalize
from minioss.text.streaming import TextStream, stream_text
from minioss.text.tokenizer import from_vocabulary
from tests.models import small_config, synthesize

BYTES = from_vocabulary(byte_vocabulary(), "bytes", None)


# Streaming


@given(st.text(max_size=30))
def test_no_piece_holds_half_a_character(text):
    pieces = list(stream_text(text.encode("utf-8", "replace"), BYTES))
    assert "".join(pieces) == text.encode("utf-8", "replace").decode()
    assert "�" not in "".join(pieces) or "�" in text


@given(st.binary(max_size=30))
def test_any_bytes_give_what_decoding_them_at_once_gives(data):
    assert "".join(stream_text(data, BYTES)) == data.decode("utf-8", "replace")


@settings(max_examples=500)
@given(st.text("abé", max_size=25), st.lists(st.text("abé", min_size=1, max_size=4), min_size=1, max_size=3))
def test_the_text_ends_before_the_stop_string_that_is_complete_first(text, stops):
    found = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    expected = text[: min(found)[1]] if found else text
    assert "".join(stream_text(text.encode(), BYTES, stops)) == expected


@given(st.text("ab", max_size=12))
def test_what_is_held_back_is_no_more_than_could_become_a_stop(text):
    stream = TextStream(BYTES, ["abba"])
    shown = "".join(map(stream.push, text.encode()))
    if not stream.stopped:
        held = text[len(shown) :]
        assert "abba".startswith(held) and len(held) < 4


def test_after_a_stop_nothing_more_is_taken_from_the_generator():
    taken = []
    tokens = (taken.append(byte) or byte for byte in b"one.two")
    assert "".join(stream_text(tokens, BYTES, ["."])) == "one"
    assert bytes(taken) == b"one."


def test_an_unknown_id_is_a_replacement_character():
    assert "".join(stream_text([65, 5000, 66], BYTES)) == "A�B"


def test_an_empty_stop_string_is_refused():
    with pytest.raises(minioss.InputError, match="a stop string is empty"):
        TextStream(BYTES, [""])


# Sampling

logits_of = st.integers(0, 2**32).map(lambda seed: 3 * np.random.default_rng(seed).standard_normal(40))


@settings(max_examples=400)
@given(
    logits_of,
    st.floats(0.1, 5),
    st.one_of(st.none(), st.integers(1, 50)),
    st.floats(0.01, 1),
    st.one_of(st.just(0), st.floats(0, 1)),
)
def test_candidates(logits, temperature, top_k, top_p, min_p):
    ids, probabilities = candidates(logits, Sampling(1.0, temperature, top_k, top_p, min_p))
    full = np.exp(log_softmax(logits / temperature))
    assert probabilities.sum() == pytest.approx(1)
    assert np.argmax(logits) in ids and len(set(ids.tolist())) == len(ids)
    if top_p < 1 or (top_k is not None and top_k < len(logits)):
        assert (np.diff(probabilities) <= 0).all() and ids[0] == np.argmax(logits)
    assert np.allclose(probabilities, full[ids] / full[ids].sum())
    assert top_k is None or len(ids) <= top_k
    assert (full[ids] >= min_p * full.max() - 1e-12).all()
    if top_k is None and min_p == 0:
        assert full[ids].sum() >= top_p - 1e-9 and full[ids[:-1]].sum() < top_p


@given(logits_of)
def test_greedy_takes_the_largest_and_asks_for_no_randomness(logits):
    assert choose(logits, Sampling(temperature=0), [], None) == np.argmax(logits)


def test_samples_have_the_probabilities_of_the_candidates():
    logits, sampling = np.log([0.1, 0.2, 0.3, 0.4]), Sampling(temperature=0.7, top_k=3)
    ids, probabilities = candidates(logits, sampling)
    random = np.random.default_rng(0)
    drawn = np.bincount([choose(logits, sampling, [], random) for _ in range(20000)], minlength=4) / 20000
    assert drawn[0] == 0 and np.allclose(drawn[ids], probabilities, atol=0.015)


def test_the_penalty_divides_what_is_positive_and_multiplies_what_is_negative():
    logits = np.array([2.0, -2.0, 1.0])
    assert penalize(logits, [0, 1, 0], 2.0).tolist() == [1.0, -4.0, 1.0]
    assert logits.tolist() == [2.0, -2.0, 1.0]
    assert choose(logits, Sampling(3.0, 0), [0], None) == 2


def test_log_softmax_is_safe():
    logprobs = log_softmax(np.array([1e4, 0.0], np.float32))
    assert logprobs[0] == 0 and logprobs[1] == -1e4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, "temperature is -1; expected 0 or a positive number"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"top_k": 0}, "top_k is 0; expected at least 1"),
        ({"top_p": 0}, "top_p is 0; expected above 0, at most 1"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"min_p": -0.1}, "min_p is -0.1; expected 0 to 1"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0; expected a positive number"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0; expected at least 1"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        ({"top_logprobs": -1}, "top_logprobs is -1; expected 0 or more"),
    ],
)
def test_wrong_options_are_refused_at_once(model, options, message):
    with pytest.raises(minioss.InputError, match=message):
        minioss.generate(model, [1], **options)


# Generating


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def model(folder):
    return minioss.load(synthesize(folder, small_config()), dtype="float64")


def greedily(model, ids, count):
    """Without a cache: the whole text again for each token."""
    ids = list(ids)
    for _ in range(count):
        ids.append(int(np.argmax(model(ids)[-1])))
    return ids[-count:]


def test_greedy_generation_is_the_most_probable_token_each_time(model):
    prompt = np.arange(20)
    assert list(minioss.generate(model, prompt, max_new_tokens=25, temperature=0)) == greedily(model, prompt, 25)


def test_several_prompts_at_once_are_as_each_alone(model):
    prompts = [[1, 2, 3], [50] * 30, [7]]
    rows = list(minioss.generate_batch(model, prompts, max_new_tokens=12, temperature=0))
    assert len(rows) == 12
    for index, prompt in enumerate(prompts):
        assert [row[index] for row in rows] == greedily(model, prompt, 12)


def test_a_prompt_that_has_ended_gives_none(model):
    prompts = [[1, 2, 3], [50] * 30]
    first, second = (greedily(model, prompt, 12) for prompt in prompts)
    stop = next(token for token in first if token not in second)
    rows = list(minioss.generate_batch(model, prompts, max_new_tokens=12, temperature=0, stop_tokens=[stop]))
    ended = first.index(stop) + 1
    assert [row[0] for row in rows] == first[:ended] + [None] * (12 - ended)
    assert [row[1] for row in rows] == second


def test_the_models_own_stop_tokens(model, folder):
    first = greedily(model, [1, 2, 3], 9)
    stopping = minioss.Model(model.config, model.weights, "float64", stop_tokens=(first[4],))
    assert list(minioss.generate(stopping, [1, 2, 3], temperature=0)) == first[: first.index(first[4]) + 1]
    assert len(list(minioss.generate(stopping, [1, 2, 3], temperature=0, stop_tokens=[], max_new_tokens=9))) == 9


def test_the_seed_decides(model):
    def drawn(seed):
        return list(minioss.generate(model, [1, 2], max_new_tokens=20, seed=seed))

    assert drawn(1) == drawn(1) != drawn(2)
    rows = list(minioss.generate_batch(model, [[1, 2], [1, 2]], max_new_tokens=20, seed=1))
    assert [row[0] for row in rows] == drawn(1) != [row[1] for row in rows]


def test_log_probabilities(model):
    (token,) = minioss.generate(model, [1, 2, 3], max_new_tokens=1, temperature=0, top_logprobs=4)
    expected = log_softmax(model([1, 2, 3])[-1])
    assert isinstance(token, int) and token.logprob == pytest.approx(expected.max())
    assert [entry.token for entry in token.top_logprobs] == np.argsort(-expected)[:4].tolist()
    assert [entry.logprob for entry in token.top_logprobs] == pytest.approx(np.sort(expected)[::-1][:4].tolist())
    (plain,) = minioss.generate(model, [1, 2, 3], max_new_tokens=1)
    assert plain.top_logprobs == [] and plain.logprob == pytest.approx(expected[plain])


def test_a_given_cache_is_continued(model):
    cache = model.new_cache()
    model([1, 2, 3], cache=cache)
    assert list(minioss.generate(model, [4, 5], cache=cache, max_new_tokens=6, temperature=0)) == greedily(
        model, [1, 2, 3, 4, 5], 6
    )
    assert cache.length == 5 + 5


def test_generation_ends_where_the_context_does(folder):
    model = minioss.load(synthesize(folder, small_config(max_position_embeddings=64)))
    # The last token has no place in the context, but can still be told.
    assert len(list(minioss.generate(model, [1] * 60, stop_tokens=[]))) == 5
    with pytest.raises(minioss.InputError, match="the text would be 65 tokens long"):
        minioss.generate(model, [1] * 65)


def test_prompts_are_checked_at_once(model):
    for prompts in ([[1], []], [[1], [101]], []):
        with pytest.raises(minioss.InputError):
            minioss.generate_batch(model, prompts)


def test_a_repetition_penalty_ends_a_loop(model):
    prompt = [9] * 10
    plain = list(minioss.generate(model, prompt, max_new_tokens=40, temperature=0))
    varied = list(minioss.generate(model, prompt, max_new_tokens=40, temperature=0, repetition_penalty=1e6))
    assert len(set(varied)) > len(set(plain)) and len(set(varied)) == 40


def test_an_interrupted_generation_can_go_on(model):
    """Ctrl-C between two tokens: the cache holds what was given out, but for the last token."""
    cache = model.new_cache()
    tokens = minioss.generate(model, [1, 2, 3], cache=cache, max_new_tokens=50, temperature=0)
    given = [next(tokens) for _ in range(5)]
    tokens.close()
    assert cache.length == 3 + 4
    more = list(minioss.generate(model, given[-1:], cache=cache, max_new_tokens=5, temperature=0))
    assert given + more == greedily(model, [1, 2, 3], 10)
