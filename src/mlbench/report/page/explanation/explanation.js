// Every text comes from a file and is set as text, never as markup.
const explanations = JSON.parse(document.getElementById("explanations").textContent);
const SVG = "http://www.w3.org/2000/svg";
const KB = 1024;
const LINE = 16, WIDE = 7.4, PAD = 10, MOST_LETTERS = 44;
const MAP_HEIGHT = 240, LEAST_LABEL = 0.06, LETTER_SHARE = 0.022;

function made(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== false && value !== undefined) element.setAttribute(key, value === true ? "" : value);
  element.append(...children);
  return element;
}

function drawn(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function bytes(size) {
  if (size < KB) return `${size} bytes`;
  const [scale, unit] = size < KB * KB ? [KB, "KB"] : [KB * KB, "MB"];
  return `${Number((size / scale).toPrecision(3))} ${unit}`;
}

const sum = (numbers) => numbers.reduce((total, each) => total + each, 0);
const moved = (state, what) => sum(state.nodes.map((node) => node[what]));
const cut = (text) => (text.length > MOST_LETTERS ? `${text.slice(0, MOST_LETTERS - 1)}…` : text);

// --- the graph ------------------------------------------------------------------------------------------------------

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

function marks(state, other, isBefore) {
  const names = new Map((other?.nodes ?? []).map((node) => [node.name, node]));
  const facts = ({ read_bytes, written_bytes, ...rest }) => rest;
  return new Map(state.nodes.map((node) => {
    if (!other) return [node.name, ""];
    if (!names.has(node.name)) return [node.name, isBefore ? "gone" : "new"];
    return [node.name, same(facts(node), facts(names.get(node.name))) ? "" : "changed"];
  }));
}

const SIGNS = { gone: "− ", changed: "~ ", new: "+ ", "": "" };

function linesOf(node, position, mark) {
  const reads = [...node.values, ...node.constants].join(", ");
  return [
    ["title", cut(`${SIGNS[mark]}${position}  ${node.name} = ${node.op}`)],
    ["", cut(`(${reads})`)],
    ...node.steps.map((step) => ["", cut(`then ${step}`)]),
    ...node.how.map((how) => ["how", cut(how)]),
  ];
}

function graphText(state) {
  const inputs = Object.entries(state.inputs).map(([name, columns]) => `${name}: rows × ${columns}`);
  const nodes = state.nodes.map((node) => {
    const steps = node.steps.map((step) => ` then ${step}`).join("");
    const how = node.how.length ? `; ${node.how.join(", ")}` : "";
    return `${node.name}: rows × ${node.columns} = ${node.op}(${[...node.values, ...node.constants].join(", ")})${steps}${how}`;
  });
  return [`graph(${inputs.join(", ")})`, ...nodes.map((line) => `  ${line}`), `  return ${state.outputs.join(", ")}`].join("\n");
}

let figures = 0;

function graphOf(state, marked, label) {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: "TB", nodesep: 18, ranksep: 26, marginx: 4, marginy: 4 });
  graph.setDefaultEdgeLabel(() => ({}));
  const boxes = new Map();
  const add = (key, kind, lines) => {
    boxes.set(key, { kind, lines });
    graph.setNode(key, { width: Math.max(...lines.map(([, text]) => text.length)) * WIDE + 2 * PAD, height: lines.length * LINE + PAD });
  };
  for (const [name, columns] of Object.entries(state.inputs)) add(`v:${name}`, "input", [["title", cut(name)], ["", `rows × ${columns}`]]);
  state.nodes.forEach((node, position) => add(`v:${node.name}`, marked.get(node.name) ?? "", linesOf(node, position, marked.get(node.name) ?? "")));
  for (const node of state.nodes) for (const value of new Set(node.values)) if (boxes.has(`v:${value}`)) graph.setEdge(`v:${value}`, `v:${node.name}`);
  for (const name of state.outputs) {
    const key = `o:${name}`;
    add(key, "output", [["", "result"]]);
    if (boxes.has(`v:${name}`)) graph.setEdge(`v:${name}`, key);
  }
  dagre.layout(graph);
  const { width, height } = graph.graph();
  const arrow = `arrow-${(figures += 1)}`;
  const picture = drawn("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  picture.append(drawn("defs", {}, drawn("marker", { id: arrow, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
    drawn("path", { d: "M0 0L8 4L0 8z" }))));
  for (const edge of graph.edges()) {
    const points = graph.edge(edge).points.map(({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`);
    picture.append(drawn("path", { class: "edge", d: `M${points.join("L")}`, "marker-end": `url(#${arrow})` }));
  }
  for (const key of graph.nodes()) {
    const { x, y, width: wide, height: high } = graph.node(key);
    const { kind, lines } = boxes.get(key);
    const [left, top] = [x - wide / 2, y - high / 2];
    picture.append(drawn("g", { class: kind || "plain" },
      drawn("rect", { x: left, y: top, width: wide, height: high, rx: 5 }),
      ...lines.map(([style, text], row) => drawn("text", { class: style, x: left + PAD, y: top + PAD / 2 + LINE * (row + 0.8) }, text))));
  }
  return picture;
}

function graphFigure(state, marked, title, more = "") {
  const changes = [...marked].filter(([, mark]) => mark).map(([name, mark]) => `${name} is ${mark}`);
  const label = `${title}: ${state.nodes.length} nodes. ${changes.length ? `${changes.join(", ")}.` : ""}`;
  return made("figure", {}, made("figcaption", {}, made("strong", {}, title), `${more} ${state.nodes.length} nodes${state.facts.length ? `; ${state.facts.join(", ")}` : ""}`),
    made("div", { class: "graph", tabindex: 0, role: "group", "aria-label": `${title}, as a picture` }, graphOf(state, marked, label)),
    made("details", {}, made("summary", {}, `${title}, as text`), made("pre", { tabindex: 0 }, graphText(state))));
}

// --- the memory map -------------------------------------------------------------------------------------------------

// The last node that needs a buffer is its own: `last` is one past it.
const nodesOf = ({ first, last }) => (last - first > 1 ? `${first} to ${last - 1}` : String(first));

function mapSpec(state, most) {
  const top = most / KB || 1;
  const end = Math.max(1, state.nodes.length);
  const rows = state.buffers.map((each) => {
    const name = each.values.length ? each.values.join(" → ") : "scratch";
    const fits = each.size_bytes / KB > LEAST_LABEL * top && (each.last - each.first) / end > LETTER_SHARE * name.length;
    return {
      name, label: fits ? name : "", nodes: nodesOf(each), left: each.first - 0.5, right: each.last - 0.5, middle: (each.first + each.last - 1) / 2, from: each.offset_bytes / KB,
      to: (each.offset_bytes + each.size_bytes) / KB, center: (each.offset_bytes + each.size_bytes / 2) / KB, size: bytes(each.size_bytes),
      kind: each.values.length > 1 ? "written over in place" : each.values.length ? "one value" : "scratch",
    };
  });
  const x = { type: "quantitative", title: "nodes, in order", scale: { domain: [-0.5, end - 0.5], nice: false }, axis: { tickMinStep: 1, format: "d", tickCount: Math.min(end, 12), grid: false } };
  const y = { type: "quantitative", title: "KB from the start of the arena", scale: { domain: [0, top], nice: false } };
  const kinds = ["one value", "written over in place", "scratch"];
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json", width: "container", height: MAP_HEIGHT,
    description: `${rows.length} buffers, arena ${bytes(state.arena_bytes)}, lower bound ${bytes(state.lower_bound_bytes)}`,
    data: { values: rows }, autosize: { type: "fit-x", contains: "padding" },
    layer: [
      { mark: { type: "rect", opacity: 0.55, stroke: "var(--text)", strokeWidth: 1 },
        encoding: { x: { field: "left", ...x }, x2: { field: "right" }, y: { field: "from", ...y }, y2: { field: "to" },
          color: { field: "kind", type: "nominal", title: null, scale: { domain: kinds, range: ["var(--colour-2)", "var(--colour-3)", "var(--colour-6)"] } },
          tooltip: [{ field: "name" }, { field: "size" }, { field: "nodes" }] } },
      { mark: { type: "text", baseline: "middle", aria: false }, encoding: { x: { field: "middle", type: "quantitative" }, y: { field: "center", type: "quantitative" }, text: { field: "label" } } },
      { data: { values: [{ kb: state.arena_bytes / KB }] }, mark: { type: "rule", strokeWidth: 2 }, encoding: { y: { field: "kb", type: "quantitative" } } },
      { data: { values: [{ kb: state.lower_bound_bytes / KB }] }, mark: { type: "rule", strokeDash: [5, 3], strokeWidth: 2 }, encoding: { y: { field: "kb", type: "quantitative" } } },
    ],
  };
}

const views = new WeakMap();

async function drawMap(place, state, most) {
  views.get(place)?.finalize();
  place.dataset.drawing = "yes";
  const legend = { ...CONFIG.legend, columns: place.clientWidth < 420 ? 1 : 4 };
  const options = { renderer: "svg", actions: false, logLevel: 1, config: { ...CONFIG, legend }, tooltip: { theme: "page" } };
  try {
    views.set(place, await vegaEmbed(place, mapSpec(state, most), options));
  } catch (error) {
    place.replaceChildren(`A gap: the memory map could not be drawn (${error.message}). Its numbers are below.`);
  }
  delete place.dataset.drawing;
}

function mapFigure(state, most, title) {
  const place = made("div", { class: "map" });
  const caption = state.is_static
    ? `arena ${bytes(state.arena_bytes)}, lower bound ${bytes(state.lower_bound_bytes)}`
    : `no arena: a call allocates each of these; an arena would take ${bytes(state.arena_bytes)}`;
  const rows = state.buffers.map((each) => [each.values.join(", then ") || "scratch", nodesOf(each), each.offset_bytes.toLocaleString("en"), bytes(each.size_bytes)]);
  const figure = made("figure", {}, made("figcaption", {}, made("strong", {}, title), ` ${caption}`), place,
    made("details", {}, made("summary", {}, `${title}, as a table`), table(["values", "nodes", "at byte", "size"], rows, title)));
  return [figure, () => drawMap(place, state, most)];
}

// --- numbers --------------------------------------------------------------------------------------------------------

function table(headers, rows, title) {
  const head = made("tr", {}, ...headers.map((each) => made("th", { scope: "col" }, each)));
  const body = rows.map((row) => made("tr", {}, ...row.map((cell, place) => made(place ? "td" : "th", place ? {} : { scope: "row" }, cell))));
  return made("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": title }, made("table", {}, made("thead", {}, head), made("tbody", {}, ...body)));
}

const FOLD = 10;

function change(before, after, form) {
  if (before === after) return "the same";
  if (after > FOLD * before) return `+${form(after - before)}`;
  return before ? `${after < before ? "−" : "+"}${Math.abs(Math.round((100 * (after - before)) / before))} %` : "new";
}

function numbersOf(before, after, countsBefore, countsAfter, headers, title) {
  return numbersTable([before, after], [countsBefore, countsAfter], headers, title);
}

// The last state is compared with the one before it.
function numbersTable(states, counts, headers, title) {
  const row = (name, value, form) => [name, states.map(value), form];
  const lines = [
    row("nodes", (state) => state.nodes.length, String),
    row("bytes read, at least", (state) => moved(state, "read_bytes"), bytes),
    row("bytes written, at least", (state) => moved(state, "written_bytes"), bytes),
    row("arrays that a call makes", (state) => state.arrays, String),
    row("arena, or what one would take", (state) => state.arena_bytes, bytes),
    row("lower bound of the arena", (state) => state.lower_bound_bytes, bytes),
  ];
  if (counts.every(Boolean)) {
    const count = (name, what, form) => [name, counts.map((each) => each[what]), form];
    lines.push(count("calls from Python", "calls", String));
    if (counts.every((each) => each.allocations !== null)) lines.push(count("allocations of a call", "allocations", String));
    lines.push(count("peak of a call", "peak_bytes", bytes), count("held between calls", "held_bytes", bytes));
  }
  if (headers.length === 1) return table(["quantity", ...headers], lines.map(([name, found, form]) => [name, form(found.at(-1))]), title);
  return table(["quantity", ...headers, "change"], lines.map(([name, found, form]) => [name, ...found.map(form), change(found.at(-2), found.at(-1), form)]), title);
}

// --- step by step ---------------------------------------------------------------------------------------------------

function parts(root) {
  return Object.fromEntries([...root.querySelectorAll("[data-part]")].map((each) => [each.dataset.part, each]));
}

function reasonList(reasons) {
  // Reasons that say the same of one value each are one: "of v0, v3 each is read by nobody else".
  const groups = new Map();
  for (const { value, is_done, reason } of reasons) {
    const [, about, tail] = /^(\S+) (is read .+)$/.exec(reason) ?? [null, "", reason];
    const key = JSON.stringify([is_done, about ? "each" : "", tail]);
    const known = groups.get(key) ?? { is_done, reason, values: [], abouts: [] };
    const abouts = [...known.abouts, about].filter(Boolean);
    groups.set(key, { ...known, values: [...known.values, value].filter(Boolean), abouts, reason: abouts.length > 1 ? `of ${abouts.join(", ")} each ${tail}` : known.reason });
  }
  return made("ul", { class: "reasons" }, ...[...groups.values()].map(({ is_done, reason, values }) => made("li", {},
    made("b", { class: is_done ? "allowed" : "denied" }, `${is_done ? "✓ done" : "✗ refused"}${values.length ? ` ${values.join(", ")}` : ""}: `), reason)));
}

function stepper(root) {
  const found = explanations[root.dataset.prefix];
  const { prefix } = root.dataset;
  const at = parts(root);
  const names = ["as written", ...found.steps.map((step) => step.name)];
  const states = [found.states[0], ...found.steps.map((step) => found.states[step.state])];
  const counts = [found.counts, ...found.steps.map((step) => step.counts)];
  const most = Math.max(...states.map((state) => state.arena_bytes));
  const answered = new Set([0]);
  let step = 0;

  const address = (number) => `#${prefix}step-${encodeURIComponent(names[number].replaceAll(" ", "-"))}`;
  const stops = names.map((name, number) => {
    const button = made("button", { type: "button" }, name);
    button.addEventListener("click", () => go(number));
    at.stops.append(made("li", {}, button));
    return button;
  });

  function show() {
    const isFirst = step === 0;
    at.slider.value = String(step);
    at.slider.setAttribute("aria-valuetext", names[step]);
    at.count.textContent = `${step} of ${names.length - 1}`;
    at.previous.setAttribute("aria-disabled", String(isFirst));
    at.next.setAttribute("aria-disabled", String(step === names.length - 1));
    stops.forEach((button, number) => (number === step ? button.setAttribute("aria-current", "step") : button.removeAttribute("aria-current")));
    const isAsked = at.teach.checked && !answered.has(step);
    const idle = !isFirst && !isAsked && found.steps[step - 1].is_idle ? " changes nothing here" : "";
    at.name.textContent = isFirst ? `As written: ${found.title}, batch ${found.batch}` : `${step}. ${names[step]}${idle}`;
    stops.forEach((button, number) => {
      const isShown = number > 0 && found.steps[number - 1].is_idle && (!at.teach.checked || answered.has(number));
      button.toggleAttribute("data-idle", isShown);
      button.replaceChildren(names[number], ...(isShown ? [made("span", { class: "unseen" }, ", changes nothing")] : []));
    });
    at.question.hidden = !isAsked;
    at.answer.hidden = isAsked;
    if (isAsked) ask(found.steps[step - 1].question);
    else tell();
  }

  function ask({ text, choices, right, why }) {
    const buttons = choices.map((choice, number) => {
      const button = made("button", { type: "button" }, choice);
      button.addEventListener("click", () => {
        answered.add(step);
        show();
        at.question.hidden = false;
        at.question.replaceChildren(made("p", { role: "status" }, made("strong", {}, number === right ? "Right. " : `Not quite. Right is: ${choices[right]}. `), why));
        at.name.focus();
      });
      return button;
    });
    at.question.replaceChildren(made("p", {}, made("strong", {}, text)), made("div", { class: "controls" }, ...buttons));
  }

  function tell() {
    const [state, before] = [states[step], step ? states[step - 1] : null];
    const mine = step ? found.steps[step - 1] : null;
    at.said.replaceChildren(...(mine ? [
      ...(mine.rule ? [made("p", { class: "rule" }, made("strong", {}, "Rule: "), mine.rule)] : []),
      ...(mine.is_idle && mine.idle_reason ? [] : [made("p", {}, mine.note)]), reasonList(mine.reasons),
    ] : [made("p", {}, "The graph as it was written. NumPy runs it node by node, and each node allocates its result.")]));
    at.worth.replaceChildren(...(mine ? worthOf(mine.name) : []));
    const isSame = !before || mine.is_idle;
    const [gone, come] = [marks(before ?? state, state, true), marks(state, before ?? state, false)];
    const isSameGraph = ![...gone.values(), ...come.values()].some(Boolean);
    const turned = isSame || !isSameGraph ? "" : ` no node changed, but how they run: before ${before.facts.join(", ") || "plainly"};`;
    at.graphs.replaceChildren(...(isSameGraph
      ? [graphFigure(state, come, before ? "Before and after" : "As written", turned)]
      : [graphFigure(before, gone, "Before"), graphFigure(state, come, "After")]));
    const scale = () => (at.scale.checked ? most : Math.max(before?.arena_bytes ?? 0, state.arena_bytes));
    const maps = isSame ? [mapFigure(state, scale(), "Memory")]
      : [mapFigure(before, scale(), "Memory before"), mapFigure(state, scale(), "Memory after")];
    at.maps.replaceChildren(...maps.map(([figure]) => figure));
    for (const [, draw] of maps) draw();
    const isUnmoved = before && state.nodes.length < before.nodes.length && ["read_bytes", "written_bytes"].every((what) => moved(state, what) === moved(before, what));
    at.numbers.replaceChildren(
      numbersOf(before ?? state, state, counts[step ? step - 1 : 0], counts[step], before ? ["before", "after"] : ["as written"], "Numbers of this step"),
      ...(isUnmoved ? [made("p", { class: "quiet" }, found.unmoved)] : []),
    );
  }

  function worthOf(name) {
    const rungs = found.worth[name];
    if (!rungs) return [made("p", { class: "quiet" }, "What it is worth on this machine was not measured. This would: ", made("code", {}, found.measure))];
    return [made("h4", {}, "What it is worth"), table(["compared", "effect on time", "95 % interval", "verdict", "memory saved"], rungs, `Worth of ${name}`)];
  }

  function go(number, isQuiet = false) {
    step = Math.min(Math.max(number, 0), names.length - 1);
    if (!isQuiet) history.replaceState(null, "", address(step));
    show();
  }

  function follow() {
    const wanted = names.findIndex((_, number) => address(number) === location.hash);
    if (wanted < 0) return false;
    go(wanted, true);
    root.scrollIntoView();
    return true;
  }

  at.slider.addEventListener("input", () => go(Number(at.slider.value)));
  at.previous.addEventListener("click", () => go(step - 1));
  at.next.addEventListener("click", () => go(step + 1));
  at.teach.addEventListener("change", show);
  at.scale.addEventListener("change", show);
  root.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, .scroll, .graph, .map, pre")) return;
    const moves = { ArrowRight: step + 1, ArrowLeft: step - 1, Home: 0, End: names.length - 1 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    go(moves[event.key]);
  });
  window.addEventListener("hashchange", follow);
  if (!follow()) show();
}

// --- try it ---------------------------------------------------------------------------------------------------------

function switchboard(root) {
  const found = explanations[root.dataset.prefix];
  const at = parts(root);
  const { names, states, subsets, network } = found.switches;
  const known = new Map(states.map((number, place) => [subsets.length ? subsets[place] : place, found.states[number]]));
  const most = Math.max(...[...known.values()].map((state) => state.arena_bytes));
  const every = 2 ** names.length - 1;
  const boxes = names.map((name) => {
    const box = made("input", { type: "checkbox", checked: true });
    box.addEventListener("change", show);
    at.switches.append(made("label", { class: "choice" }, box, ` ${name}`));
    return box;
  });
  const wishes = [["all passes", every], ["no pass", 0], ...names.map((name, bit) => [`all but ${name}`, every - 2 ** bit]), ...names.map((name, bit) => [`only ${name}`, 2 ** bit])];
  for (const [name, subset] of wishes) if (known.has(subset)) at.wish.append(made("option", { value: String(subset) }, name));
  at.wish.append(made("option", { value: "", hidden: true }, "passes of your own"));
  at.wish.addEventListener("change", () => {
    boxes.forEach((box, bit) => { box.checked = Boolean((Number(at.wish.value) >> bit) & 1); });
    show();
  });

  function show() {
    const subset = sum(boxes.map((box, bit) => (box.checked ? 2 ** bit : 0)));
    at.wish.value = [...at.wish.options].some((option) => option.value === String(subset)) ? String(subset) : "";
    const on = names.filter((_, bit) => boxes[bit].checked);
    const chosen = `${network}, with ${subset === every ? "all passes" : on.join(", ") || "no pass"}`;
    const state = known.get(subset);
    for (const place of [at.numbers, at.graph, at.map]) place.hidden = !state;
    if (!state) {
      at.facts.replaceChildren(`${chosen}: not compiled for this page, as most subsets are not. This tells of it: `, made("code", {}, `${found.again} --passes ${on.join(",")}`));
      return;
    }
    const [plain, all] = [known.get(0), known.get(every)];
    at.facts.textContent = `${chosen}: ${state.nodes.length} nodes, ${state.arrays} arrays made in a call, ${state.is_static ? `arena ${bytes(state.arena_bytes)}` : "no arena"}.`;
    at.numbers.replaceChildren(numbersTable([plain, all, state], [null], ["no pass", "all passes", "these passes"], "Numbers of these passes, compared with all passes"));
    at.graph.replaceChildren(graphFigure(state, marks(state, all, false), "This program", subset === every ? "" : " compared with all passes;"));
    const [figure, draw] = mapFigure(state, most, "Its memory");
    at.map.replaceChildren(figure);
    draw();
  }
  show();
}

// --- code -----------------------------------------------------------------------------------------------------------

function lister(root) {
  const found = explanations[root.dataset.prefix];
  for (const place of root.querySelectorAll("[data-listing]")) {
    const start = () => walk(place, found.code[Number(place.dataset.listing)]);
    if (place.open) start();
    else place.addEventListener("toggle", start, { once: true });
  }
}

function walk(root, { written, registers, loops, over }) {
  const at = parts(root);
  const rows = [...root.querySelectorAll("tbody tr")];
  const said = (place) => [...rows[place].cells].slice(1, 3).map((cell) => cell.textContent);
  const box = root.querySelector(".listing");
  const cells = Array.from({ length: registers }, (_, number) => {
    const cell = made("li", {}, made("b", {}, String(number)), " ", made("span"));
    at.registers.append(cell);
    return cell;
  });

  function go(number) {
    const place = Math.min(Math.max(number, 0), rows.length - 1);
    const held = new Map();
    for (const [register, holds] of written.slice(0, place + 1)) if (register >= 0) held.set(register, holds);
    cells.forEach((cell, register) => {
      cell.lastChild.textContent = held.get(register) ?? "empty";
      cell.toggleAttribute("data-full", held.has(register));
      cell.toggleAttribute("data-written", written[place][0] === register);
    });
    rows.forEach((row, each) => (each === place ? row.setAttribute("aria-current", "step") : row.removeAttribute("aria-current")));
    box.scrollTop += rows[place].getBoundingClientRect().top - box.getBoundingClientRect().top - box.clientHeight / 2;
    const [text, what] = said(place);
    at.slider.value = String(place);
    at.slider.setAttribute("aria-valuetext", text);
    at.count.textContent = `${place + 1} of ${rows.length}`;
    at.previous.setAttribute("aria-disabled", String(place === 0));
    at.next.setAttribute("aria-disabled", String(place === rows.length - 1));
    at.said.textContent = `${text}: ${what}${loops.some(([first, end]) => place >= first && place < end) ? `, in the loop over ${over}` : ""}.`;
  }

  at.slider.addEventListener("input", () => go(Number(at.slider.value)));
  at.previous.addEventListener("click", () => go(Number(at.slider.value) - 1));
  at.next.addEventListener("click", () => go(Number(at.slider.value) + 1));
  rows.forEach((row, number) => row.addEventListener("click", () => go(number)));
  go(0);
}

const KINDS = { steps: stepper, switches: switchboard, code: lister };
for (const root of document.querySelectorAll("[data-widget]")) KINDS[root.dataset.widget]?.(root);
root.dataset.explained = "yes";
