"""The browser over a folder of documents: pages, windows, search, and what a folder must not give away."""

import json
import math
import os
import re
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minioss.chat.tools import browser as browser_module
from minioss.chat.tools.backend import Found
from minioss.chat.tools.bm25 import Index, words
from minioss.chat.tools.browser import Browser
from minioss.chat.tools.documents import Documents
from minioss.chat.tools.pages import LINE_WIDTH, Page, numbered, passages, plain, window_end
from minioss.chat.tools.reading import read_page
from minioss.errors import InputError
from minioss.text.harmony.builtin import BROWSER
from minioss.text.harmony.messages import Message

LINE = re.compile(r"^L(\d+): (.*)$", re.MULTILINE)


def call(browser, name, channel="analysis", **arguments):
    return browser.run(Message("assistant", json.dumps(arguments), channel, f"browser.{name}")).content


def shown(text):
    """The cursor, and the lines by number."""
    return int(re.match(r"\[(\d+)\]", text)[1]), {int(number): line for number, line in LINE.findall(text)}


def folder_of(texts):
    folder = Path(tempfile.mkdtemp())
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


GUIDE = {
    "whales.md": "# Whales\n\nSee [the ocean](sea/ocean.md) and [more](https://example.org/x) and [none](none.md).\n\n"
    + "\n\n".join(f"Paragraph {number} about whales." for number in range(60))
    + "\n\nA narwhal has a tusk.\n",
    "sea/ocean.md": "# The ocean\n\nIt is deep. [Whales](../whales.md#top) live there.\n",
    "page.html": "<html><head><title>Ships &amp; boats</title><style>p{}</style><script>narwhal()</script></head>"
    "<body><h1>Ships</h1><p>They  float\non water.<p>See <a href='sea/ocean.md'>the ocean</a>.<ul><li>one<li>two</ul>"
    "<pre>  a\n    b</pre></body></html>",
    "notes.txt": "Nothing of interest.\n",
}


@pytest.fixture(scope="module")
def guide():
    return Documents(folder_of(GUIDE))


# The conventions


def test_the_model_is_told_of_it_in_the_words_of_its_training(guide):
    namespace = Browser(guide).namespace
    assert namespace.functions == BROWSER.functions
    assert namespace.description == BROWSER.description.replace("sources=web (default: web)", "sources=documents")
    assert namespace.description != BROWSER.description


def test_the_signatures_are_those_that_the_model_is_told(guide):
    for function in BROWSER.functions:
        own = Browser(guide)._actions[function.name].function.parameters
        assert own["properties"].keys() == function.parameters["properties"].keys()
        assert own.get("required") == function.parameters.get("required")
        for name, schema in function.parameters["properties"].items():
            assert own["properties"][name].get("default") == schema.get("default")


def test_a_search_is_a_list_of_links(guide):
    browser = Browser(guide)
    text = call(browser, "search", query="narwhal tusk")
    assert text.splitlines()[:5] == [
        "[0] narwhal tusk",
        "**viewing lines [0 - 2] of 2**",
        "",
        "L0: # Search Results",
        "L1: ",
    ]
    assert text.splitlines()[5] == "L2:   * 【0†Whales†whales.md】 A narwhal has a tusk."


def test_a_link_opens_at_the_passage_that_was_found(guide):
    browser = Browser(guide)
    call(browser, "search", query="narwhal")
    text = call(browser, "open", id=0)
    assert text.startswith("[1] Whales (whales.md)\n**viewing lines [120 - 124] of 124**\n\nL120: ")
    assert text.endswith("L124: A narwhal has a tusk.")


def test_links_between_documents(guide):
    browser = Browser(guide)
    text = call(browser, "open", id="whales.md")
    assert "L2: See 【0†the ocean】 and [more](https://example.org/x) and [none](none.md)." in text
    assert call(browser, "open", id=0).startswith("[1] The ocean (sea/ocean.md)\n")
    assert call(browser, "open", id=0).startswith("[2] Whales (whales.md)\n")
    assert call(browser, "open", id=0, cursor=1).startswith("[3] Whales (whales.md)\n")


def test_html_is_read_as_text(guide):
    page = guide.fetch("page.html")
    assert page.title == "Ships & boats"
    assert page.text == "# Ships\n\nThey float on water.\n\nSee 【0†the ocean】.\n\n  * one\n  * two\n\n  a\n    b"
    assert guide.fetch("view-source:page.html").text == GUIDE["page.html"]


def test_find(guide):
    browser = Browser(guide)
    call(browser, "open", id="whales.md")
    text = call(browser, "find", pattern="NARWHAL")
    assert text == (
        "[1] Find results for text: `NARWHAL` in `Whales` (whales.md/find?pattern=NARWHAL)\n"
        "**viewing lines [0 - 1] of 1**\n\n"
        "L0: # 【0†match at L124】\nL1: A narwhal has a tusk."
    )
    assert "L124: A narwhal has a tusk." in call(browser, "open", id=0)
    assert "No `find` results for pattern: `zebra`" in call(browser, "find", pattern="zebra")
    assert "a list of results" in call(browser, "find", pattern="a")


def test_source_and_scrolling(guide):
    browser = Browser(guide)
    call(browser, "open", id="whales.md")
    cursor, lines = shown(call(browser, "open", loc=10, num_lines=3))
    assert (cursor, list(lines)) == (1, [10, 11, 12])
    assert "L2: See [the ocean](sea/ocean.md)" in call(browser, "open", view_source=True)
    assert "match at L2" in call(browser, "find", pattern="ocean.md")


def test_citations(guide):
    browser = Browser(guide)
    call(browser, "search", query="whales")
    call(browser, "open", id="sea/ocean.md")
    call(browser, "find", pattern="deep")
    text = (
        "Deep【1†L2】, deeper【2†L0-L1】, searched【0†L1】, unknown【7†L1】, endless【"
        + "1" * 5000
        + "†L1】, broken【1†"
    )
    assert browser.cited(text) == {"【1†L2】": "sea/ocean.md", "【2†L0-L1】": "sea/ocean.md"}


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("open", {"id": 0}, "no page is open"),
        ("open", {"id": "nowhere.md"}, "there is no document 'nowhere.md'"),
        ("open", {"id": "whale.md"}, "close: whales.md"),
        ("open", {"cursor": 3}, "no page is open"),
        ("find", {"pattern": "x"}, "no page is open"),
        ("search", {}, "`query` is missing"),
        ("search", {"query": 3}, "`query` is 3; expected string"),
        ("open", {"id": None}, "`id` is null; expected"),
        ("click", {}, "browser has no function 'click'. Expected search, open, find"),
    ],
)
def test_mistakes_are_answers(guide, name, arguments, message):
    browser = Browser(guide)
    text = call(browser, name, **arguments)
    assert text.startswith("Error: ") and message in text
    assert call(browser, "open", id="notes.txt").startswith("[0] ")  # a mistake takes no cursor


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"id": 5}, "there is no link 5 on this page. Expected 0 to 0"),
        ({"cursor": 3}, "there is no cursor 3. Expected 0 to 0"),
        ({"cursor": -2}, "there is no cursor -2"),
        ({"loc": 125}, "`loc` is 125. Expected 0 to 124"),
    ],
)
def test_mistakes_on_an_open_page(guide, arguments, message):
    browser = Browser(guide)
    call(browser, "open", id="whales.md")
    assert message in call(browser, "open", **arguments)


def test_what_a_backend_raises_is_an_answer():
    class Broken:
        source = "broken"

        def search(self, query, topn):
            raise TimeoutError("no answer")

        def fetch(self, address):
            raise ConnectionResetError

    assert call(Browser(Broken()), "search", query="x") == "Error: no answer"
    assert call(Browser(Broken()), "open", id="x") == "Error: ConnectionResetError"


def test_another_backend():
    class Web:
        source = "web"

        def search(self, query, topn):
            return [Found("A【†】title", f"https://example.org/{number}", "words") for number in range(topn)]

        def fetch(self, address):
            return Page(address, "Example", "Hello.")

    browser = Browser(Web())
    text = call(browser, "search", query="x", topn=1000)
    assert "【0†A〖‡〗title†example.org】 words" in text and len(browser._shown[0].links) == browser_module.MOST_RESULTS
    assert call(browser, "open", id=19).startswith("[1] Example (https://example.org/19)\n")


# Laws

pieces = st.sampled_from(
    ["<![", "<!--", "<a href=b>", "</a>", "<pre>", "<p>", "<title>", "[a](b)", "【1†a】", "<script>"]
)
letters = st.sampled_from("ab \n\t【†】#[]()<>/é漢\r\u2028") | st.characters(codec="utf-8")
texts = st.lists(pieces | st.text(letters, max_size=60), max_size=8).map("".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
NAMES = ("query", "topn", "id", "cursor", "loc", "num_lines", "view_source", "source", "pattern")
small = st.integers(-3, 130) | st.sampled_from(["whales.md", "page.html", "narwhal", "", "../x"]) | st.booleans()
arguments = st.dictionaries(st.sampled_from(NAMES), small | values, max_size=4).map(json.dumps) | st.text(max_size=20)
calls = st.tuples(st.sampled_from(["search", "open", "find"]) | st.text(max_size=5), arguments)


@settings(max_examples=300)
@given(st.lists(calls, max_size=6))
def test_whatever_the_model_says_there_is_an_answer(guide, sequence):
    browser = Browser(guide)
    for name, content in sequence:
        before = len(browser._shown)
        result = browser.run(Message("assistant", content, "commentary", f"browser.{name}"))
        assert (result.role, result.name, result.recipient) == ("tool", f"browser.{name}", "assistant")
        assert result.channel == "commentary"
        result.content.encode()
        assert len(browser._shown) == before + (not result.content.startswith("Error: "))
        assert len(result.content.encode()) < browser_module.LONGEST_VIEW + 2000


@given(texts, st.sampled_from(["a.txt", "a.md", "a.html"]))
def test_lines_hold_the_whole_page(text, address):
    page = read_page(address, text, lambda reference: "b.md")
    assert page.lines and all(len(line) <= LINE_WIDTH and "\n" not in line for line in page.lines)
    squeezed = re.sub(r"\s", "", page.text)
    assert re.sub(r"\s", "", "".join(page.lines)) == squeezed
    if address == "a.txt":
        assert page.text == plain(text) and squeezed == re.sub(r"\s", "", text.replace("【", "〖").replace("】", "〗"))


@given(texts)
def test_no_document_can_forge_a_link(text):
    for address in ("a.txt", "a.md", "a.html"):
        page = read_page(address, text, lambda reference: None)
        assert "【" not in page.text and "】" not in page.text and not page.links
        page = read_page(address, text, lambda reference: reference)
        assert all(int(number) < len(page.links) for number in re.findall(r"【(\d+)†", page.text))


@given(
    st.lists(st.text("ab漢 ", max_size=LINE_WIDTH), min_size=1, max_size=40), st.integers(1, 50), st.integers(1, 900)
)
def test_windows_cover_a_page(lines, count, size):
    first, seen = 0, []
    while first < len(lines):
        end = window_end(lines, first, count, size)
        assert first < end <= min(first + count, len(lines))
        window = numbered(lines, first, end)
        assert end == first + 1 or len(window.encode()) <= size
        if end < min(first + count, len(lines)):  # one line more would not fit
            assert len(numbered(lines, first, end + 1).encode()) + 1 > size
        seen += window.split("\n")
        first = end
    assert seen == [f"L{number}: {line}" for number, line in enumerate(lines)]


@given(st.lists(st.sampled_from(["", " ", "a", "b"]), min_size=1, max_size=70))
def test_passages_hold_every_line_that_has_words(lines):
    found = list(passages(lines))
    inside = [number for first, end in found for number in range(first, end)]
    assert found and inside == sorted(set(inside))
    assert {number for number, line in enumerate(lines) if line.strip()} <= set(inside)
    assert all(end - first <= 20 for first, end in found) or not any(map(str.strip, lines))


@settings(max_examples=60)
@given(
    st.dictionaries(st.sampled_from([f"d{n}.txt" for n in range(6)]), texts, min_size=1), st.text("ab é", min_size=1)
)
def test_what_a_search_finds_can_be_opened_and_shows_the_passage(contents, query):
    folder = folder_of(contents | {"always.txt": "some words\n" * 200 + "\nUnmistakable ab.\n"})
    documents = Documents(folder)
    for wanted in (query, "unmistakable"):
        browser = Browser(documents)
        call(browser, "search", query=wanted)
        for number, link in enumerate(browser._shown[0].links):
            _, lines = shown(call(browser, "open", id=number, cursor=0))
            page = browser._shown[-1]
            assert page == documents.fetch(link.address) and link.line in lines
            first, end = next(ends for ends in passages(page.lines) if ends[0] == link.line)
            text = "\n".join([page.title, *page.lines[first:end]])
            assert set(words(text)) & set(words(wanted))
        expected = {
            name for name in documents._texts if set(words(wanted)) & set(words(f"{name} {documents._texts[name]}"))
        }
        assert {link.address for link in browser._shown[0].links} == expected


@given(
    st.lists(st.lists(st.sampled_from("abcd"), max_size=9), min_size=1, max_size=8), st.lists(st.sampled_from("abcde"))
)
def test_scores_are_those_of_the_formula(contents, query):
    scores = Index(map(" ".join, contents)).scores(" ".join(query))
    mean = max(1.0, sum(map(len, contents)) / len(contents))
    for content, score in zip(contents, scores):
        counts, expected = Counter(content), 0.0
        for word in set(query):
            holding = sum(word in other for other in contents)
            idf = math.log(1 + (len(contents) - holding + 0.5) / (holding + 0.5))
            expected += idf * counts[word] * 2.2 / (counts[word] + 1.2 * (0.25 + 0.75 * len(content) / mean))
        assert score == pytest.approx(expected)


# What a folder gives away


def test_files_that_are_no_text_are_left_out(tmp_path):
    outside = tmp_path / "secret.txt"
    outside.write_text("secret word")
    folder = folder_of({"a.txt": "word", "b.bin": b"a\0b", "c.bin": b"\xff\xfe", "big.txt": b"x" * (2**21 + 1)})
    (folder / ".hidden").write_text("word")
    (folder / "link.txt").symlink_to(outside)
    (folder / "linked").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    documents = Documents(folder)
    assert documents.left_out == {
        "b.bin": "binary",
        "c.bin": "no UTF-8 text",
        "big.txt": "larger than 2 MiB",
        "pipe": "no regular file",
    }
    assert [found.address for found in documents.search("word", 10)] == ["a.txt"]
    names = (
        "link.txt",
        "linked/secret.txt",
        "../secret.txt",
        str(outside),
        f"file://{outside}",
        ".hidden",
        "b.bin",
        "pipe",
    )
    for name in (*names, f"{folder}/a.txt", "..", ".", "/", "", "a.txt\0", f"view-source:{outside}"):
        with pytest.raises(LookupError):
            documents.fetch(name)
    for name in ("a.txt", "/a.txt", "./a.txt", "x/../a.txt", "file:///a.txt", "a.txt#L3"):
        assert documents.fetch(name).text == "word"


def test_what_the_system_does_not_let_us_read_is_left_out(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.txt").write_text("word")
    (tmp_path / "b.txt").write_text("word")
    scandir, opened = os.scandir, Path.open

    def refuse(path, *rest):
        if Path(path).name in ("closed", "b.txt"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *rest) if rest else scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    documents = Documents(tmp_path)
    assert documents.left_out == {"closed": "Permission denied", "b.txt": "Permission denied"}
    assert documents.fetch("a.txt").text == "word"


@given(st.text(max_size=40), st.sampled_from(["", "../", "/", "view-source:", "file://"]))
def test_nothing_but_what_was_read_is_opened(guide, address, before):
    try:
        page = guide.fetch(before + address)
    except LookupError:
        return
    assert page.address.removeprefix("view-source:").partition("#")[0].lstrip("./") in GUIDE


def test_a_folder_without_documents_is_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no folder"):
        Documents(tmp_path / "none")
    (tmp_path / "x.bin").write_bytes(b"\0")
    with pytest.raises(InputError, match=r"holds no text; expected documents \(left out: x.bin: binary\)"):
        Documents(tmp_path)
    (tmp_path / "y.txt").write_text("text")
    monkeypatch.setattr("minioss.chat.tools.documents.LARGEST_FOLDER", 3)
    with pytest.raises(InputError, match="more than 0 MiB of text"):
        Documents(tmp_path)
