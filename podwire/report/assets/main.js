// The page: reads the document, draws, and connects the heatmap, the choice of a pair, its path and the topology.

const model = indexed(JSON.parse(document.getElementById("document").textContent));
const placeOf = (id) => document.querySelector(`#${id} .place`);
const drawn = model.guarantees.filter((guarantee) => guarantee.classes.size);
const chosen = { guarantee: drawn.find((each) => each.failed || each.not_run) ?? drawn.find((each) => each.key === "pods") ?? drawn[0], level: null, pair: null };

const highlight = topology(model, placeOf("topology"));
leases(model, placeOf("leases"));
routes(model, placeOf("routes"));
const ui = connectivity(placeOf("connectivity"));
const first = firstPair();
draw();
if (first) pick(...first);
document.querySelectorAll("button[data-source]").forEach((button) => button.addEventListener("click", () => {
  pick(button.dataset.source, button.dataset.target);
  ui.path.scrollIntoView({ block: "center" });
  ui.path.focus({ preventScroll: true });
}));
document.documentElement.dataset.ready = "true";

function connectivity(place) {
  const select = element("select", { id: "guarantee", onchange: () => {
    chosen.guarantee = drawn[select.selectedIndex];
    chosen.level = null;
    draw();
  } }, drawn.map((each) => element("option", { selected: each === chosen.guarantee }, `${each.title}${each.failed ? ` (${many(each.failed)} failed)` : ""}`)));
  const field = (label, id) => element("label", {}, label, element("input", { id, list: "pods", autocomplete: "off", spellcheck: "false", onchange: ends }));
  const ui = {
    select, crumbs: element("div", { class: "crumbs" }), map: element("div"), keys: element("div"), list: element("div", { class: "list" }),
    say: element("output", { "aria-live": "polite" }, "Point at a square, or move with the arrow keys; Enter opens it."),
    path: element("div", { class: "path panel", tabindex: "-1", role: "region", "aria-label": "Path of the chosen pair" }),
  };
  const names = element("datalist", { id: "pods" }, [...model.pods.keys()].map((name) => element("option", { value: name })));
  replace(place, element("div", { class: "controls" }, element("label", {}, "Guarantee", select), field("From", "from"), field("To", "to"), names),
    element("div", { class: "work" }, element("div", { class: "panel" }, ui.crumbs, ui.map, ui.say, ui.keys, ui.list), ui.path));
  return ui;
}

// Both fields name somebody: show their path.
function ends() {
  const [source, target] = ["from", "to"].map((id) => document.getElementById(id).value.trim());
  if (source !== target && known(source) && known(target)) pick(source, target);
}

// The squares of the level that is chosen: all pods where they are few, else all nodes, or two nodes' pods.
function currentView() {
  const { guarantee, level } = chosen, few = model.pods.size <= FEW_PODS;
  const pods = (list) => list.map((pod) => ({ name: pod.name, group: pod.node }));
  const nodes = [...model.nodes.keys()].map((name) => ({ name, group: name }));
  if (!few && !level) {
    return { title: "Pairs of nodes", rows: nodes, columns: nodes, names: { row: "node", column: "node" }, state: (i, j) => classState(guarantee, nodes[i].name, nodes[j].name) };
  }
  const all = [...model.nodes.values()].flatMap((node) => node.pods);
  const sources = guarantee.sources === "nodes" ? (level ? [{ name: level[0], group: level[0] }] : nodes) : pods(level ? model.nodes.get(level[0]).pods : all);
  const targets = guarantee.targets === "nodes" ? (level ? [{ name: level[1], group: level[1] }] : nodes) : pods(level ? model.nodes.get(level[1]).pods : all);
  const state = (i, j) => (guarantee.sources === "nodes" || guarantee.targets === "nodes") && sources[i].group !== targets[j].group ? { kind: "" } : pairState(guarantee, sources[i].name, targets[j].name, model);
  const names = level ? { row: level[0], column: level[1] } : { row: "pod", column: "pod" };
  return { title: level ? `Pods of ${level[0]} to pods of ${level[1]}` : "Pairs of pods", rows: sources, columns: targets, names, state };
}

function draw(focus = false) {
  if (!chosen.guarantee) return void replace(ui.map, "Nothing was checked between pods.");
  const view = currentView(), classes = view.rows[0] && model.nodes.has(view.rows[0].name) && !chosen.level && model.pods.size > FEW_PODS;
  const open = (i, j) => {
    if (!classes) return pick(view.rows[i].name, view.columns[j].name);
    chosen.level = [view.rows[i].name, view.columns[j].name];
    draw(true);
    const pair = firstOf(chosen.guarantee, ...chosen.level);
    if (pair) pick(...pair);
  };
  const up = () => ((chosen.level = null), draw(true));
  replace(ui.crumbs, element("span", {}, view.title), chosen.level && element("button", { type: "button", onclick: up }, "All nodes"));
  const empty = !view.rows.length || !view.columns.length;
  const map = empty ? element("p", {}, "No pods here.") : heatmap(view, { open, say: (text) => (ui.say.textContent = text), picked: pickedIn(view) });
  map.addEventListener("keydown", (event) => event.key === "Escape" && chosen.level && up());
  replace(ui.map, map);
  const kinds = new Set();
  for (let i = 0; i < view.rows.length; i++) for (let j = 0; j < view.columns.length; j++) kinds.add(view.state(i, j).kind);
  replace(ui.keys, legend(kinds));
  replace(ui.list, later("As a table", () => asList(chosen.guarantee)));
  if (focus) map.focus();
}

function pickedIn(view) {
  const at = chosen.pair && [view.rows.findIndex((row) => row.name === chosen.pair[0]), view.columns.findIndex((column) => column.name === chosen.pair[1])];
  return at && at[0] >= 0 && at[1] >= 0 ? at : null;
}

// Every class that did not simply pass, then each node's sums: what the picture shows, for those who cannot see it.
function asList(guarantee) {
  const cells = [...guarantee.classes.values()], wrong = cells.filter((cell) => cell.failed || cell.notRun);
  const shown = wrong.length || cells.length > 200 ? wrong : cells;
  const rows = shown.map((cell) => [cell.source, cell.target, cell.passed + cell.failed + cell.notRun, cell.passed, cell.failed, cell.notRun]);
  const caption = rows.length < cells.length ? `${plural(cells.length - rows.length, "pair")} of nodes passed whole and are left out.` : "";
  return table(["From pods of", "To pods of", "#Expected", "#Passed", "#Failed", "#Not run"], rows, caption);
}

function known(name) {
  return model.pods.has(name) || model.nodes.has(name);
}

// The pair to begin with: one that failed, or one between two nodes.
function firstPair() {
  for (const guarantee of [chosen.guarantee, ...drawn].filter(Boolean)) {
    const failure = guarantee.failures.find((each) => known(each.source) && known(each.target));
    if (failure) return [failure.source, failure.target];
  }
  const pods = [...model.pods.values()];
  const far = pods.find((pod) => pod.node !== pods[0].node) ?? pods[1];
  return far && [pods[0].name, far.name];
}

function firstOf(guarantee, from, to) {
  const failing = guarantee.failures.find((each) => model.nodeOf(each.source) === from && model.nodeOf(each.target) === to);
  if (failing) return [failing.source, failing.target];
  const sources = guarantee.sources === "nodes" ? [from] : model.nodes.get(from).pods.map((pod) => pod.name);
  const targets = guarantee.targets === "nodes" ? [to] : model.nodes.get(to).pods.map((pod) => pod.name);
  const target = targets.find((name) => name !== sources[0]);
  return sources[0] && target && [sources[0], target];
}

function pick(source, target) {
  chosen.pair = [source, target];
  for (const [id, name] of [["from", source], ["to", target]]) document.getElementById(id).value = name;
  const way = hops(model, source, target), wrong = faults(model, source, target, way);
  const least = Math.min(...way.map((each) => each.mtu ?? Infinity));
  const swap = model.pods.has(source) && model.pods.has(target) && element("button", { type: "button", onclick: () => pick(target, source) }, "Swap direction");
  replace(ui.path, element("h3", {}, `${source} → ${target}`), element("ul", { class: "results" }, results(source, target)),
    element("ol", { class: "hops" }, way.flatMap((each, i) => [
      (i === 0 || way[i - 1].zone !== each.zone) && element("li", { class: "zone" }, element("span", {}, each.zone)),
      element("li", { class: wrong.has(i) && "bad" }, element("span", {}, element("b", {}, each.device), " ", element("small", {}, each.what)),
        each.mtu && element("span", { class: each.mtu === least ? "mtu least" : "mtu" }, `MTU ${each.mtu}`),
        (wrong.get(i) ?? []).map((text) => element("p", { class: "why" }, element("span", { class: "hidden" }, "Failing here: "), text))),
    ])), element("p", { class: "note" }, `Expected path MTU ${model.results.mtu.expected} bytes. `, swap));
  highlight(way);
  const mark = ui.map.querySelector(".picked"), at = pickedIn(currentView());
  if (mark && !at) mark.setAttribute("visibility", "hidden");
  else if (mark) for (const [name, number, size] of [["y", at[0], "height"], ["x", at[1], "width"]]) {
    mark.setAttribute(name, number * mark.getAttribute(size));
    mark.setAttribute("visibility", "visible");
  }
}

// Expected against seen, guarantee by guarantee.
function results(source, target) {
  const fits = (guarantee) => (guarantee.sources === "nodes") === model.nodes.has(source) && (guarantee.targets === "nodes") === model.nodes.has(target);
  return drawn.filter((guarantee) => fits(guarantee) || guarantee.failing.has(key(source, target)))
    .map((guarantee) => [guarantee, pairState(guarantee, source, target, model)]).filter(([, state]) => state.kind).map(([guarantee, state]) =>
      element("li", {}, icon({ pass: "passed", class: "passed", fail: "failed" }[state.kind] ?? "not run"),
        element("span", {}, `Expected: ${guarantee.title}`, element("small", {}, `Seen: ${state.failures ? state.failures.map((each) => each.reason).join("; ") : worded(state)}`))));
}
