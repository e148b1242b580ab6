// Elements, made without any HTML text: names of pods and nodes stay text whatever they hold.

const SVG = "http://www.w3.org/2000/svg";

// element(tag, attributes, children...): strings become text; null and false are left out.
function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function shape(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

function replace(parent, ...children) {
  parent.replaceChildren(...children.flat(Infinity).filter(Boolean));
  return parent;
}

// table(head, rows, caption): cells are strings or elements; heads that begin with "#" are of numbers.
function table(head, rows, caption) {
  const numeric = head.map((name) => name.startsWith("#"));
  const cell = (tag, content, i, extra) =>
    element(
      tag,
      { ...extra, class: numeric[i] && "number" },
      typeof content === "number" ? content.toLocaleString("en") : content,
    );
  return element(
    "div",
    { class: "scroll" },
    element(
      "table",
      {},
      caption && element("caption", {}, caption),
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          head.map((name, i) => cell("th", name.replace("#", ""), i, { scope: "col" })),
        ),
      ),
      element(
        "tbody",
        {},
        rows.map((row) =>
          element(
            "tr",
            {},
            row.map((content, i) => (i ? cell("td", content, i) : cell("th", content, i, { scope: "row" }))),
          ),
        ),
      ),
    ),
  );
}

// later(summary, make): details whose content is made when they are opened for the first time.
function later(summary, make) {
  const details = element("details", {}, element("summary", {}, summary));
  details.addEventListener("toggle", () => details.children.length === 1 && details.append(make()), { once: true });
  return details;
}

const code = (text) => element("code", {}, text);

function icon(state) {
  const name = { passed: "pass", failed: "fail" }[state] || "none";
  const shapes = {
    pass: [shape("circle", { cx: 12, cy: 12, r: 10 }), shape("path", { d: "M7.5 12.5l3 3 6-7" })],
    fail: [shape("rect", { x: 2, y: 2, width: 20, height: 20, rx: 4 }), shape("path", { d: "M8 8l8 8M16 8l-8 8" })],
    none: [shape("circle", { cx: 12, cy: 12, r: 9.5, "stroke-dasharray": "4 3" }), shape("path", { d: "M8 12h8" })],
  };
  return shape("svg", { class: `icon ${name}`, viewBox: "0 0 24 24", role: "img", "aria-label": state }, shapes[name]);
}
