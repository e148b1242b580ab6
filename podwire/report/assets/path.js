// The path of a packet from one pod to another, hop by hop, with MTUs and faults.

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
    return [...out, ...back.filter((hop) => !bridge || !hop.bridge)];
  }
  const path = underlay(cluster, near, far);
  const vtep = tunnel(model, near, far, version, from, to);
  const device = (node) =>
    [
      vtep && hop(node, vtep, "VXLAN tunnel end", node.vteps.find((end) => end.device === vtep)?.mtu),
      !(node === near ? from : to)?.host_network && hop(node, node.interface, address(node, version), node.mtu),
    ].filter(Boolean);
  return [...out, ...device(near), ...path, ...device(far).reverse(), ...back];
}

function hop(node, device, what, mtu, more = {}) {
  return { zone: node.name, node: node.name, device, what, mtu: mtu ?? null, at: `${node.name}|${device}`, ...more };
}

// From the pod to its node's routing; a node's agent and hostNetwork pods begin there.
function inside(model, node, pod, version) {
  const { cni } = model.cluster,
    mtu = model.results.mtu.expected;
  if (!pod) return [hop(node, "node", "the node's agent", null, { at: "" })];
  const ip = pod.addresses.find((address) => (version === 6) === address.includes(":")) ?? "no address";
  if (pod.host_network) return [hop(node, node.interface, `${pod.name} on the host's network, ${ip}`, node.mtu)];
  const inner = hop(node, "eth0", `${pod.name}, ${ip}`, pod.mtu ?? mtu, { at: `pod|${pod.name}` });
  if (cni.bridge) return [inner, hop(node, cni.bridge, "veth pair and bridge", mtu, { bridge: true })];
  return [inner, hop(node, "veth", "routed veth pair", mtu)];
}

// The VXLAN device between two nodes; none if plain routes are used.
function tunnel(model, near, far, version, from, to) {
  const { backend } = model.cluster;
  if (backend.type !== "vxlan" || from?.host_network || to?.host_network) return null;
  const direct = backend.direct_routing && near.networks.some((network) => far.networks.includes(network));
  return direct ? null : (near.vteps.find((vtep) => vtep.version === version)?.device ?? null);
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
  const path = [];
  for (let at = goal; at; at = before.get(at)?.segment) {
    const { mtu, cidrs } = cluster.segments.find((segment) => segment.name === at);
    path.unshift({ zone: "underlay", device: at, what: `segment ${cidrs.join(", ")}`, mtu, at: `segment|${at}` });
    const step = before.get(at);
    if (step)
      path.unshift({
        zone: "underlay",
        device: step.router.name,
        what: "router",
        mtu: null,
        at: `router|${step.router.name}`,
      });
  }
  return path;
}

function shared(from, to) {
  return [from, to].every((pod) => !pod || versionsOf(pod).has(4)) ? 4 : 6;
}

function address(node, version) {
  return node.addresses.find((address) => (version === 6) === address.includes(":")) ?? node.addresses[0] ?? "";
}

// The hop of a cause that is in a pod, or on the switch below a node; undefined for all others.
function hopOf(cause, path, ends) {
  const last = path.length - 1 - [...path].reverse().findIndex((hop) => hop.zone === "underlay");
  if (cause.place === "underlay" && last < path.length)
    return cause.node === ends[0] ? path.findIndex((hop) => hop.zone === "underlay") : last;
  const [kind, pod] = (cause.place ?? "").split(":");
  const inside = path.findIndex((hop) => hop.at === `pod|${pod}`);
  return kind === "pod" && inside >= 0 ? inside : undefined;
}

// Faults by hop: causes that explain this pair, and objects of both nodes that differ from intent.
function faults(model, source, target, path) {
  const ends = [model.nodeOf(source), model.nodeOf(target)];
  const byHop = new Map();
  const add = (at, text, cause) => byHop.set(at, [...(byHop.get(at) ?? []), { text, cause }]);
  const exact = (node, device) => path.findIndex((hop) => hop.node === node && hop.device === device);
  // Faults of a node that belong to none of the hops are shown where its routing begins.
  const within = (node) => {
    const bridge = path.findIndex((hop) => hop.node === node && hop.bridge);
    return bridge >= 0
      ? bridge
      : path.findIndex((hop) => hop.node === node || hop.device === node || hop.at === `pod|${node}`);
  };
  const place = (node, device) => (exact(node, device) >= 0 ? exact(node, device) : within(node));
  model.results.causes.forEach((cause, number) => {
    const affected = cause.pairs.some(([a, b]) => a === source && b === target);
    const at = !affected
      ? exact(cause.node, cause.device)
      : (hopOf(cause, path, ends) ?? place(cause.node, cause.device));
    // A cause without affected pairs is shown only at its own device.
    if (at >= 0 && (affected || !cause.pairs.length)) add(at, `${cause.title || cause.id}: ${cause.object}`, number + 1);
  });
  for (const row of model.differing) {
    const other = ends[0] === row.node ? ends[1] : ends[0];
    if (!ends.includes(row.node) || (row.peer && row.peer !== other)) continue;
    const at = place(row.node, row.device);
    if (at >= 0) add(at, `${row.desired ? "missing or different" : "unexpected"}: ${row.text}`);
  }
  const { expected } = model.results.mtu;
  path.forEach(
    (hop, i) => hop.mtu && hop.mtu < expected && add(i, `MTU ${hop.mtu} is smaller than the expected ${expected}`),
  );
  // Failed comparisons of nodes, at the device that they name.
  for (const guarantee of model.guarantees.filter((candidate) => !candidate.classes.size)) {
    for (const failure of guarantee.failures) {
      if (!ends.includes(failure.source) || ![source, target, ...ends].includes(failure.target)) continue;
      const words = failure.reason.split(/[^\w.:-]+/);
      const named = path.findIndex((hop) => hop.node === failure.source && words.includes(hop.device));
      add(named >= 0 ? named : place(failure.source, ""), `${failure.target}: ${failure.reason}`);
    }
  }
  return byHop;
}
