// Connectivity: one square for each pair of nodes, or of pods. Each kind of square is one path, so that a
// million pairs cost no more elements than nine; the cursor and the picked square are two more.

const FEW_PODS = 30;
const KINDS = ["pass", "class", "fail", "some", "none", "unknown"];

// heatmap(view, actions): view = {title, rows, columns, state(i, j), names: {row, column}}; rows = [{name, group}].
function heatmap(view, { open, say, picked }) {
  const { rows, columns } = view;
  const longest = Math.max(...rows.map((row) => row.name.length), ...columns.map((column) => column.name.length));
  const cell = Math.max(3, Math.min(50, Math.floor(620 / Math.max(rows.length, columns.length))));
  const labelled = cell >= 11,
    margin = labelled ? Math.min(150, 14 + longest * 6.6) : 22,
    gap = cell >= 8 ? 1.5 : 0;
  const width = margin + columns.length * cell + 2,
    height = margin + rows.length * cell + 2;
  const cursor = shape("rect", { class: "cursor", width: cell, height: cell, visibility: "hidden" });
  const mark = shape("rect", { class: "picked", width: cell, height: cell, visibility: "hidden" });
  const { paths, crosses, counts } = squares(view, cell, gap);
  const hit = shape("rect", { class: "hit", width: columns.length * cell, height: rows.length * cell });
  const grid = shape(
    "g",
    { class: "heat", transform: `translate(${margin} ${margin})` },
    KINDS.map((kind) => paths[kind] && shape("path", { class: kind, d: paths[kind] })),
    crosses && shape("path", { class: "mark", d: crosses }),
    counts,
    edges(view, cell),
    mark,
    hit,
    cursor,
  );
  const svg = shape(
    "svg",
    { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    patterns(),
    labels(view, cell, margin, labelled),
    grid,
  );
  const box = element(
    "div",
    {
      class: "heatmap",
      tabindex: "0",
      role: "application",
      "aria-roledescription": "heatmap",
      "aria-label": `${view.title}. Arrow keys move, Enter opens, Escape goes back.`,
    },
    svg,
  );

  let at = null;
  const put = (shown, i, j) => {
    shown.setAttribute("x", j * cell);
    shown.setAttribute("y", i * cell);
    shown.setAttribute("visibility", "visible");
  };
  const move = (i, j) => {
    at = [Math.max(0, Math.min(rows.length - 1, i)), Math.max(0, Math.min(columns.length - 1, j))];
    put(cursor, ...at);
    say(describe(view, ...at));
  };
  const choose = () => {
    if (!at || !view.state(...at).kind) return;
    put(mark, ...at);
    open(...at);
  };
  const point = (event) => {
    const { left, top, width: wide, height: high } = hit.getBoundingClientRect();
    return [
      Math.floor(((event.clientY - top) / high) * rows.length),
      Math.floor(((event.clientX - left) / wide) * columns.length),
    ];
  };
  hit.addEventListener("pointermove", (event) => move(...point(event)));
  hit.addEventListener("click", (event) => (move(...point(event)), choose()));
  box.addEventListener(
    "pointerleave",
    () => document.activeElement !== box && cursor.setAttribute("visibility", "hidden"),
  );
  box.addEventListener("focus", () => at ?? move(...(view.start ?? [0, 0])));
  box.addEventListener("keydown", (event) => {
    const [i, j] = at ?? [0, 0];
    const steps = {
      ArrowUp: [i - 1, j],
      ArrowDown: [i + 1, j],
      ArrowLeft: [i, j - 1],
      ArrowRight: [i, j + 1],
      Home: [i, 0],
      End: [i, columns.length - 1],
      PageUp: [0, j],
      PageDown: [rows.length - 1, j],
    };
    if (steps[event.key]) move(...steps[event.key]);
    else if (event.key === "Enter" || event.key === " ") choose();
    else return;
    event.preventDefault();
  });
  if (picked) put(mark, ...picked);
  return box;
}

// The squares of each kind as one path: runs of equal ones, or each by itself if they are large enough.
function squares(view, cell, gap) {
  const paths = {},
    counts = [];
  let crosses = "";
  view.rows.forEach((_, i) => {
    for (let j = 0; j < view.columns.length;) {
      const state = view.state(i, j);
      let end = j + 1;
      if (!gap) while (end < view.columns.length && view.state(i, end).kind === state.kind) end += 1;
      if (state.kind) {
        paths[state.kind] =
          (paths[state.kind] ?? "") +
          `M${j * cell} ${i * cell}h${(end - j) * cell - gap}v${cell - gap}h${gap - (end - j) * cell}z`;
        const x = j * cell + (cell - gap) / 2,
          y = i * cell + (cell - gap) / 2;
        if (state.total && cell >= 34) {
          counts.push(
            shape(
              "text",
              { class: `count middle ${state.kind}`, x, y: y + 4 },
              state.failed ? `✕ ${compact(state.failed)}` : state.notRun ? "–" : compact(state.passed),
            ),
          );
        } else if (state.kind === "fail" && cell >= 9) {
          const r = cell * 0.2;
          crosses += `M${x - r} ${y - r}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}`;
        }
      }
      j = end;
    }
  });
  return { paths, crosses, counts };
}

// Lines between the pods of different nodes.
function edges(view, cell) {
  const borders = (list) => list.map((item, i) => (i && item.group !== list[i - 1].group ? i : 0)).filter(Boolean);
  if (view.rows.every((row, i) => !i || row.group !== view.rows[i - 1].group)) return null; // a line after each says nothing
  const wide = view.columns.length * cell,
    high = view.rows.length * cell;
  const d = borders(view.rows)
    .map((i) => `M0 ${i * cell - 0.75}H${wide}`)
    .concat(borders(view.columns).map((j) => `M${j * cell - 0.75} 0V${high}`))
    .join("");
  return d && shape("path", { class: "edge", d });
}

function labels(view, cell, margin, labelled) {
  if (!labelled) {
    return [
      shape("text", { class: "small", x: margin, y: margin - 8 }, `to ${view.names.column} →`),
      shape(
        "text",
        { class: "small end", transform: `translate(${margin - 8} ${margin}) rotate(-90)` },
        `← from ${view.names.row}`,
      ),
    ];
  }
  const most = Math.floor((margin - 14) / 6.4);
  return view.rows
    .map((row, i) =>
      shape("text", { class: "end", x: margin - 8, y: margin + i * cell + cell / 2 + 4 }, clipped(row.name, most)),
    )
    .concat(
      view.columns.map((column, j) =>
        shape(
          "text",
          { transform: `translate(${margin + j * cell + cell / 2 + 4} ${margin - 8}) rotate(-90)` },
          clipped(column.name, most),
        ),
      ),
    );
}

function describe(view, i, j) {
  const state = view.state(i, j),
    ends = `${view.rows[i].name} → ${view.columns[j].name}`;
  if (state.total) {
    const seen = [
      [state.passed, "passed"],
      [state.failed, "failed"],
      [state.notRun, "not run"],
    ].filter(([count]) => count);
    return `${ends}: expected ${many(state.total)}, found ${seen.map(([count, word]) => `${many(count)} ${word}`).join(", ")}`;
  }
  const reason = state.failures ? `: ${reasons(state.failures)}` : "";
  return `${ends}: ${worded(state)}${reason}`;
}

function patterns() {
  const pattern = (id, size, ...inside) =>
    shape("pattern", { id, width: size, height: size, patternUnits: "userSpaceOnUse" }, inside);
  const back = (size) => shape("rect", { width: size, height: size });
  return shape(
    "defs",
    {},
    pattern("hatch", 6, back(6), shape("path", { d: "M-1 1l2 -2M0 6l6 -6M5 7l2 -2", "stroke-width": 1.2 })),
    pattern("half", 8, back(8), shape("path", { d: "M-1 1l2 -2M0 8l8 -8M7 9l2 -2", "stroke-width": 3.4 })),
    pattern("dots", 6, back(6), shape("circle", { cx: 3, cy: 3, r: 1.2 })),
    pattern("question", 6, back(6), shape("circle", { cx: 3, cy: 3, r: 1.4 })),
  );
}

function legend(kinds) {
  const entry = (kind) =>
    element(
      "li",
      {},
      shape(
        "svg",
        { class: "heat", viewBox: "0 0 14 14", "aria-hidden": "true" },
        shape("rect", { class: kind, width: 14, height: 14 }),
        kind === "fail" && shape("path", { class: "mark", d: "M4 4l6 6m0 -6l-6 6" }),
      ),
      WORDS[kind],
    );
  return element("ul", { class: "legend" }, KINDS.filter((kind) => kinds.has(kind)).map(entry));
}
