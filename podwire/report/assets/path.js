// The way of a packet from one pod to another, hop by hop, with MTU and with what is wrong where.

// hops(model, source, target, version): [{zone, device, what, mtu, at}]; `at` names the part in the topology.
function hops(model, source, target, version) {
  const { cluster } = model;
  const from = model.pods.get(source),
    to = model.pods.get(target);
  const near = model.nodes.get(model.nodeOf(source)),
    far = model.nodes.get(model.nodeOf(target));
  const out = inside(model, near, from, version);
  const back = inside(model, far, to, version).reverse();
  if (near === far) {
    const bridge = out.find((hop) => hop.bridge);
    return [...out, ...back.filter((each) => !bridge || !each.bridge)];
  }
  const way = underlay(cluster, near, far);
  const vtep = tunnel(model, near, far, version, from, to);
  const device = (node) =>
    [
      vtep && hop(node, vtep, "VXLAN tunnel end", node.vteps.find((each) => each.device === vtep)?.mtu),
      !(node === near ? from : to)?.host_network && hop(node, node.interface, address(node, version), node.mtu),
    ].filter(Boolean);
  return [...out, ...device(near), ...way, ...device(far).reverse(), ...back];
}

function hop(node, device, what, mtu, more = {}) {
  return { zone: node.name, node: node.name, device, what, mtu: mtu ?? null, at: `${node.name}|${device}`, ...more };
}

// From the pod to where its node's routing begins; a node's own agent and hostNetwork pods begin there.
function inside(model, node, pod, version) {
  const { cni } = model.cluster,
    mtu = model.results.mtu.expected;
  if (!pod) return [hop(node, "node", "the node's own agent", null, { at: "" })];
  const ip = pod.addresses.find((each) => (version === 6) === each.includes(":")) ?? "no address";
  if (pod.host_network) return [hop(node, node.interface, `${pod.name} on the host's network, ${ip}`, node.mtu)];
  const own = hop(node, "eth0", `${pod.name}, ${ip}`, pod.mtu ?? mtu, { at: `pod|${pod.name}` });
  if (cni.bridge) return [own, hop(node, cni.bridge, "veth pair and bridge", mtu, { bridge: true })];
  return [own, hop(node, "veth", "routed veth pair", mtu)];
}

// The VXLAN device between two nodes; none where plain routes do.
function tunnel(model, near, far, version, from, to) {
  const { backend } = model.cluster;
  if (backend.type !== "vxlan" || from?.host_network || to?.host_network) return null;
  const direct = backend.direct_routing && near.networks.some((network) => far.networks.includes(network));
  return direct ? null : (near.vteps.find((each) => each.version === version)?.device ?? null);
}

// Segments and routers between two nodes: breadth first, as few routers as possible.
function underlay(cluster, near, far) {
  const start = near.ports[0]?.segment,
    goal = far.ports[0]?.segment;
  if (!start || !goal) return [{ zone: "underlay", device: "underlay", what: "", mtu: null, at: "" }];
  const before = new Map([[start, null]]);
  for (const segment of before.keys()) {
    for (const router of cluster.routers) {
      if (!router.ports.some((port) => port.segment === segment)) continue;
      for (const port of router.ports) if (!before.has(port.segment)) before.set(port.segment, { segment, router });
    }
  }
  const way = [];
  for (let at = goal; at; at = before.get(at)?.segment) {
    const { mtu, cidrs } = cluster.segments.find((each) => each.name === at);
    way.unshift({ zone: "underlay", device: at, what: `segment ${cidrs.join(", ")}`, mtu, at: `segment|${at}` });
    const step = before.get(at);
    if (step)
      way.unshift({
        zone: "underlay",
        device: step.router.name,
        what: "router",
        mtu: null,
        at: `router|${step.router.name}`,
      });
  }
  return way;
}

function shared(from, to) {
  return [from, to].every((pod) => !pod || versionsOf(pod).has(4)) ? 4 : 6;
}

function address(node, version) {
  return node.addresses.find((each) => (version === 6) === each.includes(":")) ?? node.addresses[0] ?? "";
}

// The hop of a cause that is in a pod, or on the switch below a node; undefined for all others.
function hopOf(cause, way, ends) {
  const last = way.length - 1 - [...way].reverse().findIndex((each) => each.zone === "underlay");
  if (cause.place === "underlay" && last < way.length)
    return cause.node === ends[0] ? way.findIndex((each) => each.zone === "underlay") : last;
  const [kind, pod] = (cause.place ?? "").split(":");
  const inside = way.findIndex((each) => each.at === `pod|${pod}`);
  return kind === "pod" && inside >= 0 ? inside : undefined;
}

// What is wrong at each hop: causes that explain this pair, and objects of both nodes that differ from intent.
function faults(model, source, target, way) {
  const ends = [model.nodeOf(source), model.nodeOf(target)];
  const found = new Map();
  const add = (at, text, cause) => found.set(at, [...(found.get(at) ?? []), { text, cause }]);
  const exact = (node, device) => way.findIndex((each) => each.node === node && each.device === device);
  // What is wrong with a node, and at none of the hops: where its own routing begins.
  const within = (node) => {
    const bridge = way.findIndex((each) => each.node === node && each.bridge);
    return bridge >= 0
      ? bridge
      : way.findIndex((each) => each.node === node || each.device === node || each.at === `pod|${node}`);
  };
  const place = (node, device) => (exact(node, device) >= 0 ? exact(node, device) : within(node));
  model.results.causes.forEach((cause, number) => {
    const suffers = cause.pairs.some(([a, b]) => a === source && b === target);
    const at = !suffers
      ? exact(cause.node, cause.device)
      : (hopOf(cause, way, ends) ?? place(cause.node, cause.device));
    // What no pair suffers from yet is shown where it would, and nowhere else.
    if (at >= 0 && (suffers || !cause.pairs.length)) add(at, `${cause.title || cause.id}: ${cause.object}`, number + 1);
  });
  for (const row of model.differing) {
    const other = ends[0] === row.node ? ends[1] : ends[0];
    if (!ends.includes(row.node) || (row.peer && row.peer !== other)) continue;
    const at = place(row.node, row.device);
    if (at >= 0) add(at, `${row.desired ? "missing or different" : "unexpected"}: ${row.text}`);
  }
  const { expected } = model.results.mtu;
  way.forEach(
    (each, i) => each.mtu && each.mtu < expected && add(i, `MTU ${each.mtu} is smaller than the expected ${expected}`),
  );
  // What a comparison of nodes found, at the device that it names.
  for (const guarantee of model.guarantees.filter((each) => !each.classes.size)) {
    for (const failure of guarantee.failures) {
      if (!ends.includes(failure.source) || ![source, target, ...ends].includes(failure.target)) continue;
      const words = failure.reason.split(/[^\w.:-]+/);
      const named = way.findIndex((each) => each.node === failure.source && words.includes(each.device));
      add(named >= 0 ? named : place(failure.source, ""), `${failure.target}: ${failure.reason}`);
    }
  }
  return found;
}
