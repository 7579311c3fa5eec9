"use strict";
// The samples of the gallery, without the page: numbers, filters, order, CSV. `gallery.js` follows in the same script.
// What the data call something gets into the page as text alone.
const LOWEST_FIRST = "up", HIGHEST_FIRST = "down", LONGEST_ID = 18;
const find = (id) => document.getElementById(id);
// `core`: the columns of `gallery/samples.js`; `methods`: those of each method that was loaded; `state`: what is looked at.
let core, methods = [], state;

// Elements, by text and attributes only: no markup is ever read from data.
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value;
    else if (name === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}
const named = (text) => make("bdi", {}, text.trim() === "" ? "(empty name)" : text);
// The end of a long id tells it from the others.
const short = (id) => (id.length > LONGEST_ID ? `…${id.slice(1 - LONGEST_ID)}` : id);
const plainWords = (name) => (name === "iou" ? "IoU" : name.replaceAll("_", " "));
const capital = (text) => text[0].toUpperCase() + text.slice(1);
const count = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");
const missing = () => make("span", { class: "missing" }, "not measured");

// Numbers, written as on the other pages: 0 % and 100 % only for exactly that.
function percent(value) {
  const rounded = Math.round(value * 100);
  if (rounded === 0 && value > 0) return "<1\u00a0%";
  if (rounded === 100 && value < 1) return ">99\u00a0%";
  return `${rounded}\u00a0%`;
}
const write = (column, value) => (column.scale === 1000 ? percent(value) : String(Number(value.toPrecision(3))));
const cell = (column, value) => (Number.isNaN(value) ? missing() : write(column, value));

function values(column) {
  column.numbers ??= Float64Array.from(column.values, (value) => (value === null ? NaN : value / column.scale));
  return column.numbers;
}
function spread(sparse, key) {
  const found = new Float64Array(core.ids.length).fill(NaN);
  sparse.at.forEach((at, place) => { if (sparse[key][place] !== null) found[at] = sparse[key][place] / 1000; });
  return found;
}
const method = () => methods[core.methods.findIndex((entry) => entry.name === state.method)];
const pathOf = (at) => core.prefix + (core.paths[at] === 0 ? core.ids[at] : core.paths[at]);
const isRight = (at) => core.label[at] === core.predicted[at];
const wordOf = (column, at) => column.words[column.at[at]];

// Files of the report.
function load(file) {
  return new Promise((resolve, reject) => {
    const script = make("script", { src: file, on: { load: resolve, error: () => reject(new Error(file)) } });
    document.head.append(script);
  });
}
window.rightReasons = (given) => {
  if (given.core) core = given.core;
  else methods[given.method] = given;
};
const waiting = new Map();
function loadMethod(number) {
  if (!waiting.has(number)) waiting.set(number, load(`gallery/method-${number}.js`));
  return waiting.get(number);
}
function complain(error) {
  find("trouble").hidden = false;
  find("trouble").textContent =
    `The file ${error.message} could not be read; the report's folder has to be kept whole.`;
}

// Filters and order.
function showing(name) {
  const entry = core.confounds.find((one) => one.name === name);
  if (!entry) return new Uint8Array(core.ids.length);
  entry.shows ??= entry.at.reduce((shows, at) => { shows[at] = 1; return shows; }, new Uint8Array(core.ids.length));
  return entry.shows;
}
function tests() {
  const found = [], own = method();
  if (state.class) {
    const label = core.labels.indexOf(state.class);
    found.push((at) => core.label[at] === label);
  }
  if (state.status) found.push((at) => core.statuses[core.label[at]] === state.status);
  if (state.answer === "right") found.push(isRight);
  if (state.answer === "wrong") found.push((at) => !isRight(at));
  if (state.case && own) found.push((at) => wordOf(own.shared_interest_case, at) === state.case);
  if (state.thing) {
    const shows = showing(state.thing.slice(5)), wanted = state.thing.startsWith("with") ? 1 : 0;
    found.push((at) => shows[at] === wanted);
  }
  if (state.risk) {
    const risks = values(core.scores.find((column) => column.name === "risk") ?? { values: [], scale: 1 });
    found.push((at) => risks[at] >= Number(state.risk) / 100);
  }
  const wanted = state.q.trim().toLowerCase();
  if (wanted) found.push((at) => core.found[at].includes(wanted));
  return found;
}
function sortKeys() {
  const own = method();
  if (state.sort.startsWith("on:")) {
    const place = core.confounds.findIndex((entry) => entry.name === state.sort.slice(3));
    return own && place >= 0 ? spread(own.confounds[place], "mass") : null;
  }
  const column = [...core.scores, ...(own?.scores ?? [])].find((entry) => entry.name === state.sort);
  return column ? values(column) : null;
}
// All samples in the wanted order, sorted once for each: filters leave samples out of it.
let lastOrder = {};
function ordered() {
  const name = [state.method, state.sort, state.order].join("\n");
  if (lastOrder.name === name) return lastOrder.all;
  const all = Uint32Array.from(core.ids, (_, at) => at), keys = sortKeys(), way = state.order === HIGHEST_FIRST ? -1 : 1;
  if (keys) {
    // What was not measured comes last, whatever the order; so are equal numbers in the dataset's.
    const ranks = Float64Array.from(keys, (key) => (Number.isNaN(key) ? Infinity : way * key));
    all.sort((one, other) => (ranks[one] < ranks[other] ? -1 : ranks[one] > ranks[other] ? 1 : one - other));
  } else if (way === -1) all.reverse();
  lastOrder = { name, all };
  return all;
}
function choose() {
  // Asked in the order in which texts lie in memory: in any other, a search takes half as long again.
  const every = tests(), fits = Uint8Array.from(core.ids, (_, at) => every.every((test) => test(at)));
  const kept = [];
  for (const at of ordered()) if (fits[at]) kept.push(at);
  return kept;
}

// The selection as a file. Words that a spreadsheet would take for a formula get an apostrophe.
function csvCell(value) {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
function csvOf(chosen) {
  const own = method(), numbers = [...core.scores, ...(own?.scores ?? [])];
  const things = core.confounds.map((entry) => [entry.name, new Set(entry.at)]);
  const head = ["sample_id", "path", "split", "label", "predicted", "method", "shared_interest_case", "confounds",
    ...numbers.map((column) => column.name)];
  const rows = chosen.map((at) => [
    core.ids[at], pathOf(at), wordOf(core.split, at), core.labels[core.label[at]], core.labels[core.predicted[at]],
    own ? state.method : "", own ? wordOf(own.shared_interest_case, at) : "",
    things.filter(([, places]) => places.has(at)).map(([name]) => name).join("; "),
    ...numbers.map((column) => (Number.isNaN(values(column)[at]) ? "" : values(column)[at])),
  ]);
  return [head, ...rows].map((row) => row.map(csvCell).join(",")).join("\r\n") + "\r\n";
}
