// The document, indexed: pods by node, failures by pair, and objects of nodes that differ from intent.

const key = (source, target) => JSON.stringify([source, target]);

function indexed(results) {
  const nodes = new Map(results.cluster.nodes.map((node) => [node.name, { ...node, pods: [] }]));
  const pods = new Map(results.cluster.pods.map((pod) => [pod.name, pod]));
  for (const pod of pods.values()) nodes.get(pod.node)?.pods.push(pod);
  const model = { results, cluster: results.cluster, nodes, pods, nodeOf: (name) => pods.get(name)?.node ?? name };
  model.guarantees = results.guarantees.map((guarantee) => withPairs(guarantee, model));
  model.differing = results.routes.rows
    .filter(differs)
    .map(([node, kind, device, peer, text, desired]) => ({ node, kind, device, peer, text, desired }));
  return model;
}

// Desired and missing, or actual and not desired; without intent, nothing differs.
const differs = (row) => row[5] !== null && row[5] !== row[6];

// Adds: classes by pair of nodes, failures by pair, and how many failures of a class are listed.
function withPairs(guarantee, model) {
  const classes = new Map(
    guarantee.classes.map(([source, target, passed, failed, notRun]) => [
      key(source, target),
      { source, target, passed, failed, notRun, listed: 0 },
    ]),
  );
  const failing = new Map();
  for (const failure of guarantee.failures) {
    if (!failure.source) continue;
    const pair = key(failure.source, failure.target);
    failing.set(pair, [...(failing.get(pair) ?? []), failure]);
    const cell = classes.get(key(model.nodeOf(failure.source), model.nodeOf(failure.target)));
    if (cell) cell.listed += 1;
  }
  return { ...guarantee, classes, failing };
}

// The state of all checks from one node's pods to another's.
function classState(guarantee, source, target) {
  const cell = guarantee.classes.get(key(source, target));
  const total = cell ? cell.passed + cell.failed + cell.notRun : 0;
  if (!total) return { kind: "", total: 0 };
  const kind = cell.failed === total ? "fail" : cell.failed ? "some" : cell.notRun ? "none" : "pass";
  return { ...cell, kind, total };
}

// The state of one pair of pods (or of a node and a pod): exact if listed, else that of its class.
function pairState(guarantee, source, target, model) {
  if (source === target) return { kind: "" };
  const from = model.nodeOf(source),
    to = model.nodeOf(target);
  const cell = guarantee.classes.get(key(from, to));
  if (!cell || !(cell.passed + cell.failed + cell.notRun)) return { kind: "" };
  const failures = guarantee.failing.get(key(source, target));
  if (failures) return { kind: "fail", failures, cell };
  const sampled = cell.passed + cell.failed + cell.notRun < everyPair(guarantee, from, to, model);
  if (cell.failed > cell.listed || (sampled && cell.failed)) return { kind: "unknown", cell };
  if (cell.notRun) return { kind: "none", cell };
  return { kind: sampled ? "class" : "pass", cell };
}

// How many checks a class has if every pair is checked, once for each family that both have.
function everyPair(guarantee, from, to, model) {
  if (guarantee.sources === "nodes" || guarantee.targets === "nodes") return 0;
  const having = (node, version) =>
    model.nodes.get(node).pods.filter((pod) => !pod.host_network && versionsOf(pod).has(version)).length;
  return [4, 6].reduce(
    (sum, version) => sum + having(from, version) * (having(to, version) - (from === to ? 1 : 0)),
    0,
  );
}

const versionsOf = (pod) => new Set(pod.addresses.map((address) => (address.includes(":") ? 6 : 4)));

const WORDS = {
  "": "not tested",
  pass: "passed",
  class: "passed (sampled)",
  fail: "failed",
  some: "partly failed",
  none: "not run",
  unknown: "not listed one by one",
};

// A state in words, with the counts of its class if the pair itself was not checked or is not listed.
function worded({ kind, cell }) {
  if (kind === "unknown")
    return `not listed for this pair; ${many(cell.failed)} of ${many(cell.passed + cell.failed + cell.notRun)} checks between these nodes failed`;
  if (kind === "class")
    return `passed (sampled): ${plural(cell.passed, "pair")} between these nodes checked`;
  return WORDS[kind];
}

// Why a pair failed; one reason if both families have the same.
function reasons(failures) {
  const byReason = new Map();
  for (const { address, reason } of failures)
    byReason.set(reason, [...(byReason.get(reason) ?? []), address.includes(":") ? "IPv6" : "IPv4"]);
  return [...byReason]
    .map(([reason, families]) => (failures.length > 1 ? `${families.join(" and ")}: ${reason}` : reason))
    .join("; ");
}

const many = (count) => count.toLocaleString("en");
const compact = (count) => (count < 10000 ? many(count) : count.toLocaleString("en", { notation: "compact" }));

function plural(count, word) {
  return `${many(count)} ${word}${count === 1 ? "" : "s"}`;
}
