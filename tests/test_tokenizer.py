"""The tokenizer: identical to tiktoken's own o200k_harmony, read from the folder, never from a network."""

import json
import socket

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

import minioss
from minioss.checkpoint import tokenizer_json
from minioss.checkpoint.tokenizer_json import byte_characters, byte_vocabulary, to_json
from minioss.text import tokenizer
from tests.ranks import ranks


@pytest.fixture(scope="module", autouse=True)
def no_network():
    """Any attempt to open a connection fails the test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
        yield


@pytest.fixture(scope="module")
def official(tiktoken_ranks):
    return tiktoken.get_encoding("o200k_harmony")


@pytest.fixture(scope="module")
def read(official, tmp_path_factory):
    """The encoding that we read from a tokenizer.json with the official vocabulary."""
    folder = tmp_path_factory.mktemp("official")
    vocabulary = tokenizer_json.Vocabulary(ranks(), official._special_tokens, tokenizer_json.PATTERN)
    (folder / "tokenizer.json").write_text(json.dumps(to_json(vocabulary)))
    return minioss.load_tokenizer(folder)


words = st.sampled_from(
    [" the", "don't", "WE'LL", "12345", "\r\n", "  \n ", "naïve", "東京", "🏳️‍🌈", "\u0301", "//\n", " .", "<|end|>", "İ"]
)
texts = st.one_of(st.text(max_size=200), st.lists(st.one_of(words, st.text(max_size=4)), max_size=30).map("".join))


@settings(max_examples=1500)
@given(texts)
def test_the_same_ids_as_tiktoken(official, read, text):
    ids = read.encode_ordinary(text)
    assert ids == official.encode_ordinary(text)
    assert read.encode(text, allowed_special="all") == official.encode(text, allowed_special="all")
    assert read.decode_bytes(ids) == text.encode()


def test_every_special_token(official, read):
    names = sorted(official.special_tokens_set)
    assert read.special_tokens_set == official.special_tokens_set and len(names) == 1091
    for name in names:
        assert read.encode(name, allowed_special="all") == official.encode(name, allowed_special="all")
        assert read.encode_ordinary(name) == official.encode_ordinary(name)


def test_known_ids(read):
    assert read.encode("hello world") == [24912, 2375]
    assert read.encode("2 + 2 = 4") == [17, 659, 220, 17, 314, 220, 19]
    known = {"<|return|>": 200002, "<|constrain|>": 200003, "<|channel|>": 200005, "<|start|>": 200006}
    known |= {"<|end|>": 200007, "<|message|>": 200008, "<|call|>": 200012, "<|endofprompt|>": 200018}
    assert {name: read.encode(name, allowed_special="all") for name in known} == {
        name: [id] for name, id in known.items()
    }
    assert read.n_vocab == 201088


def test_the_small_vocabulary_has_the_specials_in_the_official_order(official):
    special = byte_vocabulary().special
    for name, token in official._special_tokens.items():
        if name in special and not name.startswith("<|reserved"):
            assert special[name] - 256 == token - 199998
    assert sorted(special.values()) == list(range(256, 272))


def test_without_a_file_tiktoken_serves(official, tmp_path):
    assert minioss.load_tokenizer(tmp_path) is official


def test_the_original_folder_uses_the_one_above(tiny, tmp_path):
    (tmp_path / "original").mkdir()
    (tmp_path / "tokenizer.json").write_bytes((tiny / "tokenizer.json").read_bytes())
    assert minioss.load_tokenizer(tmp_path / "original", 272).n_vocab == 272


def test_neither_file_nor_ranks(tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "empty"))
    with pytest.raises(minioss.InputError, match="Copy tokenizer.json from the official model folder, or run once"):
        minioss.load_tokenizer(tmp_path)
    with pytest.raises(minioss.InputError, match="has no tokenizer.json, and no known tokenizer has 300 tokens"):
        minioss.load_tokenizer(tmp_path, 300)


def test_ranks_that_were_altered_are_neither_used_nor_downloaded_again(tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    tokenizer.ranks_path().write_bytes(b"altered")
    with pytest.raises(minioss.InputError, match="tiktoken has not stored the ranks"):
        minioss.load_tokenizer(tmp_path)
    assert tokenizer.ranks_path().read_bytes() == b"altered"


def test_the_ranks_are_looked_for_where_tiktoken_looks(tmp_path, monkeypatch, tiktoken_ranks):
    assert tokenizer.ranks_path().parent == tiktoken_ranks and tokenizer.ranks_path().exists()
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR")
    monkeypatch.setenv("DATA_GYM_CACHE_DIR", str(tmp_path))
    assert tokenizer.ranks_path().parent == tmp_path
    monkeypatch.delenv("DATA_GYM_CACHE_DIR")
    assert tokenizer.ranks_path().parent.name == "data-gym-cache"


def broken(change):
    content = to_json(byte_vocabulary())
    change(content)
    return content


def with_merges(vocab, merges):
    def change(content):
        content["model"]["vocab"].update(vocab)
        content["model"]["merges"] = merges

    return broken(change)


SPELL = byte_characters()


@pytest.mark.parametrize("merges", [["a b", "ab c"], [["a", "b"], ["ab", "c"]]])
def test_merges_in_the_order_of_the_ids_are_read(tmp_path, merges):
    content = with_merges({"ab": 300, "abc": 301}, merges)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert minioss.load_tokenizer(tmp_path).encode("abcab") == [301, 300]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "holds list; expected an object"),
        ({}, "is not a byte-level BPE tokenizer: KeyError 'model'"),
        (broken(lambda content: content.pop("pre_tokenizer")), "KeyError 'pre_tokenizer'"),
        (broken(lambda content: content["model"].pop("vocab")), "KeyError 'vocab'"),
        (broken(lambda content: content["model"]["vocab"].update({"日本": 300})), "is not a byte-level BPE"),
        (
            broken(lambda content: content["model"]["vocab"].update({"ab": "x"})),
            "gives b'ab' the id 'x'; expected a number from 0 on",
        ),
        (broken(lambda content: content["model"]["vocab"].update({"ab": 97})), "gives one id to two tokens"),
        (broken(lambda content: content["model"]["vocab"].pop(SPELL[0])), "has no token for the byte 0"),
        (broken(lambda content: content.update(added_tokens=[1])), "is not a byte-level BPE"),
        (
            broken(lambda content: content["pre_tokenizer"]["pretokenizers"][0]["pattern"].update(Regex="(")),
            "has a pattern that tiktoken cannot read",
        ),
        (
            with_merges({"ab": 301, "abc": 300}, ["a b", "ab c"]),
            "merges 'ab' and 'c' into token 300 after a merge into 301",
        ),
        (with_merges({}, ["a b"]), "KeyError 'ab'"),
        (with_merges({}, ["a b c"]), "is not a byte-level BPE"),
    ],
)
def test_files_that_are_refused(tmp_path, content, message):
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(minioss.InputError) as caught:
        minioss.load_tokenizer(tmp_path)
    assert message in str(caught.value)
