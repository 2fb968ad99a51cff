"""The tiny model's tokenizer in tokenizers and transformers: the same ids for any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minioss.training.corpus.tokenizer import PATH, tokenizer

tokenizers = pytest.importorskip("tokenizers")
transformers = pytest.importorskip("transformers")

words = st.sampled_from(
    ["Once upon a time", " don't", "12 + 345", "LADDER", "\n\n", "  ", "é", "東京", "'s", "…", "🙂"]
)
texts = st.text() | st.lists(words | st.text(max_size=3), max_size=12).map("".join)


@pytest.fixture(scope="module")
def theirs():
    return tokenizers.Tokenizer.from_file(str(PATH)), transformers.PreTrainedTokenizerFast(tokenizer_file=str(PATH))


@given(texts)
def test_ids_are_the_same(theirs, text):
    plain, fast = theirs
    ids = tokenizer().encode(text, allowed_special="all")
    assert plain.encode(text).ids == ids
    assert fast.encode(text) == ids
    assert plain.decode(ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("name", sorted(tokenizer().special_tokens_set))
def test_special_tokens_are_the_same(theirs, name):
    (token,) = tokenizer().encode(name, allowed_special="all")
    assert [theirs[0].token_to_id(name), theirs[1].convert_tokens_to_ids(name)] == [token, token]
    assert theirs[0].encode(f"a{name}b").ids == tokenizer().encode(f"a{name}b", allowed_special="all")
