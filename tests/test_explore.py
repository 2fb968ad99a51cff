"""The page to look inside: what it holds is what the model did, and in a browser it shows that and nothing else."""

import base64
import json
import re
import zlib
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import minioss
from minioss import cli
from minioss.checkpoint.tokenizer_json import byte_vocabulary
from minioss.explore import content as contents
from minioss.explore.content import channels, content
from minioss.explore.shares import attention_rows, thousandths
from minioss.text.sampling import log_softmax
from minioss.text.tokenizer import from_vocabulary
from tests.browsers import browser, watched
from tests.models import small_config, synthesize

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=http://example.com/ onerror=alert(2)>",
    "<!-- <script>",
    "&lt;b&gt;&amp;\"'`\\u003c\\",
    "$digest ${content} {{x}}",
    "\u202eright to left",
    "x" * 300,
]
SAID = (
    "<|start|>user<|message|>Hé!\n\tYou\x07?<|end|><|start|>assistant<|channel|>analysis<|message|>Hm.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>A fox is a fox."
)


@pytest.fixture(scope="module")
def encoding():
    """Single bytes; some of the special tokens are such as nobody would want on a page."""
    vocabulary = byte_vocabulary()
    reserved = [name for name in vocabulary.special if "reserved" in name]
    renamed = dict(zip(reserved, HOSTILE, strict=True))
    special = {renamed.get(name, name): token for name, token in vocabulary.special.items()}
    return from_vocabulary(vocabulary._replace(special=special), "hostile", None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return synthesize(tmp_path_factory.mktemp("models"), small_config(vocab_size=272))


@pytest.fixture(scope="module")
def model(folder):
    return minioss.load(folder)


@pytest.fixture(scope="module")
def ids(encoding):
    return encoding.encode(SAID + "".join(HOSTILE), allowed_special="all")


@pytest.fixture(scope="module")
def whole(model, ids):
    return minioss.trace(model, ids)


@pytest.fixture(scope="module")
def shown(model, encoding, ids):
    return content(model, encoding, ids, 60)


# Shares


@st.composite
def rows(draw):
    """Weights that sum to 1, many of them 0."""
    weights = draw(arrays_of.arrays(float, st.integers(1, 600), elements=st.floats(0, 1) | st.just(0.0)))
    weights[draw(st.integers(0, len(weights) - 1))] += 0.1
    return weights / weights.sum()


@given(rows())
def test_thousandths_sum_to_one_and_are_right(weights):
    shares = thousandths(weights)
    assert shares.sum() == 1000 and np.abs(shares - 1000 * weights).max() < 1
    assert not shares[weights == 0].any()
    order = np.argsort(weights, kind="stable")
    assert (np.diff(shares[order])[np.diff(weights[order]) > 0] >= 0).all()


@given(st.data())
def test_rows_of_attention_say_where_all_of_it_goes(data):
    weights_N = data.draw(rows())
    weights_S, sink = weights_N[1:], weights_N[0]
    ((row,),) = attention_rows(weights_S[None, None])
    found_sink, others, keys, shares = row[0], row[1], row[2::2], row[3::2]
    assert found_sink + others + sum(shares) == 1000 and abs(found_sink - 1000 * sink) < 1.001
    assert keys == np.flatnonzero(weights_S >= 0.01).tolist()
    assert np.all(np.abs(np.array(shares) - 1000 * weights_S[keys]) < 1.001)


# What the page holds


def test_attention_and_experts_are_those_of_the_trace(shown, whole):
    T = len(shown["tokens"])
    for index, layer in enumerate(shown["layers"]):
        weights_nTT = whole[f"layers.{index}.attention.weights"]
        for token in range(0, T, 7):
            for head, (sink, others, *pairs) in enumerate(layer["attention"][token]):
                weights_T = weights_nTT[head, token]
                assert sink + others + sum(pairs[1::2]) == 1000
                assert abs(sink / 1000 - (1 - weights_T.sum())) < 2e-3
                assert pairs[::2] == np.flatnonzero(weights_T >= 0.01).tolist()
                assert np.abs(np.array(pairs[1::2]) / 1000 - weights_T[pairs[::2]]).max(initial=0) < 2e-3
        experts_TA2 = np.array(layer["experts"])
        assert np.array_equal(experts_TA2[..., 0], whole[f"layers.{index}.router.experts"])
        assert np.abs(experts_TA2[..., 1] / 1000 - whole[f"layers.{index}.router.weights"]).max() < 2e-3
        assert (experts_TA2[..., 1].sum(axis=1) == 1000).all()
    assert [layer["window"] for layer in shown["layers"]] == [8, None, 8]


def test_the_lens_normalises_and_unembeds_the_stream(shown, whole, model):
    gain_D, unembedding_VD = model.weights.norm.decode(np.float64), model.weights.unembedding.decode(np.float64)
    for index, layer in enumerate(shown["layers"]):
        x_TD = whole[f"layers.{index}.output"].astype(np.float64)
        normed_TD = gain_D * x_TD / np.sqrt((x_TD**2).mean(axis=1, keepdims=True) + model.config.rms_norm_eps)
        for listed, logits_V in zip(layer["lens"], normed_TD @ unembedding_VD.T, strict=True):
            hold_best(listed, logits_V, 3)


def test_what_comes_next_is_what_the_logits_say(shown, whole):
    for token, (listed, logits_V) in enumerate(zip(shown["next"], whole["logits"], strict=True)):
        hold_best(listed[:8], logits_V, 8)
        following = shown["tokens"][token + 1 : token + 2]
        best = [each for each, _ in listed[:8]]
        assert [each for each, _ in listed[8:]] == [each for each in following if each not in best]
    assert [rows[:3] for rows in shown["next"]] == shown["layers"][-1]["lens"]


def hold_best(listed, logits_V, count):
    """The probabilities are the largest, in order; of near-equal ones either may come first."""
    probability_V = np.exp(log_softmax(logits_V))
    assert len(listed) == count
    assert np.allclose([each for _, each in listed], np.sort(probability_V)[::-1][:count], rtol=6e-3)
    assert np.allclose([each for _, each in listed], [probability_V[token] for token, _ in listed], rtol=6e-3)


def test_every_token_is_spelled(shown, encoding):
    words = shown["words"]
    assert words[ord("H")] == "H" and words[0xC3] == "\\xc3" and words[7] == "␇" and words[10] == "\n"
    assert all(words[encoding.encode_single_token(each)] == each for each in HOSTILE if "\u202e" not in each)


def test_channels_of_a_conversation(shown, encoding, ids):
    found = shown["channels"]
    changes = [found[0], *(now for before, now in zip(found, found[1:], strict=False) if now != before)]
    assert changes == ["user", "analysis", "final"] and len(found) == len(ids)
    assert found[ids.index(encoding.encode_single_token("<|end|>"))] == "user"
    assert channels(encoding.encode("Once upon"), encoding) is None
    assert channels(encoding.encode("<|start|>assistant", allowed_special="all"), encoding)[-1] == "assistant"
    assert set(channels(encoding.encode("<|start|><|message|><|start|>", allowed_special="all"), encoding)) == {
        "assistant"
    }


def test_a_text_that_is_too_long_is_refused(model, encoding, monkeypatch):
    monkeypatch.setattr(contents, "MOST_ROWS", 3 * 6 * 20 + 1)
    told = "the text has 21 tokens; with 3 layers of 6 heads a page holds at most 20"
    with pytest.raises(minioss.InputError, match=told):
        minioss.explore_page(model, encoding, range(21))
    assert minioss.explore_page(model, encoding, np.arange(20))


def test_a_prompt_of_no_possible_length_is_refused(model, encoding):
    for length in (0, 4):
        with pytest.raises(minioss.InputError, match=f"prompt_length is {length}; expected 1 to 3, the length of the"):
            minioss.explore_page(model, encoding, [1, 2, 3], length)


# The file


@pytest.fixture(scope="module")
def page_text(model, encoding, ids):
    return minioss.explore_page(model, encoding, ids, 60)


def test_the_page_holds_the_content_and_no_token_can_end_it(page_text, shown):
    (packed,) = re.findall(r'<script type="text/plain" id="content">([A-Za-z0-9+/=]+)</script>', page_text)
    assert json.loads(zlib.decompress(base64.b64decode(packed))) == json.loads(json.dumps(shown))
    assert page_text.count("</script") == 2 and not any(each in page_text for each in HOSTILE)
    assert not re.search(r"https?:|url\(|@import", page_text.replace(packed, ""))


def test_the_command(folder, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert cli.main(["explore", str(folder), "A fox", "--new-tokens", "4", "-o", str(out)]) == 0
    written = out.read_text(encoding="utf-8")
    assert re.fullmatch(rf"{out}: \d tokens in 3 layers, \d\d\.\d\d kB\n", capsys.readouterr().out)
    model, encoding = minioss.load(folder), minioss.load_tokenizer(folder)
    prompt = encoding.encode("A fox")
    new = [int(token) for token in minioss.generate(model, prompt, max_new_tokens=4, temperature=0)]
    assert written == minioss.explore_page(model, encoding, prompt + new, len(prompt))


def test_the_command_asks_as_a_chat_does(folder, tmp_path, monkeypatch):
    held = {}
    monkeypatch.setattr("minioss.cli.explore.explore_page", lambda *given: held.update(given=given) or "page")
    assert cli.main(["explore", str(folder), "A <|start|>?", "--chat", "-o", str(tmp_path / "page.html")]) == 0
    _, encoding, ids, prompt_length = held["given"]
    text = encoding.decode(ids)
    assert text.startswith("<|start|>system<|message|>You are ChatGPT") and prompt_length == len(ids)
    assert text.endswith("<|start|>user<|message|>A <|start|>?<|end|><|start|>assistant")
    assert ids.count(encoding.encode_single_token("<|start|>")) == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([""], "the prompt is empty"),
        (["A", "--new-tokens", "-1"], "--new-tokens is -1; expected 0 or more"),
        (
            ["A" * 1021, "--new-tokens", "4"],
            "the text has 1025 tokens; with 3 layers of 6 heads a page holds at most 1024",
        ),
    ],
)
def test_the_command_says_what_is_wrong(folder, tmp_path, capsys, arguments, told):
    assert cli.main(["explore", str(folder), *arguments, "-o", str(tmp_path / "page.html")]) == 2
    assert told in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_the_command_overwrites_nothing(tmp_path, capsys):
    (tmp_path / "page.html").write_text("mine")
    assert cli.main(["explore", str(tmp_path / "nowhere"), "A", "-o", str(tmp_path / "page.html")]) == 2
    assert "page.html exists; expected a file that is still to be made" in capsys.readouterr().err
    assert (tmp_path / "page.html").read_text() == "mine"


# In a browser

SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def address(page_text, tmp_path_factory):
    path = tmp_path_factory.mktemp("pages") / "page.html"
    path.write_text(page_text, encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def opened(chromium, address, request):
    """The page at a size, in a scheme; its console must be empty in the end, and it must have asked for nothing."""
    size, scheme = getattr(request, "param", ("desktop", "light"))
    with watched(chromium, address, viewport=SIZES[size], color_scheme=scheme, has_touch=size == "phone") as page:
        page.wait_for_selector("main:not([hidden])")
        yield page


def views(*each):
    return pytest.mark.parametrize("opened", each, indirect=True, ids="-".join)


both_sizes = views(("desktop", "light"), ("phone", "dark"))
every_view = views(*((size, scheme) for size in SIZES for scheme in ("light", "dark")))


def hold_choice(page, shown, token, layer, head):
    """What the page shows is what the content says of this token, layer and head (-1 for all)."""
    at = page.evaluate(
        """() => ({
            tokens: [...document.querySelectorAll("[role=option]")].map((each) => each.ariaSelected === "true"),
            layers: [...document.querySelectorAll("[name=layer]")].map((each) => each.checked),
            heads: [...document.querySelectorAll("[name=head]")].map((each) => each.checked),
            next: [...document.querySelectorAll("#next .percent")].map((each) => each.textContent),
            looks: [...document.querySelectorAll("#looks li")].map((each) => each.innerText),
            bars: [...document.querySelectorAll(".whole")].map((each) => each.firstChild.style.getPropertyValue("--share")),
            rows: [...document.querySelectorAll("#layers tr")].map((row) => [...row.cells].map((cell) => cell.innerText)),
            seen: [...document.querySelectorAll("[role=option]:not(.unseen)")].length,
            said: document.querySelector("#said").textContent,
        })"""
    )
    assert [at["tokens"].index(True), at["layers"].index(True), at["heads"].index(True) - 1] == [token, layer, head]
    assert at["tokens"].count(True) == at["layers"].count(True) == at["heads"].count(True) == 1
    assert at["next"] == [percent(probability) for _, probability in shown["next"][token]]
    rows = shown["layers"][layer]["attention"][token]
    assert np.allclose([float(bar) for bar in at["bars"]][1:], [sink / 1000 for sink, *_ in rows])
    sink = mean_sink(rows if head < 0 else [rows[head]])
    assert at["looks"][0].split("\n") == ["the sink", percent(sink)]
    assert f"sink {percent(sink)}" in at["said"] and at["said"].startswith(f"Token {token}, ")
    assert at["seen"] == min(token + 1, shown["layers"][layer]["window"] or token + 1)
    for cells, each in zip(at["rows"], shown["layers"], strict=True):
        for expert, weight in each["experts"][token]:
            assert re.search(rf"\b{expert} {percent(weight / 1000)}", cells[2])
        assert cells[1].count("%") == 3 and all(
            percent(probability) in cells[1] for _, probability in each["lens"][token]
        )
        assert cells[3] == percent(mean_sink(each["attention"][token]))


# The element that has the focus lies uncovered within the window, and has an outline.
FOCUS = """() => {
    const { x, y, width, height } = document.activeElement.getBoundingClientRect();
    const there = document.elementFromPoint(x + width / 2, y + height / 2);
    const outline = getComputedStyle(document.activeElement).outlineStyle;
    return [document.activeElement.contains(there) ? "seen" : "hidden", outline === "none" ? "plain" : "outlined"];
}"""


def mean_sink(rows):
    return sum(sink / 1000 / len(rows) for sink, *_ in rows)


def percent(fraction):
    value = 100 * fraction
    if 0 < value < 0.05:
        return "< 0.1 %"
    return f"{Decimal(value).quantize(Decimal('0.1' if 0 < value < 9.95 else '1'), ROUND_HALF_UP)} %"


@both_sizes
def test_a_click_shows_what_the_model_did(opened, shown):
    options = opened.get_by_role("option")
    assert options.count() == len(shown["tokens"])
    hold_choice(opened, shown, 59, 2, -1)
    for token in (0, 33, len(shown["tokens"]) - 1):
        options.nth(token).click()
        hold_choice(opened, shown, token, 2, -1)
    opened.get_by_role("row").nth(2).get_by_role("cell").nth(1).click()
    hold_choice(opened, shown, len(shown["tokens"]) - 1, 1, -1)
    opened.get_by_role("radio", name="head 4").click()
    hold_choice(opened, shown, len(shown["tokens"]) - 1, 1, 4)


@both_sizes
def test_the_keyboard_alone_suffices(opened, shown):
    last = len(shown["tokens"]) - 1

    def press(*keys):
        for key in keys:
            opened.keyboard.press(key)
            assert opened.evaluate(FOCUS) == ["seen", "outlined"], key

    press("ArrowRight", "ArrowRight")
    hold_choice(opened, shown, 61, 2, -1)
    press("ArrowUp", "ArrowUp", "ArrowUp", "ArrowLeft")
    hold_choice(opened, shown, 60, 0, -1)
    press("Home", "ArrowLeft", "ArrowDown")
    hold_choice(opened, shown, 0, 1, -1)
    press("End", "ArrowRight")
    hold_choice(opened, shown, last, 1, -1)
    press("Tab", "ArrowDown")
    hold_choice(opened, shown, last, 2, -1)
    press("Tab", "ArrowDown", "ArrowDown")
    hold_choice(opened, shown, last, 2, 1)
    press("Shift+Tab", "Shift+Tab", "ArrowLeft")
    hold_choice(opened, shown, last - 1, 2, 1)


@both_sizes
def test_nothing_is_cut_off(opened):
    """No scrolling sideways, of the page or of any box in it, and what is chosen can be seen."""
    opened.get_by_role("option").last.click()
    wide = """() => [document.documentElement, ...document.querySelectorAll("body *:not(.hidden)")]
        .filter((each) => each.scrollWidth > each.clientWidth && each.clientWidth > 0
            || each.getBoundingClientRect().right > innerWidth).map((each) => each.outerHTML.slice(0, 200))"""
    assert opened.evaluate(wide) == []
    for choice in ("[aria-selected=true]", "#layers tr:has(:checked)"):
        inside = """(part) => { const box = part.closest("#tokens, .scroll").getBoundingClientRect(),
            { top, bottom } = part.getBoundingClientRect(); return top < box.bottom && bottom > box.top; }"""
        assert opened.locator(choice).evaluate(inside)


@every_view
def test_axe_finds_no_barrier(opened):
    """Roles, names, contrast: by the rules of axe-core."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the extra browser").Axe()
    for token in (59, 10):
        opened.get_by_role("option").nth(token).click()
        report = axe.run(opened)
        assert report.violations_count == 0, report.generate_report()


def test_no_token_is_read_as_html(opened, shown):
    """The hostile ones stand there as they are; that none of them ran, `watched` sees."""
    texts = opened.get_by_role("option").all_text_contents()
    assert texts[-len(HOSTILE) :] == HOSTILE and texts[shown["tokens"].index(10)] == "↵"
    assert opened.locator("main img, main script").count() == 0


def test_channels_are_named(opened):
    assert opened.get_by_role("listitem").all_text_contents()[:3] == ["user", "analysis", "final"]
    assert opened.get_by_role("option", name="token 0, <|start|>, user").count() == 1
    parts = opened.locator(".part")
    assert parts.all_text_contents() == ["prompt", "continued by the model"]
