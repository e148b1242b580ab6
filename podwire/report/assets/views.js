// What the heatmap shows: all pods if they are few, else all nodes, or the pods of two nodes.

// The squares of the level that is chosen: all pods if they are few, else all nodes, or two nodes' pods.
function currentView() {
  const { guarantee, level } = chosen,
    few = model.pods.size <= FEW_PODS;
  const pods = (list) => list.map((pod) => ({ name: pod.name, group: pod.node }));
  const nodes = [...model.nodes.keys()].map((name) => ({ name, group: name }));
  if (!few && !level) {
    return {
      title: "Pairs of nodes",
      rows: nodes,
      columns: nodes,
      names: { row: "node", column: "node" },
      state: (i, j) => classState(guarantee, nodes[i].name, nodes[j].name),
    };
  }
  const all = [...model.nodes.values()].flatMap((node) => node.pods);
  const sources =
    guarantee.sources === "nodes"
      ? level
        ? [{ name: level[0], group: level[0] }]
        : nodes
      : pods(level ? model.nodes.get(level[0]).pods : all);
  const targets =
    guarantee.targets === "nodes"
      ? level
        ? [{ name: level[1], group: level[1] }]
        : nodes
      : pods(level ? model.nodes.get(level[1]).pods : all);
  const state = (i, j) =>
    (guarantee.sources === "nodes" || guarantee.targets === "nodes") && sources[i].group !== targets[j].group
      ? { kind: "" }
      : pairState(guarantee, sources[i].name, targets[j].name, model);
  const names = level ? { row: level[0], column: level[1] } : { row: "pod", column: "pod" };
  return {
    title: level ? `Pods of ${level[0]} to pods of ${level[1]}` : "Pairs of pods",
    rows: sources,
    columns: targets,
    names,
    state,
  };
}

function draw(focus = false) {
  if (!chosen.guarantee) return void replace(ui.map, "No checks between pods ran.");
  const view = currentView(),
    classes = view.rows[0] && model.nodes.has(view.rows[0].name) && !chosen.level && model.pods.size > FEW_PODS;
  const open = (i, j) => {
    if (!classes) return pick(view.rows[i].name, view.columns[j].name);
    chosen.level = [view.rows[i].name, view.columns[j].name];
    draw(true);
    const pair = firstOf(chosen.guarantee, ...chosen.level);
    if (pair) pick(...pair);
  };
  const up = () => ((chosen.level = null), draw(true));
  replace(
    ui.crumbs,
    element("span", {}, view.title),
    chosen.level && element("button", { type: "button", onclick: up }, "All nodes"),
  );
  const empty = !view.rows.length || !view.columns.length;
  const map = empty
    ? element("p", {}, "No pods here.")
    : heatmap(view, { open, say: (text) => (ui.say.textContent = text), picked: pickedIn(view) });
  map.addEventListener("keydown", (event) => event.key === "Escape" && chosen.level && up());
  replace(ui.map, map);
  const kinds = new Set();
  for (let i = 0; i < view.rows.length; i++)
    for (let j = 0; j < view.columns.length; j++) kinds.add(view.state(i, j).kind);
  replace(ui.keys, legend(kinds));
  replace(
    ui.list,
    later("As a table", () => asList(chosen.guarantee)),
  );
  if (focus) map.focus();
}

function pickedIn(view) {
  const at = chosen.pair && [
    view.rows.findIndex((row) => row.name === chosen.pair[0]),
    view.columns.findIndex((column) => column.name === chosen.pair[1]),
  ];
  return at && at[0] >= 0 && at[1] >= 0 ? at : null;
}

// Every class with failures or checks that were not run, as an accessible alternative to the heatmap.
function asList(guarantee) {
  const cells = [...guarantee.classes.values()],
    wrong = cells.filter((cell) => cell.failed || cell.notRun);
  const shown = wrong.length || cells.length > 200 ? wrong : cells;
  const rows = shown.map((cell) => [
    cell.source,
    cell.target,
    cell.passed + cell.failed + cell.notRun,
    cell.passed,
    cell.failed,
    cell.notRun,
  ]);
  const caption =
    rows.length < cells.length
      ? `${plural(cells.length - rows.length, "pair")} of nodes passed completely and are not listed.`
      : "";
  return table(["From pods of", "To pods of", "#Expected", "#Passed", "#Failed", "#Not run"], rows, caption);
}

function known(name) {
  return model.pods.has(name) || model.nodes.has(name);
}

// The pair to begin with: one that failed, or one between two nodes.
function firstPair() {
  for (const guarantee of [chosen.guarantee, ...drawn].filter(Boolean)) {
    const failure = guarantee.failures.find((failure) => known(failure.source) && known(failure.target));
    if (failure) return [failure.source, failure.target];
  }
  const pods = [...model.pods.values()];
  const far = pods.find((pod) => pod.node !== pods[0].node) ?? pods[1];
  return far && [pods[0].name, far.name];
}

function firstOf(guarantee, from, to) {
  const failing = guarantee.failures.find(
    (failure) => model.nodeOf(failure.source) === from && model.nodeOf(failure.target) === to,
  );
  if (failing) return [failing.source, failing.target];
  const sources = guarantee.sources === "nodes" ? [from] : model.nodes.get(from).pods.map((pod) => pod.name);
  const targets = guarantee.targets === "nodes" ? [to] : model.nodes.get(to).pods.map((pod) => pod.name);
  const target = targets.find((name) => name !== sources[0]);
  return sources[0] && target && [sources[0], target];
}
