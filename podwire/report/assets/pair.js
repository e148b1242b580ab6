// The chosen pair: expected and found results, and its path.

// If both fields have known names, show their path.
function ends() {
  const [source, target] = ["from", "to"].map((id) => document.getElementById(id).value.trim());
  if (source !== target && known(source) && known(target)) pick(source, target);
}

function pick(source, target) {
  chosen.pair = [source, target];
  for (const [id, name] of [
    ["from", source],
    ["to", target],
  ])
    document.getElementById(id).value = name;
  const path = hops(model, source, target, familyOf(source, target)),
    wrong = faults(model, source, target, path);
  const least = Math.min(...path.map((hop) => hop.mtu ?? Infinity));
  const swap =
    model.pods.has(source) &&
    model.pods.has(target) &&
    element("button", { type: "button", onclick: () => pick(target, source) }, "Swap direction");
  replace(
    ui.path,
    element("h3", {}, `${source} → ${target}`),
    element("ul", { class: "results" }, results(source, target)),
    element(
      "ol",
      { class: "hops" },
      path.flatMap((hop, i) => [
        (i === 0 || path[i - 1].zone !== hop.zone) && element("li", { class: "zone" }, element("span", {}, hop.zone)),
        element(
          "li",
          { class: wrong.has(i) && "bad" },
          element("span", {}, element("b", {}, hop.device), " ", element("small", {}, hop.what)),
          hop.mtu && element("span", { class: hop.mtu === least ? "mtu least" : "mtu" }, `MTU ${hop.mtu}`),
          (wrong.get(i) ?? []).map(({ text, cause }) =>
            element(
              "p",
              { class: "why" },
              element("span", { class: "hidden" }, "Failing here: "),
              text,
              cause && [" ", element("a", { href: `#cause-${cause}` }, `Evidence and fix (${cause})`)],
            ),
          ),
        ),
      ]),
    ),
    element("p", { class: "note" }, `Expected path MTU ${model.results.mtu.expected} bytes. `, swap),
  );
  highlight(path);
  const mark = ui.map.querySelector(".picked"),
    at = pickedIn(currentView());
  if (mark && !at) mark.setAttribute("visibility", "hidden");
  else if (mark)
    for (const [name, number, size] of [
      ["y", at[0], "height"],
      ["x", at[1], "width"],
    ]) {
      mark.setAttribute(name, number * mark.getAttribute(size));
      mark.setAttribute("visibility", "visible");
    }
}

// The family to draw: IPv6 if only that fails, else one that both have, IPv4 first.
function familyOf(source, target) {
  const failures = chosen.guarantee?.failing.get(key(source, target)) ?? [];
  return failures.length && failures.every((failure) => failure.address.includes(":"))
    ? 6
    : shared(model.pods.get(source), model.pods.get(target));
}

// Expected and found, guarantee by guarantee.
function results(source, target) {
  const fits = (guarantee) =>
    (guarantee.sources === "nodes") === model.nodes.has(source) &&
    (guarantee.targets === "nodes") === model.nodes.has(target);
  return drawn
    .filter((guarantee) => fits(guarantee) || guarantee.failing.has(key(source, target)))
    .map((guarantee) => [guarantee, pairState(guarantee, source, target, model)])
    .filter(([, state]) => state.kind)
    .map(([guarantee, state]) =>
      element(
        "li",
        {},
        icon({ pass: "passed", class: "passed", fail: "failed" }[state.kind] ?? "not run"),
        element(
          "span",
          {},
          `Expected: ${guarantee.title}`,
          element("small", {}, `Found: ${state.failures ? reasons(state.failures) : worded(state)}`),
        ),
      ),
    );
}
