// Leases and routes. Long tables are made when they are opened.

function leases(model, place) {
  const { subnets, reservations } = model.results.leases;
  const allocated = new Map();
  for (const row of reservations) allocated.set(row[0], [...(allocated.get(row[0]) ?? []), row]);
  const rows = subnets.map(({ node, cidr, size }) => {
    const ofNode = (allocated.get(node) ?? []).filter((row) => row[1].includes(":") === cidr.includes(":"));
    const leaked = ofNode.filter((row) => !row[4]).length;
    return [
      node,
      code(cidr),
      size > 1e6 ? "more than a million" : size,
      ofNode.length,
      leaked ? element("b", { class: "hurt" }, `✕ ${leaked}`) : 0,
    ];
  });
  place.classList.add("panel");
  replace(
    place,
    table(["Node", "Subnet lease", "#Addresses for pods", "#Allocated", "#Leaked"], rows),
    [...allocated].map(([node, ofNode]) =>
      later(`IP allocations of ${node} (${ofNode.length})`, () =>
        table(
          ["Address", "Pod", "Interface", "Container"],
          ofNode.map(([, ip, container, name, pod]) => [
            code(ip),
            pod || "✕ leaked",
            name,
            code(container.slice(0, 12)),
          ]),
        ),
      ),
    ),
  );
  if (!reservations.length) place.append(element("p", { class: "note" }, "No node reported IP allocations."));
}

function routes(model, place) {
  const rows = model.results.routes.rows,
    byNode = new Map();
  for (const row of rows) byNode.set(row[0], [...(byNode.get(row[0]) ?? []), row]);
  const word = ([, , , , , desired, seen]) =>
    element(
      "span",
      { class: desired === null || desired === seen ? "tag pass" : "tag" },
      desired === null ? "found" : desired ? (seen ? "as desired" : "✕ missing or different") : "✕ unexpected",
    );
  const parts = [...byNode].map(([node, ofNode]) => {
    const wrong = ofNode.filter(differs).length;
    const made = later(
      `${node}: ${plural(ofNode.length, "object")}, ${wrong ? `✕ ${wrong} not as desired` : ofNode.some((row) => row[5] === null) ? "as found" : "all as desired"}`,
      () =>
        table(
          ["Kind", "Object", "To", "State"],
          [...ofNode]
            .sort((a, b) => differs(b) - differs(a))
            .map((row) => [
              row[1],
              element("code", { class: "long" }, row[4]),
              element("span", { class: "name" }, row[3]),
              word(row),
            ]),
        ),
    );
    made.open = wrong > 0 && byNode.size <= 12;
    return made;
  });
  place.classList.add("panel");
  const { unlisted } = model.results.routes;
  replace(
    place,
    parts.length ? parts : element("p", { class: "note" }, "No node reported its routes."),
    unlisted ? element("p", { class: "note" }, `${unlisted} more objects are as desired and not listed.`) : null,
  );
}
