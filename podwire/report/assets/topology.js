// The picture: nodes on their underlay segments, with pods, bridge, VXLAN device and external interface inside.

const WIDTH = 1160,
  GAP = 16;

function topology(model, place) {
  const parts = new Map(); // what a hop's `at` names -> shapes
  const note = (at, made) => (parts.set(at, [...(parts.get(at) ?? []), made]), made);
  const size = boxSize(model);
  const groups = grouped(model);
  const rows = Math.max(...groups.map((group) => group.nodes.length));
  const beside =
    groups.length > 1 &&
    groups.reduce((sum, group) => sum + span(group.nodes.length, size), 0) + GAP * 2 * groups.length <= WIDTH;
  const drawing = [];
  let x = 0,
    y = 0,
    bottom = 0;
  const rails = new Map();
  for (const group of groups) {
    const columns = beside
      ? group.nodes.length
      : Math.max(1, Math.min(group.nodes.length, Math.floor((WIDTH - 40) / (size.width + GAP))));
    const drawn = drawGroup(model, group, columns, size, x, y, note);
    drawing.push(drawn.made);
    rails.set(group.name, drawn);
    bottom = Math.max(bottom, drawn.bottom);
    if (beside) x += span(columns, size) + GAP * 3;
    else y = drawn.bottom + 34;
  }
  const routers = drawRouters(model, rails, bottom + 46, beside, note);
  const width =
    Math.max(beside ? x - GAP * 3 : 0, ...[...rails.values()].map((rail) => rail.right)) +
    (model.cluster.routers.length && !beside ? 40 : 2);
  const height = model.cluster.routers.length ? bottom + 92 : bottom + 8;
  const title = `Topology: ${plural(model.nodes.size, "node")}, ${plural(model.pods.size, "pod")}`;
  const picture = shape(
    "svg",
    { class: "topology", viewBox: `-2 -2 ${width + 4} ${height + 4}`, role: "img", "aria-label": title },
    shape("title", {}, title),
    routers,
    drawing,
  );
  picture.style.maxWidth = `${Math.round(width * 1.15)}px`;
  markFaults(model, parts);
  place.classList.add("panel");
  replace(
    place,
    element("div", { class: "scroll" }, picture),
    later("Topology as a table", () => asTable(model)),
  );
  return (path) => {
    for (const made of [...parts.values()].flat()) made.classList.remove("on");
    for (const hop of path) for (const made of parts.get(hop.at) ?? []) made.classList.add("on");
    for (const node of new Set(path.map((hop) => hop.node).filter(Boolean))) {
      const devices = path.filter((hop) => hop.node === node).map((hop) => hop.at);
      for (const made of parts.get(`wires|${node}`) ?? []) {
        if (made.dataset.ends.split(" ; ").every((end) => end === "" || devices.includes(end)))
          made.classList.add("on");
      }
    }
  };
}

// Few pods have names and addresses in the picture; many are dots.
function boxSize(model) {
  const most = Math.max(1, ...[...model.nodes.values()].map((node) => node.pods.length));
  const detailed = most <= 8 && model.nodes.size <= 12;
  const columns = detailed ? 2 : Math.min(most, Math.ceil(Math.sqrt(most * 2.6)));
  const lines = Math.ceil(most / columns);
  const pod = detailed ? { width: 122, height: 40, gap: 8 } : { width: 9, height: 9, gap: 3 };
  const pad = detailed ? 14 : 10,
    width = Math.max(112, columns * (pod.width + pod.gap) - pod.gap + 2 * pad);
  const chip = detailed ? 26 : 18,
    step = detailed ? 40 : 27,
    head = 34;
  const chips = model.cluster.backend.type === "vxlan" ? 2 : 1;
  const height = head + lines * (pod.height + pod.gap) + 10 + chip + chips * step + 14;
  return { detailed, columns, lines, pod, pad, width, chip, step, head, height };
}

const span = (count, size) => count * (size.width + GAP) - GAP;

function grouped(model) {
  const names = model.cluster.segments.map((segment) => segment.name);
  const groups = new Map(names.map((name) => [name, []]));
  for (const node of model.nodes.values()) {
    const name = node.ports[0]?.segment ?? "underlay";
    groups.set(name, [...(groups.get(name) ?? []), node]);
  }
  const listed = [...groups].map(([name, nodes]) => ({
    name,
    nodes,
    segment: model.cluster.segments.find((segment) => segment.name === name),
  }));
  return listed.filter((group) => group.nodes.length || group.segment);
}

function drawGroup(model, group, columns, size, left, top, note) {
  const lines = Math.max(1, Math.ceil(group.nodes.length / columns));
  const indent = lines > 1 ? 22 : 0;
  const right = left + indent + span(Math.max(columns, 1), size);
  const made = [],
    rails = [];
  const at = `segment|${group.name}`;
  for (let line = 0; line < lines; line++) {
    const y = top + line * (size.height + 44),
      rail = y + size.height + 20;
    group.nodes.slice(line * columns, (line + 1) * columns).forEach((node, i) => {
      made.push(drawNode(model, node, size, left + indent + i * (size.width + GAP), y, rail, note));
    });
    rails.push(rail);
    made.push(note(at, shape("path", { class: "rail", d: `M${left + (indent ? 4 : 0)} ${rail}H${right}` })));
  }
  if (indent) made.push(note(at, shape("path", { class: "rail", d: `M${left + 4} ${rails[0]}V${rails[lines - 1]}` })));
  const bottom = rails[lines - 1];
  const text = group.segment
    ? `${group.name} · ${group.segment.cidrs.join(", ")} · MTU ${group.segment.mtu}`
    : group.name;
  made.push(shape("text", { class: "small", x: left + 4, y: bottom + 18 }, text));
  return { made, left, right, rail: bottom, bottom: bottom + 24 };
}

function drawRouters(model, rails, y, beside, note) {
  const drawn = [],
    { routers } = model.cluster;
  routers.forEach((router, i) => {
    const ends = router.ports.map((port) => rails.get(port.segment)).filter(Boolean);
    if (!ends.length) return;
    const all = [...rails.values()];
    const x = ((all[0].left + Math.max(...all.map((rail) => rail.right))) / (routers.length + 1)) * (i + 1);
    for (const rail of ends) {
      const d = beside
        ? `M${Math.min(Math.max(x, rail.left + 30), rail.right - 30)} ${rail.rail}V${y - 18}H${x}V${y}`
        : `M${rail.right} ${rail.rail}H${Math.max(...all.map((rail) => rail.right)) + 14 + 8 * i}V${y + 18}H${x + 70}`;
      drawn.push(note(`router|${router.name}`, shape("path", { class: "wire", d })));
    }
    drawn.push(
      note(
        `router|${router.name}`,
        shape(
          "g",
          { class: "part router" },
          shape("rect", { x: x - 70, y, width: 140, height: 36, rx: 18 }),
          shape("text", { class: "middle", x, y: y + 22 }, `${clipped(router.name, 14)} (router)`),
        ),
      ),
    );
  });
  return drawn;
}

// Failing checks between pods that a node has at either end.
function failingAt(model, node) {
  const guarantee =
    model.guarantees.find((guarantee) => guarantee.key === "pods") ?? model.guarantees.find((guarantee) => guarantee.classes.size);
  let count = 0;
  for (const cell of guarantee?.classes.values() ?? [])
    if (cell.source === node || cell.target === node) count += cell.failed;
  return count;
}

function asTable(model) {
  const rows = [...model.nodes.values()].map((node) => [
    node.name,
    node.pods.length > 12 ? plural(node.pods.length, "pod") : node.pods.map((pod) => pod.name).join(", ") || "none",
    model.cluster.cni.bridge || "routed veth pairs",
    node.vteps.map((vtep) => vtep.device).join(", ") || "none",
    `${node.interface} ${node.addresses.join(", ")}`,
    node.ports.map((port) => port.segment).join(", ") || "unknown",
    causesAt(model, node.name),
    failingAt(model, node.name),
  ]);
  const routers = model.cluster.routers.map((router) => [
    router.name,
    "router",
    "",
    "",
    "",
    router.ports.map((port) => port.segment).join(", "),
    causesAt(model, router.name),
    "",
  ]);
  return table(
    ["Node", "Pods", "Bridge", "VXLAN devices", "External interface", "Segments", "Root causes", "#Failed checks"],
    [...rows, ...routers],
  );
}
