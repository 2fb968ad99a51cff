# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A walk through gpt-oss
#
# gpt-oss is a transformer: it reads numbers that stand for pieces of text, and gives, for each, a score for every
# piece that could come next. Everything between is arithmetic on arrays, and this notebook does all of it: you see
# each part at work, compute it by hand, break it, and mend it.
#
# It runs on a model that comes with the package. It has the same blocks as the 20b and the 120b, trained by this
# project's own code, and is two thousand times smaller than the 20b: it knows small sums, simple stories, and how to
# hold a conversation. You need NumPy and some linear algebra, and no network.

# %% [markdown]
# **How to read it.** The sections follow a token on its way through the model, and are called as the modules in
# `minioss/` are. An array's name ends in its axes: `logits_TV` has a row for each of T tokens and a column for
# each entry of the vocabulary V. The letters are D (hidden size), K (head size), H (key/value heads), n (query heads),
# E (experts), A (active experts), F (an expert's inner size).
#
# Each section ends with something to break and an exercise. A checker answers at once:
# `exercises.check("rmsnorm", your_function)`.

# %%
import numpy as np

import minioss
from minioss import exercises, plots

model = minioss.load(minioss.TINY, dtype="float64", kernels="numpy")
encoding = minioss.load_tokenizer(minioss.TINY)
config = model.config
print(config)

# %% [markdown]
# ## harmony: text becomes tokens
#
# A conversation, as the model sees it: one row of *tokens*, from left to right. The system sets the terms, the user asks, the
# model reasons (`analysis`) and answers (`final`). A few lines make it; the rest of this section takes them apart.

# %%
from minioss.text.harmony.messages import Message, System
from minioss.text.harmony.rendering import render_prompt


def ask(question: str, effort: str) -> list[int]:
    system = Message("system", System(effort=effort, date="2025-06-28"))
    return render_prompt([system, Message("user", question)], encoding)


prompt = ask("What is 47 + 85?", "high")
reply = list(minioss.generate(model, prompt, max_new_tokens=150, temperature=0))
ids = np.array(prompt + reply)
plots.timeline(plots.token_kinds(ids, encoding))
# %% [markdown]
# The model knows 2,048 tokens: frequent words and parts of words, single signs, and a few *special tokens* that stand
# for no text. A tokenizer cuts text into them. Digits are always tokens of their own, so that numbers can be
# added column by column.

# %%
fable = encoding.encode("Once upon a time there were 347 foxes.")
print(fable)
print([encoding.decode([token]) for token in fable])
assert encoding.decode(fable) == "Once upon a time there were 347 foxes."

# %% [markdown]
# *Harmony* is the format of conversations: `<|start|>`, who speaks, `<|message|>`, what is said, `<|end|>`. What the model says
# has a *channel*: `analysis` for its reasoning, `final` for the answer.
#
# The system message asks for an effort of reasoning. The prompt ends where the model is to go on:

# %%
print(encoding.decode(prompt))

# %% [markdown]
# From there the model went on. At each step it gives a score for every token; the best one is taken, put at the end of the
# text, and the model reads on. That is all that *generating* means. It thinks, digit by digit, as it was taught; then it answers:

# %%
print(encoding.decode(reply))

# %% [markdown]
# From here on we look inside, while the model reads this very conversation. A *trace* holds every named array of one
# run; `docs/trace-format.md` lists them.

# %%
trace = minioss.trace(model, ids)
print(len(trace), "arrays, such as:")
for name in ("embedding", "layers.0.attention.q", "layers.0.router.experts", "logits"):
    print(f"{name:26}", trace[name].shape)

# %% [markdown]
# **Break it.** Mistakes that ports of gpt-oss have made come with the package, each a wrong twin of one function,
# switched on by `with minioss.fault(name)`. Here is what the model then writes in place of its answer. The first number is the
# error of the logits: their squared change over their squared size (NMSE). The second is the share of the reply's tokens that
# the model would still choose, each after the right beginning.


# %%
def break_it(*names: str, new_tokens: int = 24) -> None:
    for name in names:
        with minioss.fault(name):
            logits_TV = model(ids)
            text = encoding.decode(list(minioss.generate(model, prompt, max_new_tokens=new_tokens, temperature=0)))
        error = np.sum((logits_TV - trace["logits"]) ** 2) / np.sum(trace["logits"] ** 2)
        same = np.mean(logits_TV[len(prompt) - 1 : -1].argmax(axis=1) == reply)
        print(f"{name:26} {error:8.1e} {same:5.0%}  {text!r}")


break_it("token-row-shifted")

# %% [markdown]
# With every token read as its neighbour in the table, nothing is left. Most mistakes are not like that: the text still looks
# right, and the model is only worse, or wrong in longer texts. That is how they go unnoticed.
#
# **Exercise.** Write `answer(reply)`, which takes the text that the model wrote and gives the final message alone.


# %%
def answer(reply: str) -> str:
    return reply


exercises.check("harmony", answer)

# %% [markdown]
# ## transformer: the residual stream
#
# Each token begins as a row of the *embedding*: D = 192 numbers that training has found for it. From there on, every
# block reads the stream and *adds* something to it; nothing is ever replaced. A layer is two additions:
#
#     x = x + attention(rms_norm(x))
#     x = x + mix_experts(rms_norm(x))
#
# Since blocks only add, we may stop after any layer and ask what the model would say by then: the *logit lens*. Here it
# looks at the last token before the answer's first digit. A row is a layer, and the darker a cell, the surer the model:
# the digit is read off the reasoning, in a late layer. On the right are the experts that the layer used.

# %%
place = len(ids) - 1 - reply[::-1].index(encoding.encode_single_token("<|message|>"))
print(repr(encoding.decode(ids[place - 12 : place + 1])))
plots.logit_lens(trace, model, encoding, position=place)
# %% [markdown]
# The additions, all twelve of them:

# %%
x_TD = trace["embedding"].copy()
for layer in range(config.num_hidden_layers):
    x_TD += trace[f"layers.{layer}.attention.output"]
    x_TD += trace[f"layers.{layer}.experts.output"]
assert np.allclose(x_TD, trace[f"layers.{config.num_hidden_layers - 1}.output"])

# %% [markdown]
# **Break it.** The embedding multiplied by sqrt(D), as some models have it: everything that is added later weighs too little.

# %%
break_it("embedding-scaled")

# %% [markdown]
# **Exercise.** `stream(trace, layer)`: the stream after a layer, added up from what a trace holds.


# %%
def stream(trace: dict, layer: int) -> np.ndarray:
    return trace["embedding"]


exercises.check("residual", stream)

# %% [markdown]
# ## rmsnorm: every vector at unit size
#
# The stream grows from layer to layer. Before a block reads it, each token's vector is divided by its root mean square
# and multiplied by a learnt gain:
#
#     y = x / sqrt(mean(x²) + ε) · g

# %%
plots.stream_sizes(trace)
# %% [markdown]
# Each dot is the median of all tokens, each line reaches from the smallest to the largest. Sizes differ by a factor of ten
# and more, and what a block reads should not depend on them.
#
# There is no mean to subtract, and the gain multiplies as it is stored. The norm before the first layer's attention, by
# hand:

# %%
x_TD, gain_D = trace["embedding"], model.weights.layers[0].attention_norm.decode()
y_TD = x_TD / np.sqrt(np.mean(x_TD**2, axis=1, keepdims=True) + config.rms_norm_eps) * gain_D
assert np.allclose(y_TD, trace["layers.0.attention_norm"])

# %% [markdown]
# **Break it.** A gain of g + 1, as other models store it, and a norm that subtracts the mean:

# %%
break_it("norm-gain-plus-one", "norm-mean-subtracted", "norm-eps-1e-6")

# %% [markdown]
# The last one is an ε of 1e-6 in place of 1e-5. It shows in the tenth decimal and never in a text: only a comparison of
# numbers finds it.
#
# **Exercise.** `norm(x_TD, gain_D, eps)`.


# %%
def norm(x_TD: np.ndarray, gain_D: np.ndarray, eps: float) -> np.ndarray:
    return x_TD * gain_D


exercises.check("rmsnorm", norm)

# %% [markdown]
# ## mxfp4: sixteen numbers, and a scale
#
# Most of the weights are in the experts, and they are stored in 4 bits each. Four bits make sixteen codes, that is
# eight sizes with either sign:

# %%
plots.number_line()
# %% [markdown]
# 32 neighbours share a scale, a power of two in one byte b: 2^(b - 127). So a block of 32 numbers takes 17 bytes. Two
# codes share a byte, the first in the lower four bits.

# %%
packed = model.weights.layers[0].experts.gate_up
print("codes ", packed.blocks.shape, packed.blocks.dtype, "  scales", packed.scales.shape)
block, scale = packed.blocks[0, 0, 0], packed.scales[0, 0, 0]
codes = np.stack([block & 15, block >> 4], axis=1).ravel()
print(codes, 2.0 ** (int(scale) - 127))

# %% [markdown]
# One dot product, from bits to result: decode the first block of the first row, multiply by 32 numbers of the stream.

# %%
VALUES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
VALUES = np.concatenate([VALUES, -VALUES])
row_32 = VALUES[codes] * 2.0 ** (int(scale) - 127)
assert np.array_equal(row_32, packed.decode()[0, 0, :32])
print(row_32[:8], "…")
print("dot product:", row_32 @ trace["layers.0.experts_norm"][0, :32])

# %% [markdown]
# **Break it.** The two codes of a byte swapped, and a scale that is off by one power of two:

# %%
break_it("mxfp4-nibbles-swapped", "mxfp4-scale-bias-128", "mxfp4-subnormals-flushed")

# %% [markdown]
# The last mistake changes nothing, because this model has no scale byte of 0. A test on these weights cannot see it;
# the conformance kit has weights on which it shows.
#
# **Exercise.** `decode(bytes_16, scale)`: the 32 numbers of one block.


# %%
def decode(bytes_16: np.ndarray, scale: int) -> np.ndarray:
    return np.zeros(32)


exercises.check("mxfp4", decode)

# %% [markdown]
# ## rope: position becomes rotation
#
# Attention compares a query with keys, and so far nothing in them says where a token stands. RoPE turns them: the K
# numbers of a head are K/2 pairs, and pair i turns by p ω[i] at position p. A dot product of two turned vectors then
# depends on how far apart they are, and on nothing else.
#
# Fast pairs see single steps, slow ones see long distances. *YaRN* stretches the slow ones by a factor, so that a model
# trained on short texts can read long ones, and leaves the fast ones alone.

# %%
plots.wavelengths(config.rope, config.head_dim)
# %% [markdown]
# The pairs are *halves*: i and i + K/2, not neighbours. With a pair as one complex number, turning is a product; cos and
# sin are also multiplied by YaRN's concentration c.

# %%
K = config.head_dim
turn_Tk = trace["rope.cos"] + 1j * trace["rope.sin"]
q_TnK = trace["layers.0.attention.q"]
turned_Tnk = (q_TnK[..., : K // 2] + 1j * q_TnK[..., K // 2 :]) * turn_Tk[:, None, :]
assert np.allclose(np.concatenate([turned_Tnk.real, turned_Tnk.imag], axis=2), trace["layers.0.attention.q_rope"])

# %% [markdown]
# And the promise: move a query and a key together, and their product stays.

# %%
from minioss.rope import rotate, rotation

random = np.random.default_rng(0)
query_K, key_K = random.normal(size=(2, K))
for shift in (0, 10, 500):
    positions = np.array([7 + shift, 3 + shift])
    turned = rotate(np.stack([query_K, key_K])[:, None, :], rotation(positions, config.rope, K, np.float64))
    print(f"positions {positions}: {turned[0, 0] @ turned[1, 0]:.12f}")

# %% [markdown]
# **Break it.** Neighbours in place of halves; the base of other models; and a ramp whose ends are rounded, as several
# ports have it today.

# %%
break_it("rope-neighbours", "rope-base-10000", "yarn-truncated")

# %% [markdown]
# **Exercise.** `turn(x_K, position, omega_k)`: one head, turned.


# %%
def turn(x_K: np.ndarray, position: int, omega_k: np.ndarray) -> np.ndarray:
    return x_K


exercises.check("rope", turn)

# %% [markdown]
# ## attention: who looks at whom
#
# A query of one token meets the keys of all tokens before it. The scores become weights by a softmax, and the values
# are mixed with these weights:
#
#     s[t, u] = q[t] · k[u] / sqrt(K)        p = softmax(s)        y[t] = Σ_u p[t, u] v[u]
#
# The picture shows one head on the last tokens of our conversation. The first column is the *sink*, of which more below.

# %%
labels = plots.token_labels(ids, encoding)
last = slice(len(ids) - 32, None)
short = minioss.trace(model, ids[last], ["*.attention.weights"])
plots.attention_map(short, layer=1, head=0, labels=labels[last])
# %% [markdown]
# *Grouped-query*: there are 6 query heads and only 2 key/value heads, so the cache holds a third of what it would.
# Query head n reads key/value head n // 3. By hand, head 4 of layer 1, for the last token:

# %%
n, layer = 4, 1
group = config.num_attention_heads // config.num_key_value_heads
q_K = trace[f"layers.{layer}.attention.q_rope"][-1, n]
k_TK = trace[f"layers.{layer}.attention.k_rope"][:, n // group]
scores_T = k_TK @ q_K / np.sqrt(K)
assert np.allclose(scores_T, trace[f"layers.{layer}.attention.scores"][n, -1, :-1])

# %% [markdown]
# **Break it.** Key/value heads dealt out like cards (head n reads n mod 2) instead of in groups:

# %%
break_it("heads-modulo", "score-scale-missing")

# %% [markdown]
# **Exercise.** `kv_head(n, query_heads, kv_heads)`.


# %%
def kv_head(n: int, query_heads: int, kv_heads: int) -> int:
    return n % kv_heads


exercises.check("attention", kv_head)

# %% [markdown]
# ## attention: the sinks
#
# A softmax always gives out all of its weight, even where there is nothing to look for. So every query head has a
# learnt number, its *sink*: one more score, whose weight is dropped. Rows of weights then sum to less than 1.
#
#     p[t, u] = exp(s[t, u]) / (exp(sink) + Σ_u' exp(s[t, u']))

# %%
plots.sink_mass(trace)
# %% [markdown]
# By hand, for the scores from above:

# %%
sink = model.weights.layers[layer].attention.sinks.decode()[n]
p_T = np.exp(scores_T) / (np.exp(sink) + np.exp(scores_T).sum())
assert np.allclose(p_T, trace[f"layers.{layer}.attention.weights"][n, -1])
print(f"head {n} gives {1 - p_T.sum():.0%} of its attention to nobody")

# %% [markdown]
# **Break it.** Sinks left out, and in the wrong order:

# %%
break_it("sink-dropped", "sink-head-order")

# %% [markdown]
# **Exercise.** `weights(scores_S, sink)`.


# %%
def weights(scores_S: np.ndarray, sink: float) -> np.ndarray:
    return np.exp(scores_S) / np.exp(scores_S).sum()


exercises.check("sinks", weights)

# %% [markdown]
# ## attention: sliding windows
#
# On every other layer a token sees itself and the tokens just before it, 64 here and 128 in gpt-oss. That makes half of
# the layers cheap, however long the text. What lies farther back reaches a token through the layers that see all.

# %%
plots.windows(config, 160)
# %% [markdown]
# In the weights of a sliding layer, all that is later, and all that is 64 tokens back or more, is exactly 0:

# %%
weights_nTS, t_T = trace["layers.0.attention.weights"], np.arange(len(ids))
hidden_TS = (t_T > t_T[:, None]) | (t_T[:, None] - t_T >= config.sliding_window)
assert np.all(weights_nTS[:, hidden_TS] == 0) and np.all(weights_nTS[:, ~hidden_TS] > 0)

# %% [markdown]
# **Break it.** One token too wide, and sliding on the wrong layers. Then the same on the first 60 tokens only:

# %%
break_it("window-plus-one", "window-parity")
for name in ("window-plus-one", "window-parity"):
    with minioss.fault(name):
        print(f"{name:26} on 60 tokens: {np.abs(model(ids[:60]) - trace['logits'][:60]).max():.1e}")

# %% [markdown]
# On a text that is no longer than the window, nothing shows, however exact the comparison. Two ports were wrong for months
# because their tests were short.
#
# **Exercise.** `sees(t, u, window)`: may position t look at position u on a sliding layer?


# %%
def sees(t: int, u: int, window: int) -> bool:
    return t - u <= window


exercises.check("windows", sees)

# %% [markdown]
# ## router: which experts
#
# After attention, each token goes to experts: small networks of which a layer has ten here, and a token runs two. The
# router gives a logit for each; the best two are chosen, and **then** a softmax over these two says how much each counts.

# %%
plots.expert_load(trace)
# %%
r_TE = trace["layers.2.router.logits"]
best_TA = np.argsort(-r_TE, axis=1)[:, :2]
chosen_TA = np.take_along_axis(r_TE, best_TA, axis=1)
w_TA = np.exp(chosen_TA) / np.exp(chosen_TA).sum(axis=1, keepdims=True)
assert np.array_equal(best_TA, trace["layers.2.router.experts"])
assert np.allclose(w_TA, trace["layers.2.router.weights"])

# %% [markdown]
# Have the experts divided the work? In a picture by channel, look for experts that serve one channel alone.

# %%
plots.load_by_channel(trace, 2, plots.token_kinds(ids, encoding))
# %% [markdown]
# **Break it.** The softmax before the choice, and a sigmoid in its place:

# %%
break_it("router-softmax-over-all", "router-sigmoid")

# %% [markdown]
# **Exercise.** `route(logits_E, k)`: the k best experts, best first, and their weights.


# %%
def route(logits_E: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    experts = np.argsort(-logits_E)[:k]
    return experts, logits_E[experts]


exercises.check("router", route)

# %% [markdown]
# ## experts: gather, multiply, scatter
#
# Running each token's experts in turn would read the same weights again and again. So it is done the other way round:
# for each expert, *gather* the tokens that chose it, multiply them all at once, and *scatter* the results back, each
# times its weight.
#
#     h = x W₁ᵀ + b₁        gate, up = h[0::2], h[1::2]        a = gate · σ(α gate) · (up + 1)        y = a W₂ᵀ + b₂
#
# Which experts share their tokens? In a row, the tokens of one expert, and how many of them each other expert saw as well:

# %%
plots.co_activation(trace, layer=2)
# %% [markdown]
# Now the layer by hand. Gate and up are also *clamped* to ±7, the gate from above only.

# %%
of_layer = model.weights.layers[2].experts
x_TD, y_TD = trace["layers.2.experts_norm"], np.zeros((len(ids), config.hidden_size))
for e in range(config.num_local_experts):
    token_N, slot_N = np.nonzero(best_TA == e)
    h_N2F = x_TD[token_N] @ of_layer.gate_up.decode()[e].T + of_layer.gate_up_bias.decode()[e]
    gate, up = (
        np.minimum(h_N2F[:, 0::2], config.swiglu_limit),
        np.clip(h_N2F[:, 1::2], -config.swiglu_limit, config.swiglu_limit),
    )
    a_NF = gate / (1 + np.exp(-config.swiglu_alpha * gate)) * (up + 1)
    y_ND = a_NF @ of_layer.down.decode()[e].T + of_layer.down_bias.decode()[e]
    y_TD[token_N] += w_TA[token_N, slot_N, None] * y_ND
assert np.allclose(y_TD, trace["layers.2.experts.output"])

# %% [markdown]
# **Break it.** Gate and up as two halves in place of alternating rows; no + 1; the gate clamped on both sides:

# %%
break_it("gate-up-halves", "up-plus-one-missing", "gate-clamped-below")

# %% [markdown]
# The last one is harder to see than any: the sigmoid of a gate below -7 is next to nothing, clamped or not. It takes weights made
# for it, or exact numbers, to find such a mistake.
#
# **Exercise.** `activate(h_2F, alpha, limit)`: the middle of an expert, for one token.


# %%
def activate(h_2F: np.ndarray, alpha: float, limit: float) -> np.ndarray:
    gate, up = h_2F[0::2], h_2F[1::2]
    return gate / (1 + np.exp(-alpha * gate)) * (up + 1)


exercises.check("experts", activate)

# %% [markdown]
# ## generation: from logits to a token
#
# The last state of a token, normalised, times the *unembedding*: one logit for each entry of the vocabulary. A softmax
# makes probabilities of them. A *temperature* divides the logits first: below 1 the best become more probable still.

# %%
story = encoding.encode("Once upon a time there was a little")
logits_V = model(story)[-1]
plots.temperatures(logits_V, encoding)
# %% [markdown]
# The logits once more, by hand: the last layer's output, normalised, and a row of the unembedding for each token.

# %%
W_VD = model.weights.unembedding.decode()
assert np.allclose(W_VD @ trace["norm"][-1], trace["logits"][-1])
p_V = np.exp(logits_V) / np.exp(logits_V).sum()
for token in np.argsort(-p_V)[:5]:
    print(f"{p_V[token]:6.1%}  {encoding.decode([token])!r}")

# %% [markdown]
# Then a token is drawn. With `top_p`, only the most probable ones that together reach a share take part, so that the long
# tail of unlikely tokens never does.

# %%
for seed in (1, 2, 3):
    tokens = minioss.generate(model, story, max_new_tokens=30, temperature=0.8, top_p=0.9, seed=seed)
    print("…" + encoding.decode(list(tokens)).replace("\n", " / "))

# %% [markdown]
# **Break it.** The embedding's rows in place of the unembedding's, as in models that share the two; and logits squeezed into
# ±30, as others do it:

# %%
break_it("unembedding-tied", "logits-soft-capped")

# %% [markdown]
# **Exercise.** `top_p(p_V, share)`: the ids of the fewest tokens that together have that share, most probable first.


# %%
def top_p(p_V: np.ndarray, share: float) -> list[int]:
    return np.argsort(-p_V).tolist()


exercises.check("sampling", top_p)

# %% [markdown]
# ## cache: nothing is computed twice
#
# When one token is added, the keys and values of all others stay what they were. So they are kept, and the next step
# computes one token alone. On sliding layers, the cache keeps no more than the window.

# %%
plots.cache_size(config, 400)
# %%
cache = model.new_cache()
model(ids[:-1], cache=cache)
step_V = model(ids[-1:], cache=cache)[-1]
assert np.allclose(step_V, trace["logits"][-1])

# %% [markdown]
# **Break it.** A cache that loses the oldest key of each window, and one whose ring is read from its first slot instead of
# its oldest token. Where the text is read at once, nothing shows; in pieces of eight tokens it does:

# %%
for name in ("cache-oldest-missing", "cache-ring-unordered"):
    with minioss.fault(name):
        at_once, cache = model(ids)[-1], model.new_cache()
        for start in range(0, len(ids), 8):
            pieces = model(ids[start : start + 8], cache=cache)[-1]
    print(f"{name:26} at once {np.abs(at_once - step_V).max():.0e}, in pieces {np.abs(pieces - step_V).max():.0e}")

# %% [markdown]
# **Exercise.** `numbers(config, tokens)`: how many numbers does the cache of a text hold?


# %%
def numbers(config: minioss.Config, tokens: int) -> int:
    return 2 * tokens * config.num_hidden_layers * config.num_key_value_heads * config.head_dim


exercises.check("cache", numbers)

# %% [markdown]
# ## chat: what reasoning effort buys
#
# The same question at three efforts. At *low* the model must know the answer at once; at *high* it works it out, a column
# at a time, and each step is easy.

# %%
for effort in ("low", "high"):
    reply = list(minioss.generate(model, ask("What is 683 - 497?", effort), max_new_tokens=150, temperature=0))
    ax = plots.timeline(plots.token_kinds(reply, encoding))
    ax.set_title(f"effort: {effort}", loc="left")
    ax.set_xlim(0, 80)
    print(f"{effort}: {encoding.decode(reply)}\n")

# %% [markdown]
# One question proves nothing. Here are forty that it was not trained on, the same at each effort. The share of right
# answers must rise:

# %%
from minioss.training.abilities import abilities
from minioss.training.corpus.evaluation import questions

fast, right = minioss.load(minioss.TINY), {}
for effort in ("low", "medium", "high"):
    found = abilities(fast, encoding, questions("subtract", effort, 40))
    right[effort] = found.right
    print(f"{effort:7} {found.right:4.0%} right, with {found.reasoning:.0f} tokens of reasoning")
assert right["high"] > 0.9 > 0.5 > right["low"]

# %% [markdown]
# **Break it.** Cut the reasoning short: we close the channel ourselves and let the model answer. With some of the columns
# missing, it can only guess.

# %%
end = reply.index(encoding.encode_single_token("<|end|>"))
final = encoding.encode("<|end|><|start|>assistant<|channel|>final<|message|>", allowed_special="all")
for kept in (10, 30, 50, end):
    given = [*ask("What is 683 - 497?", "high"), *reply[:kept], *final]
    said = list(minioss.generate(model, given, max_new_tokens=6, temperature=0))
    print(f"after {kept:2} of {end} tokens: {encoding.decode(said)!r}")

# %% [markdown]
# **Exercise.** `worked(a, b)`: the reasoning of a sum of two numbers, line for line as the model writes it. (Look at its
# reply to 47 + 85 above; shorter numbers get zeros in front.)


# %%
def worked(a: int, b: int) -> str:
    return f"{a}+{b}\nSo {a + b}."


exercises.check("chat", worked)

# %% [markdown]
# ## kernels: what makes it fast
#
# To decode one token, every weight that it needs is read from memory once. So memory is the limit: bytes a token over
# bytes a second. The 20b reads 3.7 GB a token; of this model it is less:

# %%
from minioss.parts import parts

plots.bytes_per_token(parts(model.weights, config))
# %% [markdown]
# The same function can be written in several ways that give the same numbers. A linear map of the model, by three loops,
# by one, and by NumPy's product:

# %%
import time

W_OD, x_D = model.weights.unembedding.decode(), trace["norm"][-1]


def timed(name: str, function) -> np.ndarray:
    start = time.perf_counter()
    y = function()
    print(f"{name:34} {1e3 * (time.perf_counter() - start):9.3f} ms")
    return y


naive = timed("a loop over rows and columns", lambda: [sum(w * x for w, x in zip(row, x_D)) for row in W_OD])
rows = timed("a loop over rows", lambda: [row @ x_D for row in W_OD])
product = timed("one product (BLAS)", lambda: W_OD @ x_D)
assert np.allclose(naive, product) and np.allclose(rows, product)

# %% [markdown]
# Where a C compiler was at hand, the package has *twins* of its hot functions in Cython and C, which multiply 4-bit codes
# as they lie. The blocks do not know which one runs. Whole tokens, on this machine:

# %%
from minioss.kernels import MISSING

for kernels in ("numpy",) if MISSING else ("numpy", "cython"):
    runner = minioss.load(minioss.TINY, kernels=kernels)
    start = time.perf_counter()
    count = len(list(minioss.generate(runner, story, max_new_tokens=50, seed=0)))
    print(f"{kernels:8} {count / (time.perf_counter() - start):8.0f} tokens/s")

# %% [markdown]
# **Break it.** A kernel may also round what it multiplies, which is faster still where the processor can do it. That is a
# mistake with a price tag: the error of the logits, beside what float32 leaves of the float64 that this notebook uses.

# %%
for numbers in ({}, {"activations": "bfloat16"}, {"activations": "int8"}, {"activations": "int8", "dense": "int8"}):
    rounded = minioss.load(minioss.TINY, dtype="float32", **numbers)(ids)
    print(f"{np.sum((rounded - trace['logits']) ** 2) / np.sum(trace['logits'] ** 2):8.1e}  {numbers or 'float32'}")

# %% [markdown]
# **Exercise.** `expert_bytes(config, tokens)`: how many bytes of the experts' matrices does one decoded token read?


# %%
def expert_bytes(config: minioss.Config, tokens: int) -> float:
    return config.num_hidden_layers * config.num_local_experts * 3 * config.intermediate_size * config.hidden_size / 2


exercises.check("kernels", expert_bytes)

# %% [markdown]
# ## verify: is a port right?
#
# You have seen what mistakes do. Now turn it round: given what somebody else's implementation computed, is it right, and
# if not, what is the mistake? Somewhere in the arrays of `exercises.mystery()` one mistake begins.

# %%
theirs = exercises.mystery()
ours = minioss.trace(model, theirs["tokens"])
plots.deviations(theirs, ours)
# %% [markdown]
# The first array that differs belongs to the block that is wrong; all that come after differ because of it.

# %%
first = next(name for name in ours if not np.allclose(ours[name], theirs[name], rtol=1e-9, atol=1e-12))
print(first)

# %% [markdown]
# **Exercise.** Which mistake is it? Its name is in `docs/faults.md`, or in `minioss.verify.faults.CATALOGUE`.

# %%
exercises.check("verify", "window-plus-one")

# %% [markdown]
# `minioss verify` makes that comparison on files that any port can write, and knows what the port's precision explains.
# `minioss diagnose` names the mistake: it makes each one of the catalogue itself, and finds the one whose effect the
# port's deviation has. The logits of 100 tokens are enough:

# %%
found = minioss.compare(model, theirs)
print(found.verdict.verdict, "- first in", found.verdict.block)
assert found.verdict.verdict == "wrong" and first.startswith(found.verdict.block)
logits_alone = {name: theirs[name] for name in ("tokens", "logits")}
diagnosis = minioss.diagnose(model, logits_alone)
print(f"{len(diagnosis.verdict.mistakes)} mistake(s) found, confidence {diagnosis.verdict.confidence:.3f}")

# %% [markdown]
# It is not printed here which: that would spoil the exercise. `diagnosis.verdict.mistakes` has it.
#
# ## Where to go from here
#
# Read the modules, in this order: `rmsnorm`, `rope`, `attention`, `router`, `experts`, `cache`, `transformer`, `model`. Together
# they have fewer than 900 lines; you have now computed all that they do. `docs/training.md` goes the
# same way backwards. And with the official folder of the 20b, everything here works as well:
# `minioss.load("gpt-oss-20b")`.
