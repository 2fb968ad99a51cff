"""Conversations, drawn by hypothesis: every role, channel and effort, and tools with nested schemas."""

from hypothesis import strategies as st

from minioss.text.harmony.builtin import BROWSER, PYTHON
from minioss.text.harmony.header import CHANNELS
from minioss.text.harmony.messages import Developer, Function, Message, Namespace, System

SPECIALS = ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|constrain|>", "<|return|>", "<|call|>"]
SPECIALS += ["<|endoftext|>", "<|startoftext|>", "<|endofprompt|>", "<|reserved_200000|>", "<|reserved_256|>"]

pieces = st.sampled_from([*SPECIALS, "system", "assistant", " to=functions.f", "final", "\n\n", "naïve 東京 🎈"])
texts = st.text(max_size=20) | st.lists(pieces, max_size=6).map("".join)
words = st.text("abYZ09_.-é東<|>", min_size=1, max_size=8) | st.sampled_from(["functions.weather", "browser.search"])


# JSON schemas

names = st.sampled_from(["city", "days", "format", "a b", "naïve"]) | st.text(min_size=1, max_size=5)
# Rust's serde_json reads some decimals one bit off; these it reads right.
floats = st.sampled_from([0.5, -0.0, 1.0, 1e-4, 1e-5, -1.5e-5, 1e-6, 2.5e-7, 1e15, 1e16, -2.25e20, 1e300])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)
remarks = {
    "description": texts,
    "title": texts,
    "default": values,
    "examples": st.lists(texts | st.integers(), max_size=2),
    "nullable": st.booleans(),
    "enum": st.lists(texts | st.just("nullify") | st.integers(), max_size=3),
}
types = st.sampled_from(["string", "number", "integer", "boolean", "array", "object", "null"])


def remarked(required):
    return st.fixed_dictionaries(required, optional=remarks)


def nested(inner):
    properties = st.dictionaries(names, inner, max_size=3)
    required = st.lists(names, max_size=2)
    objects = remarked({"type": st.just("object"), "properties": properties, "required": required})
    # Two variants with one description, and a union that has its first variant's, are written in a way of their own.
    unions = st.lists(inner, max_size=3).flatmap(shared_description)
    return objects | unions | remarked({"type": st.just("array"), "items": inner})


def shared_description(variants):
    plain = remarked({"oneOf": st.just(variants)})
    first = variants[0].get("description") if variants else None
    return plain | plain.map(lambda schema: schema | {"description": first}) if first is not None else plain


schemas = st.recursive(
    remarked({"type": types}) | remarked({"type": st.lists(types, max_size=3)}) | remarked({}), nested, max_leaves=5
)
objects = remarked({"type": st.just("object"), "properties": st.dictionaries(names, schemas, min_size=1, max_size=3)})
functions = st.builds(
    Function,
    words,
    texts | st.sampled_from(["One.\nTwo.\r\nThree.\n", "a\rb", "\n\n"]),
    objects | objects | schemas | st.none(),
)
own = st.builds(
    Namespace, st.just("functions") | words, st.lists(functions, min_size=1, max_size=2).map(tuple), st.none() | texts
)
bare = st.builds(Namespace, words, description=st.none() | texts)
namespaces = st.lists(
    own | own | bare | st.sampled_from([BROWSER, PYTHON]), max_size=2, unique_by=lambda namespace: namespace.name
).map(tuple)


# Messages

optional = st.none() | texts
systems = st.builds(
    System,
    identity=optional | st.just(System().identity),
    effort=st.sampled_from([None, "low", "medium", "high"]),
    date=optional | st.just("2025-06-28"),
    knowledge_cutoff=optional | st.just("2024-06"),
    channels=st.lists(words, max_size=3).map(tuple) | st.just(System().channels),
    namespaces=namespaces,
)
developers = st.builds(Developer, optional, namespaces)
channels = st.sampled_from([None, *CHANNELS])
formats = st.sampled_from(["json", "code", "<|constrain|>json", "<|constrain|>", "<|constrain|>東", "x<|constrain|>"])

analysis = st.builds(Message, st.just("assistant"), texts, st.just("analysis"))
final = st.builds(Message, st.just("assistant"), texts, st.just("final"))
calls = st.builds(
    Message, st.just("assistant"), texts, channels, words | st.sampled_from(["python", "all"]), st.none() | formats
)
results = st.builds(
    Message,
    st.just("tool"),
    texts,
    channels,
    st.just("assistant"),
    st.none() | formats,
    st.sampled_from(["functions.weather", "browser.open", "python", "tool", "a:b"]) | words,
)
spoken = st.one_of(
    st.builds(Message, st.just("user"), texts, name=st.none() | words),
    st.builds(Message, st.just("assistant"), texts, channels, name=st.none() | words),
    analysis,
    final,
    calls,
    results,
)
messages = st.one_of(
    st.builds(Message, st.just("system"), systems | texts),
    st.builds(Message, st.just("developer"), developers | texts),
    spoken,
)
turns = st.tuples(st.builds(Message, st.just("user"), texts), analysis, st.tuples(calls, results), final).map(
    lambda turn: [turn[0], turn[1], *turn[2], turn[3]]
)
openings = st.lists(st.builds(Message, st.just("system"), systems), max_size=1)
instructions = st.lists(st.builds(Message, st.just("developer"), developers), max_size=1)
rest = st.lists(messages, max_size=4) | st.lists(turns, max_size=2).map(lambda all: sum(all, []))
conversations = st.tuples(openings, instructions, rest).map(lambda parts: sum(parts, []))
