// Faults on the topology: root causes, and objects that differ from intent.

function markFaults(model, parts) {
  const tell = (made, text) => {
    const title = made.querySelector(":scope > title") ?? made.insertBefore(shape("title"), made.firstChild);
    title.textContent += `${title.textContent && "\n"}${text}`;
  };
  const cross = (x, y, arm) =>
    shape("path", {
      class: "cross",
      d: `M${x - arm} ${y - arm}l${2 * arm} ${2 * arm}m0 ${-2 * arm}l${-2 * arm} ${2 * arm}`,
    });
  const crossed = (made) => {
    if (made.dataset.x) return made.after(cross(Number(made.dataset.x), Number(made.dataset.y), 4));
    const [x, y, width, height] = ["x", "y", "width", "height"].map((name) =>
      Number(made.querySelector("rect").getAttribute(name)),
    );
    if (width < 30) return made.append(cross(x + width / 2, y + height / 2, 2.5)); // a dot among many
    made.append(cross(x + width - 14, made.classList.contains("box") ? y + height - 14 : y + height / 2, 4));
  };
  const mark = (places, text) => {
    for (const made of parts.get(places.find((at) => parts.has(at))) ?? []) {
      if (!made.classList.contains("part") && !made.dataset.x) continue;
      if (!made.classList.contains("bad")) crossed(made);
      made.classList.add("bad");
      tell(made, text);
    }
  };
  const anywhere = (node, device) => [
    `${node}|${device}`,
    `pod|${node}`,
    `router|${node}`,
    `segment|${device}`,
    `box|${node}`,
  ];
  for (const cause of model.results.causes)
    mark([...exactly(model, cause), ...anywhere(cause.node, cause.device)], cause.title || cause.id);
  for (const row of model.differing) mark(anywhere(row.node, row.device), row.text);
}

// Where a cause is, if that is in a pod, on its veth pair, or between a node and the underlay.
function exactly(model, cause) {
  const [kind, pod] = (cause.place ?? "").split(":");
  if (kind === "pod") return [`pod|${pod}`];
  if (kind === "underlay") return [`port|${cause.node}`];
  const podNames = model.nodes.get(cause.node)?.pods.map((pod) => pod.name) ?? [];
  const shared = podNames.filter((name) => cause.pairs.length && cause.pairs.every((pair) => pair.includes(name)));
  return cause.device.startsWith("veth") && shared.length === 1 ? [`pod|${shared[0]}`] : [];
}

function causesAt(model, name) {
  const causes = model.results.causes.filter((cause) => cause.node === name);
  return causes.map((cause) => cause.title || cause.id).join("; ") || "none found";
}
