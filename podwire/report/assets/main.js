// The page: reads the document, draws, and connects the heatmap, the choice of a pair, its path and the topology.

const model = indexed(JSON.parse(document.getElementById("document").textContent));
const placeOf = (id) => document.querySelector(`#${id} .place`);
const drawn = model.guarantees.filter((guarantee) => guarantee.classes.size);
const chosen = {
  guarantee: drawn.find((guarantee) => guarantee.failed || guarantee.not_run) ?? drawn.find((guarantee) => guarantee.key === "pods") ?? drawn[0],
  level: null,
  pair: null,
};

const highlight = topology(model, placeOf("topology"));
leases(model, placeOf("leases"));
routes(model, placeOf("routes"));
const ui = connectivity(placeOf("connectivity"));
const first = firstPair();
draw();
if (first) pick(...first);
document.querySelectorAll("button[data-source]").forEach((button) =>
  button.addEventListener("click", () => {
    pick(button.dataset.source, button.dataset.target);
    ui.path.scrollIntoView({ block: "center" });
    ui.path.focus({ preventScroll: true });
  }),
);
document.querySelectorAll(".fix").forEach((fix) => fix.append(...copier(fix.querySelector("pre"))));
// Expand collapsed causes for printing.
addEventListener("beforeprint", () =>
  document.querySelectorAll(".causes > details").forEach((details) => (details.open = true)),
);
document.documentElement.dataset.ready = "true";

// A button that copies a command; if the browser does not allow it, the command is selected.
function copier(pre) {
  const said = element("span", { class: "hidden", role: "status" });
  const tell = (word, more) => {
    button.textContent = word;
    said.textContent = more;
  };
  const button = element(
    "button",
    {
      type: "button",
      onclick: () =>
        navigator.clipboard.writeText(pre.textContent).then(
          () => tell("Copied", "copied"),
          () => {
            getSelection().selectAllChildren(pre);
            tell("Selected", "selected: copy it by keyboard");
          },
        ),
    },
    "Copy",
  );
  return [button, said];
}

function connectivity(place) {
  const select = element(
    "select",
    {
      id: "guarantee",
      onchange: () => {
        chosen.guarantee = drawn[select.selectedIndex];
        chosen.level = null;
        draw();
      },
    },
    drawn.map((guarantee) =>
      element(
        "option",
        { selected: guarantee === chosen.guarantee },
        `${guarantee.title}${guarantee.failed ? ` (${many(guarantee.failed)} failed)` : ""}`,
      ),
    ),
  );
  const field = (label, id) =>
    element(
      "label",
      {},
      label,
      element("input", { id, list: "pods", autocomplete: "off", spellcheck: "false", onchange: ends }),
    );
  const ui = {
    select,
    crumbs: element("div", { class: "crumbs" }),
    map: element("div"),
    keys: element("div"),
    list: element("div", { class: "list" }),
    say: element(
      "output",
      { "aria-live": "polite" },
      "Point at a square, or move with the arrow keys; Enter opens it.",
    ),
    path: element("div", {
      class: "path panel",
      tabindex: "-1",
      role: "region",
      "aria-label": "Path of the chosen pair",
    }),
  };
  const names = element(
    "datalist",
    { id: "pods" },
    [...model.pods.keys()].map((name) => element("option", { value: name })),
  );
  replace(
    place,
    element(
      "div",
      { class: "controls" },
      element("label", {}, "Guarantee", select),
      field("From", "from"),
      field("To", "to"),
      names,
    ),
    element(
      "div",
      { class: "work" },
      element("div", { class: "panel" }, ui.crumbs, ui.map, ui.say, ui.keys, ui.list),
      ui.path,
    ),
  );
  return ui;
}
