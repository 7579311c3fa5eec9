// The page of the gallery: draws those of the chosen samples that are in view. The address keeps the view, the history
// entry keeps the selection.
const app = find("gallery"), grid = find("grid"), space = find("space"), dialog = find("detail");
const WIDEST = 178, CAPTION = 66, PADDING = 24, SLOWLY = 250;
let defaults, shown = [], active = 0, anchor = 0, size = null;
let selected = new Set();
const tiles = new Map();

// The address.
function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  state = { ...defaults };
  for (const key of Object.keys(defaults)) if (given.has(key)) state[key] = given.get(key);
  if (!core.methods.some((entry) => entry.name === state.method)) state.method = defaults.method;
  if (!["map", "outline", "off"].includes(state.overlay)) state.overlay = defaults.overlay;
}
function writeAddress() {
  clearTimeout(writeAddress.timer);
  const changed = Object.entries(state).filter(([key, value]) => value !== defaults[key]);
  const hash = new URLSearchParams(changed).toString();
  history.replaceState({ selected: [...selected] }, "", `#${hash}`);
}
// Browsers refuse an address that changes with every step of a slider.
function writeAddressSoon() {
  clearTimeout(writeAddress.timer);
  writeAddress.timer = setTimeout(writeAddress, SLOWLY);
}

// What is shown.
function refresh(keepPlace = false) {
  shown = choose();
  if (!keepPlace) { grid.scrollTop = 0; active = 0; anchor = 0; }
  active = Math.min(active, Math.max(0, shown.length - 1));
  find("empty").hidden = shown.length > 0;
  grid.hidden = shown.length === 0;
  space.replaceChildren();
  tiles.clear();
  lay();
  tellCount();
  writeAddressSoon();
}
function tellCount() {
  const all = shown.length === core.ids.length;
  const parts = [all ? `${count(shown.length)} samples` : `${count(shown.length)} of ${count(core.ids.length)} samples`];
  if (selected.size) parts.push(`${count(selected.size)} selected`);
  find("count").textContent = parts.join(", ");
  find("none").disabled = selected.size === 0;
  find("export").textContent = selected.size ? "Save selected as CSV" : "Save all as CSV";
}

// Drawing: only the rows in view are in the document.
function lay() {
  const width = grid.clientWidth, columns = Math.max(2, Math.floor(width / WIDEST));
  const side = Math.floor(width / columns);
  const picture = side - PADDING, tall = Math.round((picture * core.shape[0]) / core.shape[1]);
  size = { columns, side, picture, tall, row: tall + PADDING + CAPTION };
  space.style.height = `${Math.ceil(shown.length / columns) * size.row}px`;
  for (const tile of tiles.values()) tile.remove();
  tiles.clear();
  paint();
}
function paint() {
  if (!size) return;
  const first = Math.max(0, Math.floor(grid.scrollTop / size.row) - 1) * size.columns;
  const last = Math.min(shown.length, (Math.ceil((grid.scrollTop + grid.clientHeight) / size.row) + 1) * size.columns);
  for (const [place, tile] of tiles) {
    if (place < first || place >= last) { tile.remove(); tiles.delete(place); }
  }
  const added = document.createDocumentFragment();
  for (let place = first; place < last; place += 1) {
    if (tiles.has(place)) continue;
    const tile = tileOf(place);
    tiles.set(place, tile);
    added.append(tile);
  }
  space.append(added);
  mark();
}
function mark() {
  for (const [place, tile] of tiles) {
    tile.setAttribute("aria-selected", String(selected.has(shown[place])));
    tile.classList.toggle("active", place === active);
  }
  if (tiles.has(active)) grid.setAttribute("aria-activedescendant", tiles.get(active).id);
  else grid.removeAttribute("aria-activedescendant");
}
function tileOf(place) {
  const at = shown[place], words = valueWords(at);
  const answer = isRight(at)
    ? make("span", { class: "right" }, "✓ ", named(core.labels[core.label[at]]))
    : make("span", { class: "wrong" }, "✕ ", named(core.labels[core.predicted[at]]));
  const tile = make("div", {
    role: "option", id: `tile-${at}`, class: "tile", "aria-setsize": shown.length, "aria-posinset": place + 1,
    "aria-label": `${core.ids[at]}, ${core.labels[core.label[at]]}, predicted ${
      isRight(at) ? "right" : core.labels[core.predicted[at]]}, ${words}`,
  });
  const told = make("div", { class: "told" }, make("span", { class: "id", title: core.ids[at] }, named(short(core.ids[at]))), answer,
    make("span", { class: "value" }, words));
  const picture = layers(at, state.method, size.picture);
  picture.append(make("span", { class: "pick" }, "✓"));
  tile.append(make("div", { class: "mat" }, picture, told));
  tile.dataset.place = place;
  tile.style.width = `${size.side}px`;
  tile.style.height = `${size.row}px`;
  tile.style.transform =
    `translate(${(place % size.columns) * size.side}px, ${Math.floor(place / size.columns) * size.row}px)`;
  return tile;
}
function valueWords(at) {
  const keys = sortKeys.kept ?? { column: null };
  if (!keys.column) return `confidence ${percent(values(core.scores[0])[at])}`;
  const value = keys.numbers[at];
  return `${keys.words} ${Number.isNaN(value) ? "not measured" : write(keys.column, value)}`;
}
function keepSortWords() {
  const numbers = sortKeys();
  const column = [...core.scores, ...(method()?.scores ?? [])].find((entry) => entry.name === state.sort);
  sortKeys.kept = numbers && {
    numbers,
    column: column ?? { scale: 1000 },
    words: state.sort.startsWith("on:") ? `on ${state.sort.slice(3)}` : plainWords(state.sort),
  };
}
// One sample as layers: the photo, a method's map (or none), the outlines; each a part of a sheet.
function layers(at, of, width) {
  const box = make("div", { class: "shown" });
  box.style.width = typeof width === "number" ? `${width}px` : width;
  box.style.aspectRatio = `${core.shape[1]} / ${core.shape[0]}`;
  const sheet = core.sheets[core.sheet[at]];
  if (!sheet) {
    box.append(make("span", { class: "nothing" }, "no picture"));
    return box;
  }
  const map = of === null ? null : sheet[3 + core.methods.findIndex((entry) => entry.name === of)];
  const parts = [["of-photo", sheet[1], 0], ["of-map", map, 1], ["of-things", sheet[2], 0]];
  for (const [name, file, kind] of parts) {
    if (!file) continue;
    const layer = make("i", { class: name });
    place(layer, file, core.tile[at], sheet[0], kind);
    box.append(layer);
  }
  return box;
}
function place(layer, file, tile, rows, kind) {
  const [height, width] = core.shape, scale = core.long[kind] / Math.max(height, width);
  const tileSize = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  const number = [tile % core.columns, Math.floor(tile / core.columns)], many = [core.columns, rows];
  const whole = tileSize.map((side, axis) => many[axis] * (side + 2 * core.margin));
  const offset = tileSize.map((side, axis) => number[axis] * (side + 2 * core.margin) + core.margin);
  layer.style.backgroundImage = `url("${file}")`;
  layer.style.backgroundSize = whole.map((side, axis) => `${(100 * side) / tileSize[axis]}%`).join(" ");
  layer.style.backgroundPosition = offset
    .map((from, axis) => `${(100 * from) / (whole[axis] - tileSize[axis])}%`).join(" ");
}
function dress() {
  app.dataset.overlay = state.overlay;
  app.dataset.object = state.object;
  app.style.setProperty("--opacity", Number(state.opacity) / 100);
  const colors = core.methods.find((entry) => entry.name === state.method)?.colors;
  if (!colors) return;
  ["red", "green", "blue"].forEach((id, channel) => find(id).setAttribute("tableValues", colors[channel].join(" ")));
  const shade = (step) => `rgb(${colors.map((channel) => Math.round(255 * channel[step])).join(",")})`;
  find("scale").replaceChildren(...colors[0].map((_, step) => {
    const stop = document.createElementNS("http://www.w3.org/2000/svg", "stop");
    stop.setAttribute("offset", step / (colors[0].length - 1));
    stop.setAttribute("stop-color", shade(step));
    return stop;
  }));
}

// Moving and selecting.
function goTo(target, selecting = false) {
  const to = Math.max(0, Math.min(shown.length - 1, target));
  if (selecting) selectUpTo(to);
  else anchor = to;
  active = to;
  const top = Math.floor(to / size.columns) * size.row;
  if (top < grid.scrollTop) grid.scrollTop = top;
  if (top + size.row > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + size.row - grid.clientHeight;
  paint();
}
function selectUpTo(to) {
  const [from, end] = anchor < to ? [anchor, to] : [to, anchor];
  for (let at = from; at <= end; at += 1) selected.add(shown[at]);
  afterSelecting();
}
function toggle(to) {
  const at = shown[to];
  if (!selected.delete(at)) selected.add(at);
  anchor = to;
  afterSelecting();
}
function afterSelecting() {
  mark();
  tellCount();
  writeAddressSoon();
}
function turn(key, choices, step) {
  const next = choices[(choices.indexOf(state[key]) + step + choices.length) % choices.length];
  change(key, next);
}
const shared = {
  "[": () => turn("method", core.methods.map((entry) => entry.name), -1),
  "]": () => turn("method", core.methods.map((entry) => entry.name), 1),
  o: () => turn("overlay", ["map", "outline", "off"], 1),
};
function onGridKey(event) {
  const page = Math.max(1, Math.floor(grid.clientHeight / size.row)) * size.columns;
  const moves = {
    ArrowLeft: active - 1, ArrowRight: active + 1, ArrowUp: active - size.columns, ArrowDown: active + size.columns,
    Home: 0, End: shown.length - 1, PageUp: active - page, PageDown: active + page,
  };
  const acts = {
    ...shared,
    " ": () => toggle(active),
    Enter: () => open(shown[active]),
    "/": () => { find("filters").open = true; find("q").focus(); },
    "?": () => { find("keys").open = true; find("keys").firstElementChild.focus(); },
  };
  if (event.ctrlKey || event.metaKey) {
    if (event.key !== "a") return;
    selectAll();
  } else if (event.key in moves && !event.altKey) goTo(moves[event.key], event.shiftKey);
  else if (Object.hasOwn(acts, event.key)) acts[event.key]();
  else return;
  event.preventDefault();
}
function onGridClick(event) {
  const tile = event.target.closest(".tile");
  if (!tile) return;
  const to = Number(tile.dataset.place);
  if (event.shiftKey) goTo(to, true);
  else {
    const picks = event.ctrlKey || event.metaKey || event.target.closest(".pick");
    goTo(to);
    if (picks) toggle(to);
    else open(shown[to]);
  }
}
function selectAll() {
  for (const at of shown) selected.add(at);
  afterSelecting();
}

// The selection as a file.
function save() {
  const chosen = selected.size ? [...selected].sort((one, other) => one - other) : shown;
  const address = URL.createObjectURL(new Blob([csvOf(chosen)], { type: "text/csv" }));
  make("a", { href: address, download: `samples-${chosen.length}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

// One sample, with everything that is known of it.
function facts(pairs) {
  return make("dl", {}, ...pairs.map(([term, ...told]) => make("div", {}, make("dt", {}, term), make("dd", {}, ...told))));
}
function tableOf(head, rows) {
  const top = make("tr", {}, ...head.map((text, place) => make(place ? "th" : "td", place ? { scope: "col" } : {}, text)));
  const body = rows.map(([name, ...cells]) =>
    make("tr", {}, make("th", { scope: "row" }, name), ...cells.map((entry) => make("td", {}, entry))));
  return make("div", { class: "wide" }, make("table", {}, make("thead", {}, top), make("tbody", {}, ...body)));
}
function scoreTable(at) {
  const names = [...new Set(methods.flatMap((own) => own.scores.map((column) => column.name)))];
  const rows = names.map((name) => [capital(plainWords(name)), ...methods.map((own) => {
    const column = own.scores.find((entry) => entry.name === name);
    return column ? cell(column, values(column)[at]) : missing();
  })]);
  for (const [name, words] of [["shared_interest_case", "Case"], ["status", "Map"], ["reason", "Why not measured"]]) {
    if (methods.some((own) => wordOf(own[name], at))) rows.push([words, ...methods.map((own) => wordOf(own[name], at) || "–")]);
  }
  return tableOf(["", ...core.methods.map((entry) => entry.name)], rows);
}
function thingTable(at) {
  const rows = core.confounds.flatMap((entry, number) => {
    if (!entry.at.includes(at)) return [];
    return [[named(entry.name), ...methods.map((own) => {
      const sparse = own.confounds[number], place = sparse.at.indexOf(at);
      if (place < 0 || sparse.mass[place] === null) return missing();
      return `${percent(sparse.mass[place] / 1000)} of the mass on ${percent(sparse.area[place] / 1000)} of the picture`;
    })]];
  });
  return rows.length ? tableOf(["", ...core.methods.map((entry) => entry.name)], rows)
    : make("p", { class: "quiet" }, "No named thing is visible beside the object.");
}
function draw(at) {
  find("detail-title").replaceChildren(named(core.ids[at]));
  find("stage").replaceChildren(layers(at, state.method, "100%"));
  const isOff = state.overlay === "off";
  const one = (name, words, isPressed, click) => make("button",
    { type: "button", "aria-pressed": String(isPressed), on: { click } }, layers(at, name, "100%"), words);
  find("strip").replaceChildren(one(null, "photo", isOff, () => change("overlay", "off")),
    ...core.methods.map(({ name }) => one(name, name, !isOff && name === state.method, () => {
      if (isOff) state.overlay = "map";
      change("method", name);
    })));
  const answer = isRight(at) ? make("span", { class: "right" }, "✓ right")
    : make("span", { class: "wrong" }, "✕ ", named(core.labels[core.predicted[at]]));
  const link = core.links.find(([place]) => place === at);
  const copy = make("button", { type: "button", on: { click: () => copyPath(at, copy) } }, "Copy the path");
  const first = [["Class", named(core.labels[core.label[at]])], ["Predicted", answer],
    ...core.scores.map((column) => [capital(plainWords(column.name)), cell(column, values(column)[at])])];
  const reason = core.reasons && wordOf(core.reasons, at);
  if (reason) first.push(["Why at risk", reason]);
  if (wordOf(core.split, at)) first.push(["Split", named(wordOf(core.split, at))]);
  first.push(["File", named(pathOf(at)), make("br"), copy]);
  find("numbers").replaceChildren(facts(first), make("h3", {}, "Scores of the maps"), scoreTable(at),
    make("h3", {}, "Named other things"), thingTable(at),
    ...(link ? [make("p", {}, make("a", { href: link[1] }, "In full on the page of its class"))] : []));
  const spot = shown.indexOf(at);
  find("previous").disabled = spot <= 0;
  find("next").disabled = spot < 0 || spot === shown.length - 1;
}
async function copyPath(at, button) {
  try {
    await navigator.clipboard.writeText(pathOf(at));
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed here: select it by hand";
  }
}
async function open(at) {
  state.open = core.ids[at];
  await Promise.all(core.methods.map((_, number) => loadMethod(number)));
  draw(at);
  if (!dialog.open) {
    dialog.showModal();
    find("detail-title").focus();
  }
  writeAddressSoon();
}
function step(by) {
  const to = shown.indexOf(core.ids.indexOf(state.open)) + by;
  if (to < 0 || to >= shown.length) return;
  goTo(to);
  open(shown[to]).catch(complain);
}
function onDetailKey(event) {
  const acts = { ...shared, ArrowLeft: () => step(-1), ArrowRight: () => step(1) };
  if (event.target.closest("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (Object.hasOwn(acts, event.key)) { acts[event.key](); event.preventDefault(); }
}

// Controls.
function option(value, text) {
  return make("option", { value }, text);
}
function fill(id, entries) {
  find(id).replaceChildren(...entries.map(([value, text]) => option(value, text)));
}
function tally(keys) {
  const found = new Map();
  for (const key of keys) found.set(key, (found.get(key) ?? 0) + 1);
  return found;
}
function fillControls() {
  const perLabel = tally(core.label), perStatus = tally(core.label.map((label) => core.statuses[label]));
  const nRight = core.ids.reduce((sum, _, at) => sum + isRight(at), 0), n = core.ids.length;
  fill("class", [["", "every class"], ...core.labels.flatMap((label, place) =>
    (perLabel.has(place) ? [[label, `${label.trim() || "(empty name)"} (${count(perLabel.get(place))})`]] : []))]);
  fill("status", [["", "any"], ...["spurious", "suspect", "undecided", "sound"].flatMap((status) =>
    (perStatus.has(status) ? [[status, `${status} (${count(perStatus.get(status))})`]] : []))]);
  fill("answer", [["", "right or wrong"], ["right", `right (${count(nRight)})`], ["wrong", `wrong (${count(n - nRight)})`]]);
  fill("thing", [["", "with or without"], ...core.confounds.flatMap(({ name, at }) => [
    [`with ${name}`, `with ${name} (${count(at.length)})`],
    [`less ${name}`, `without ${name} (${count(n - at.length)})`]])]);
  const risks = core.scores.find((column) => column.name === "risk");
  fill("risk", [["", risks ? "any" : "not estimated"], ...(risks ? [50, 20, 10, 5] : []).map((least) => {
    const many = values(risks).reduce((sum, risk) => sum + (risk >= least / 100), 0);
    return [String(least), `${least} % and more (${count(many)})`];
  })]);
  find("risk").disabled = !risks;
  fill("order", [[LOWEST_FIRST, "lowest first"], [HIGHEST_FIRST, "highest first"]]);
  fill("method", core.methods.map(({ name }) => [name, name]));
  find("method").disabled = core.methods.length < 2;
}
function fillOfMethod() {
  if (fillOfMethod.filled === state.method) return;
  fillOfMethod.filled = state.method;
  const own = method();
  const cases = own ? tally(own.shared_interest_case.at) : new Map();
  fill("case", [["", "any"], ...[...cases].map(([place, many]) => [own.shared_interest_case.words[place], many])
    .filter(([word]) => word).sort().map(([word, many]) => [word, `${word} (${count(many)})`])]);
  const numbers = [...(own?.scores ?? []), ...core.scores];
  fill("sort", [["", "the dataset's order"], ...numbers.map(({ name }) => [name, plainWords(name)]),
    ...core.confounds.map(({ name }) => [`on:${name}`, `mass on ${name}`])]);
}
function showState() {
  for (const key of ["class", "status", "answer", "case", "thing", "risk", "sort", "order", "method", "q", "opacity"]) {
    find(key).value = state[key];
  }
  for (const radio of app.querySelectorAll("[name=overlay]")) radio.checked = radio.value === state.overlay;
  find("object").checked = state.object === "1";
}
const DRAWN_ONLY = ["overlay", "opacity", "object"];
async function change(key, value) {
  state[key] = value;
  if (key === "sort") state.order = /^(risk|entropy|lift|approx_error|local_error|on:.*)$/.test(value) ? HIGHEST_FIRST : LOWEST_FIRST;
  await show(DRAWN_ONLY.includes(key), key === "method");
}
async function show(onlyDrawn = false, keepPlace = false) {
  dress();
  if (!onlyDrawn) {
    const number = core.methods.findIndex((entry) => entry.name === state.method);
    try {
      if (number >= 0) await loadMethod(number);
    } catch (error) {
      complain(error);
      return;
    }
    fillOfMethod();
    keepSortWords();
    refresh(keepPlace);
  }
  showState();
  if (dialog.open) draw(core.ids.indexOf(state.open));
  writeAddressSoon();
}
async function showAddress() {
  readAddress();
  selected = new Set((history.state?.selected ?? []).filter((at) => at < core.ids.length));
  await show();
  const at = state.open === "" ? -1 : core.ids.indexOf(state.open);
  if (at < 0) { dialog.close(); return; }
  if (shown.includes(at)) goTo(shown.indexOf(at));
  await open(at);
}

function listen() {
  for (const key of ["class", "status", "answer", "case", "thing", "risk", "sort", "order", "method"]) {
    find(key).addEventListener("change", (event) => change(key, event.target.value));
  }
  find("q").addEventListener("input", (event) => change("q", event.target.value));
  find("opacity").addEventListener("input", (event) => change("opacity", event.target.value));
  find("object").addEventListener("change", (event) => change("object", event.target.checked ? "1" : ""));
  find("overlay").addEventListener("change", (event) => change("overlay", event.target.value));
  find("reset").addEventListener("click", () => {
    for (const key of ["class", "status", "answer", "case", "thing", "risk", "q"]) state[key] = "";
    show();
  });
  find("all").addEventListener("click", selectAll);
  find("none").addEventListener("click", () => { selected.clear(); afterSelecting(); });
  find("export").addEventListener("click", save);
  grid.addEventListener("keydown", onGridKey);
  grid.addEventListener("click", onGridClick);
  grid.addEventListener("scroll", paint, { passive: true });
  find("previous").addEventListener("click", () => step(-1));
  find("next").addEventListener("click", () => step(1));
  find("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", onDetailKey);
  dialog.addEventListener("close", () => { state.open = ""; writeAddressSoon(); grid.focus({ preventScroll: true }); });
  window.addEventListener("hashchange", showAddress);
  window.addEventListener("pagehide", writeAddress);
  new ResizeObserver(() => { if (size && !grid.hidden && grid.clientWidth) lay(); }).observe(grid);
}

async function start() {
  app.hidden = false;
  find("filters").open = window.matchMedia("(min-width: 48rem)").matches;
  await load("gallery/samples.js");
  core.found = core.ids.map((id, at) => `${id}\n${core.paths[at] === 0 ? "" : core.paths[at]}`.toLowerCase());
  defaults = {
    class: "", status: "", answer: "", case: "", thing: "", risk: "", q: "",
    sort: core.methods.length ? "mass_inside" : "confidence", order: LOWEST_FIRST,
    method: core.methods[0]?.name ?? "", overlay: "map", opacity: "80", object: "1", open: "",
  };
  fillControls();
  listen();
  await showAddress();
  document.documentElement.dataset.ready = "gallery";
  performance.mark("gallery usable");
}
start().catch(complain);
