// One node of the topology: its pods, and the devices between them and the underlay.

function drawNode(model, node, size, x, y, rail, note) {
  const { cni } = model.cluster,
    middle = x + size.width / 2,
    { pad } = size,
    inner = size.width - 2 * pad;
  const box = note(
    `box|${node.name}`,
    shape("g", { class: "part box" }, shape("rect", { x, y, width: size.width, height: size.height, rx: 8 })),
  );
  const made = [box];
  const failing = failingAt(model, node.name);
  const full = failing
    ? `✕ ${compact(failing)}${size.width > 200 ? " failed" : ""}`
    : size.width > 200
      ? (node.pod_cidrs[0] ?? "")
      : "";
  made.push(shape("text", { class: "name", x: x + pad, y: y + 22 }, node.name));
  made.push(
    shape("text", { class: failing ? "small end hurt" : "address end", x: x + size.width - pad, y: y + 22 }, full),
  );
  const below = y + size.head + size.lines * (size.pod.height + size.pod.gap) + 10;
  const wires = [],
    { step, chip: height } = size,
    last = Math.ceil(node.pods.length / size.columns) - 1;
  const wire = (d, ...ends) =>
    wires.push(note(`wires|${node.name}`, shape("path", { class: "wire", d, "data-ends": ends.join(" ; ") })));
  const bar = cni.bridge ? `${node.name}|${cni.bridge}` : `${node.name}|veth`;
  node.pods.forEach((pod, i) => {
    const px = x + pad + (i % size.columns) * (size.pod.width + size.pod.gap);
    const py = y + size.head + Math.floor(i / size.columns) * (size.pod.height + size.pod.gap);
    if (size.detailed && !pod.host_network) {
      // From the last line straight down, from others through the gap between the columns.
      const cx = Math.floor(i / size.columns) === last ? px + size.pod.width / 2 : middle;
      wire(`M${px + size.pod.width / 2} ${py + size.pod.height / 2}H${cx}V${below}`, `pod|${pod.name}`, bar);
    }
    made.push(drawPod(model, pod, size, px, py, note));
  });
  const chip = (at, label, detail, top, width = inner) => {
    const left = x + pad + (inner - width) / 2;
    const box = shape(
      "g",
      { class: "part" },
      shape("rect", { x: left, y: top, width, height, rx: 4 }),
      shape(
        "text",
        { class: "middle", x: middle, y: top + height / 2 + 4 },
        label + (size.detailed && detail ? ` · ${detail}` : ""),
      ),
    );
    made.push(note(at, box));
  };
  const gateway = (node.vteps[0]?.address ?? "").replace(/\.0$/, ".1");
  chip(bar, cni.bridge || "routed veth pairs", cni.bridge ? gateway : "", below);
  let from = below,
    above = bar;
  for (const vtep of node.vteps.slice(0, 1)) {
    wire(`M${middle} ${from + height}V${from + step}`, above, `${node.name}|${vtep.device}`);
    from += step;
    above = `${node.name}|${vtep.device}`;
    chip(
      above,
      node.vteps.map((vtep) => vtep.device).join(", "),
      `VNI ${model.cluster.backend.vni}`,
      from,
      inner * 0.8,
    );
  }
  wire(`M${middle} ${from + height}V${from + step}`, above, `${node.name}|${node.interface}`);
  chip(`${node.name}|${node.interface}`, node.interface, node.addresses[0]?.split("/")[0], from + step, inner * 0.8);
  wire(`M${middle} ${from + step + height}V${rail}`, `${node.name}|${node.interface}`, "");
  const port = note(`port|${node.name}`, wires[wires.length - 1]);
  Object.assign(port.dataset, { x: middle, y: (from + step + height + rail) / 2 });
  return shape(
    "g",
    { class: "node" },
    shape("title", {}, `${node.name} ${node.pod_cidrs.join(", ")}`),
    made[0],
    wires,
    made.slice(1),
  );
}

function drawPod(model, pod, size, x, y, note) {
  const { width, height } = size.pod;
  const title = `${pod.name} ${pod.addresses.join(", ")}${pod.host_network ? " (host network)" : ""}`;
  const inside = size.detailed
    ? [
        shape("text", { x: x + 10, y: y + 17 }, clipped(pod.name, 16)),
        shape("text", { class: "address", x: x + 10, y: y + 32 }, clipped(pod.addresses[0] ?? "no address", 17)),
      ]
    : [];
  const absent = !pod.host_network && pod.mtu === null ? " absent" : "";
  return note(
    `pod|${pod.name}`,
    shape(
      "g",
      { class: `part${absent}` },
      shape("title", {}, title),
      shape("rect", { x, y, width, height, rx: size.detailed ? 6 : 2 }),
      inside,
    ),
  );
}

const clipped = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
