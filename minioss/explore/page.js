"use strict";
// Everything on the page follows from three choices: a token, a layer and a head. `draw` shows them.

const byId = (id) => document.getElementById(id);
const LONGEST = 24; // characters of a token outside the text
const MARGIN = 40; // pixels kept free above and below what is revealed
const REPLY = "continued by the model";
const chosen = { token: 0, layer: 0, head: -1 }; // head -1: the mean of all
let content, options, layerRows, headRows;

/** An element with a class, attributes and children. Text becomes text nodes: no token is ever read as HTML. */
function element(name, className, children = [], attributes = {}) {
  const made = document.createElement(name);
  if (className) made.className = className;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...[children].flat());
  return made;
}

/** A bar, or a part of one, of that share of the whole. */
function share(className, fraction) {
  const made = element("span", className);
  made.style.setProperty("--share", fraction);
  return made;
}

/** A token as it stands in the text, with signs for line breaks, tabs and nothing at all. */
const inText = (id) => content.words[id].replace(/\n/g, "↵").replace(/\t/g, "⇥") || "∅";

/** A token by itself: spaces at its ends are signs too, and it is not too long. */
function alone(id) {
  const text = inText(id).replace(/^ +| +$/g, (spaces) => "␣".repeat(spaces.length));
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

const word = (id) => element("span", "word", alone(id));
const quoted = (id) => `“${alone(id)}”`;

function percent(fraction) {
  const value = 100 * fraction;
  if (value > 0 && value < 0.05) return "< 0.1 %";
  return `${value.toFixed(value > 0 && value < 9.95 ? 1 : 0)} %`;
}

// What the content says

/** The attention of the chosen token in a layer: the sink, all others together, and a Map from key to share. */
function attention(layer, head) {
  const heads = content.layers[layer].attention[chosen.token];
  const rows = head < 0 ? heads : [heads[head]];
  const found = { sink: 0, others: 0, keys: new Map() };
  for (const [sink, others, ...pairs] of rows) {
    found.sink += sink / 1000 / rows.length;
    found.others += others / 1000 / rows.length;
    for (let i = 0; i < pairs.length; i += 2) {
      found.keys.set(pairs[i], (found.keys.get(pairs[i]) ?? 0) + pairs[i + 1] / 1000 / rows.length);
    }
  }
  found.keys = new Map([...found.keys].sort(([a], [b]) => a - b));
  return found;
}

/** Whether the chosen token may look at another in the chosen layer. */
function mayLookAt(key) {
  const { window } = content.layers[chosen.layer];
  return key <= chosen.token && (window === null || key > chosen.token - window);
}

const headName = (head) => (head < 0 ? "all heads" : `head ${head}`);
const largest = (keys, count) => [...keys].sort(([, a], [, b]) => b - a).slice(0, count);
const isSpecial = (id) => /^<\|.*\|>$/.test(content.words[id]);

// Built once

function buildTokens() {
  const box = byId("tokens");
  options = content.tokens.map((id, place) => {
    const channel = content.channels?.[place];
    const label = `token ${place}, ${alone(id)}${channel ? `, ${channel}` : ""}`;
    const made = element("span", "token", inText(id), { role: "option", tabindex: -1, "aria-label": label });
    if (channel) made.dataset.channel = channel;
    made.classList.toggle("special", isSpecial(id));
    made.addEventListener("click", () => choose({ token: place }, true));
    return made;
  });
  options.forEach((option, place) => {
    const part = { 0: "prompt", [content.prompt]: REPLY }[place];
    if (part && content.prompt < options.length) box.append(element("div", "part", part, { role: "presentation" }));
    box.append(option, content.words[content.tokens[place]].endsWith("\n") ? element("br") : "");
  });
  for (const channel of new Set(content.channels ?? [])) {
    byId("channels").append(element("li", "", element("span", "", channel, { "data-channel": channel })));
  }
}

/** A radio button, named by what stands beside it. */
function radio(group, value) {
  const made = element("input", "", [], { type: "radio", name: group, value });
  made.addEventListener("change", () => choose({ [group]: value }));
  return made;
}

function buildLayers() {
  layerRows = content.layers.map(({ window }, layer) => {
    const sight = element("small", "", window === null ? "full" : `window ${window}`);
    const name = element("td", "", element("label", "", [radio("layer", layer), ` ${layer} `, sight]));
    const row = element("tr", "", [name, element("td"), element("td"), element("td", "number")]);
    row.addEventListener("click", () => choose({ layer }));
    return row;
  });
  byId("layers").append(...layerRows);
}

function buildHeads() {
  const count = content.layers[0].attention[0].length;
  headRows = Array.from({ length: count + 1 }, (_, row) => {
    const name = element("span", "", [radio("head", row - 1), element("span", "hidden", "head"), ` ${row ? row - 1 : "all"}`]);
    return element("label", "", [name, element("span", "whole", [], { "aria-hidden": true }), element("span", "percent")]);
  });
  byId("heads").append(...headRows);
}

// Drawn anew with each choice

function drawTokens({ sink, keys }) {
  options.forEach((option, place) => {
    const selected = place === chosen.token;
    option.setAttribute("aria-selected", selected);
    option.tabIndex = selected ? 0 : -1;
    option.classList.toggle("unseen", !mayLookAt(place));
    option.style.setProperty("--share", Math.sqrt(keys.get(place) ?? 0));
  });
  byId("text-key").textContent =
    `The deeper the blue of a token, the more ${headName(chosen.head)} of layer ${chosen.layer} look${chosen.head < 0 ? "" : "s"} ` +
    `at it. The sink gets ${percent(sink)}. Grey tokens are out of sight.`;
}

/** One line of a list of bars. */
function bar(label, mark, fraction, kind = "") {
  const name = element("span", "", mark ? [label, element("span", "mark", ` ${mark}`)] : [label]);
  const track = element("span", "track", share(`fill ${kind}`, fraction), { "aria-hidden": true });
  return element("li", "", [name, track, element("span", "percent", percent(fraction))]);
}

/** A word and its figure, and room to break the line after them. */
function chip(label, figure) {
  return [element("span", "chip", [label, element("span", "mark", ` ${figure}`)]), " "];
}

function drawNext() {
  const { token } = chosen;
  const following = content.tokens[token + 1];
  const about = [`token ${token} of 0 to ${content.tokens.length - 1}`, `id ${content.tokens[token]}`];
  about.push(content.channels?.[token], token < content.prompt ? "prompt" : REPLY);
  byId("place").replaceChildren("After ", word(content.tokens[token]), ` (${about.filter(Boolean).join(", ")})`);
  byId("next").replaceChildren(
    ...content.next[token].map(([id, probability]) => bar(word(id), id === following ? "in the text" : "", probability)),
  );
}

function drawLayers() {
  const [[final]] = content.next[chosen.token];
  layerRows.forEach((row, layer) => {
    const { lens, experts } = content.layers[layer];
    const [name, says, ran, sink] = row.children;
    name.querySelector("input").checked = layer === chosen.layer;
    says.replaceChildren(...lens[chosen.token].flatMap(([id, probability]) =>
      chip(word(id), percent(probability) + (id === final ? " ✓" : ""))));
    ran.replaceChildren(...experts[chosen.token].flatMap(([expert, weight]) =>
      chip(element("span", "word", `${expert}`), percent(weight / 1000))));
    sink.textContent = percent(attention(layer, -1).sink);
  });
}

function drawHeads() {
  headRows.forEach((row, index) => {
    const { sink, others, keys } = attention(chosen.layer, index - 1);
    const [name, whole, figure] = row.children;
    name.querySelector("input").checked = index - 1 === chosen.head;
    const parts = [...keys.values()].map((fraction) => share("one", fraction));
    whole.replaceChildren(share("sink", sink), ...parts, share("others", others));
    figure.textContent = `sink ${percent(sink)}`;
  });
}

function drawLooks({ sink, keys }) {
  const shown = largest(keys, 8);
  const rest = shown.reduce((left, [, fraction]) => left - fraction, 1 - sink);
  const distance = (key) => (key === chosen.token ? "itself" : `${chosen.token - key} back`);
  byId("looks-title").textContent = `Where ${headName(chosen.head)} look${chosen.head < 0 ? "" : "s"}`;
  byId("looks").replaceChildren(
    bar("the sink", "", sink, "sink"),
    ...shown.map(([key, fraction]) => bar(word(content.tokens[key]), distance(key), fraction)),
    bar("all others", "", Math.max(rest, 0), "others"),
  );
  byId("attention-title").textContent = `Attention in layer ${chosen.layer}`;
}

/** What a screen reader says after a choice: the page in one sentence. */
function say({ sink, keys }) {
  const { token, layer, head } = chosen;
  const [[key, fraction] = []] = largest(keys, 1);
  const looks = key === undefined ? "" : `, most at token ${key}, ${quoted(content.tokens[key])}, ${percent(fraction)}`;
  const [[id, probability]] = content.next[token];
  byId("said").textContent =
    `Token ${token}, ${quoted(content.tokens[token])}. Next is ${quoted(id)}, ${percent(probability)}. ` +
    `Layer ${layer}, ${headName(head)}: sink ${percent(sink)}${looks}.`;
}

function draw() {
  const looks = attention(chosen.layer, chosen.head);
  drawTokens(looks);
  drawNext();
  drawLayers();
  drawHeads();
  drawLooks(looks);
  say(looks);
}

// Choosing

/** Change one of the choices, as far as there is such a token, layer or head. */
function choose(change, focus = false) {
  const { token, layer, head } = { ...chosen, ...change };
  if (!options[token] || !layerRows[layer]) return;
  Object.assign(chosen, { token, layer, head });
  draw();
  if (focus) options[token].focus({ preventScroll: true });
  reveal(options[token], byId("tokens"));
  reveal(layerRows[layer], byId("layers").closest(".scroll"));
}

/** Scroll a box, and nothing else, until a part of it can be seen. */
function reveal(part, box) {
  const { top, bottom } = part.getBoundingClientRect();
  const frame = box.getBoundingClientRect();
  box.scrollTop += Math.min(0, top - frame.top - MARGIN) + Math.max(0, bottom - frame.bottom + MARGIN);
}

/** The keys of the text. Radio buttons have the same keys by themselves. */
function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
  const { token, layer } = chosen;
  const moves = {
    ArrowLeft: { token: token - 1 },
    ArrowRight: { token: token + 1 },
    Home: { token: 0 },
    End: { token: options.length - 1 },
    ArrowUp: { layer: layer - 1 },
    ArrowDown: { layer: layer + 1 },
  };
  const amongTokens = byId("tokens").contains(event.target);
  const nowhere = event.target === document.body && ["ArrowLeft", "ArrowRight"].includes(event.key);
  if (!moves[event.key] || !(amongTokens || nowhere)) return;
  event.preventDefault();
  choose(moves[event.key], true);
}

async function start() {
  const packed = Uint8Array.from(atob(byId("content").textContent), (each) => each.charCodeAt(0));
  const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  content = await new Response(plain).json();
  byId("model").textContent = content.model;
  document.querySelector("main").hidden = false;
  buildTokens();
  buildLayers();
  buildHeads();
  document.addEventListener("keydown", onKey);
  choose({ token: content.prompt - 1, layer: content.layers.length - 1 });
}

start().catch((error) => {
  byId("failure").hidden = false;
  throw error;
});
