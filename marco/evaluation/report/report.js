"use strict";
// Draws the curves with uPlot, sorts tables, copies commands. The numbers are in #numbers.
const numbers = JSON.parse(document.getElementById("numbers").textContent);
const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const element = (tag, parent, text) => {
  const made = parent.appendChild(document.createElement(tag));
  if (text !== undefined) made.textContent = text;
  return made;
};

function short(count) {
  for (const [unit, size] of [["T", 1e12], ["B", 1e9], ["M", 1e6], ["k", 1e3]])
    if (Math.abs(count) >= size) return +(count / size).toPrecision(3) + unit;
  const digits = +count.toPrecision(3);
  return count && Math.abs(count) < 1e-3 ? digits.toExponential() : String(digits);
}

// One chart; lines are {name, values, colour, width}. The one near the pointer is named, else the last.
function chart(place, tokens, lines, height) {
  place.className = "plot";
  const tip = element("div", place);
  tip.className = "tip";
  let nearest = null;
  const grid = { stroke: colour("line"), width: 1 };
  const axis = { stroke: colour("dim"), grid, ticks: grid, font: "12px system-ui, sans-serif" };
  const show = (u) => {
    const { idx, left, top } = u.cursor;
    const line = lines[(nearest ?? lines.length) - 1];
    const value = idx == null ? null : line.values[idx];
    tip.style.display = value == null ? "none" : "block";
    if (value == null) return;
    tip.replaceChildren(line.name + " ");
    element("b", tip, String(+value.toPrecision(4)));
    element("span", tip, " · " + short(tokens[idx]) + " tokens");
    const x = left + u.over.offsetLeft, wide = tip.offsetWidth;
    tip.style.left = Math.max(0, Math.min(x + 14, place.clientWidth - wide)) + "px";
    tip.style.top = Math.max(0, top - 38) + "px";
  };
  const plot = new uPlot({
    width: place.clientWidth,
    height,
    legend: { show: false },
    scales: { x: { time: false } },
    cursor: { focus: { prox: lines.length > 1 ? 40 : -1 }, drag: { x: true, y: false } },
    focus: { alpha: 0.25 },
    series: [{}, ...lines.map((line) => ({
      stroke: line.colour, width: line.width, spanGaps: true,
      points: { show: tokens.length < 60 && line.width > 2, size: 7 },
    }))],
    axes: [
      { ...axis, values: (u, ticks) => ticks.map(short) },
      { ...axis, size: 60, values: (u, ticks) => ticks.map(short) },
    ],
    hooks: {
      setSeries: [(u, index) => { nearest = index; show(u); }],
      setCursor: [show],
    },
  }, [tokens, ...lines.map((line) => line.values)], place);
  plot.over.addEventListener("mouseleave", () => { tip.style.display = "none"; });
  return plot;
}

const drawn = [];
function fresh(place) {
  for (let at = drawn.length; at--;)
    if (drawn[at][1] === place) drawn.splice(at, 1)[0][0].destroy();
  place.replaceChildren();
}

const metric = document.getElementById("metric");
const language = document.getElementById("language");
const shown = new Set(numbers.groups);

function drawCurves() {
  const place = document.getElementById("curve");
  fresh(place);
  const measure = numbers.measures[metric.selectedIndex];
  if (!measure || !place.clientWidth) return;
  const chosen = language.value;
  const lines = [];
  for (const [code, values] of Object.entries(measure.values)) {
    const [name, group] = numbers.languages[code];
    if (shown.has(group) && chosen !== code)
      lines.push({ name, values, colour: colour(group) + (chosen ? "40" : ""), width: 1.4 });
  }
  if (measure.values[chosen]) {
    const [name, group] = numbers.languages[chosen];
    lines.push({ name, values: measure.values[chosen], colour: colour(group), width: 3 });
  } else if (chosen === "")
    lines.push({ name: "Mean", values: measure.mean, colour: colour("ink"), width: 3 });
  if (lines.length) drawn.push([chart(place, measure.tokens, lines, innerWidth < 640 ? 300 : 420), place]);
}

function drawTraining() {
  const all = document.getElementById("charts");
  fresh(all);
  for (const { name, tokens, values } of numbers.training) {
    const box = element("div", all);
    element("h3", box, name);
    const line = { name, values, colour: colour("english"), width: 1.6 };
    drawn.push([chart(element("div", box), tokens, [line], 190), all]);
  }
}

for (const measure of numbers.measures) {
  const arrow = { lower: " ↓", higher: " ↑" }[measure.better] ?? "";
  element("option", metric, measure.name.replaceAll("_", " ") + arrow);
}
element("option", language, "all, with their mean").value = "";
for (const [code, [name]] of Object.entries(numbers.languages))
  element("option", language, name).value = code;
for (const group of numbers.groups) {
  const button = element("button", document.getElementById("groups"));
  button.type = "button";
  button.style.setProperty("--c", `var(--${group})`);
  button.setAttribute("aria-pressed", "true");
  element("i", button);
  button.append(group);
  button.onclick = () => {
    if (!shown.delete(group)) shown.add(group);
    button.setAttribute("aria-pressed", String(shown.has(group)));
    drawCurves();
  };
}
metric.onchange = language.onchange = drawCurves;
if (!numbers.measures.length) document.getElementById("curves").hidden = true;
if (!numbers.training.length) document.getElementById("charts").textContent = "Nothing was logged.";

const drawAll = () => { drawCurves(); drawTraining(); };
let width = innerWidth; // a phone's address bar changes the height alone
addEventListener("resize", () => {
  if (innerWidth !== width) { width = innerWidth; drawAll(); }
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
drawAll();

// A click on a column's title sorts by it, a second one the other way round; means stay on top.
const valueOf = (row, at) => {
  const cell = row.cells[at], number = parseFloat(cell.dataset.v ?? cell.textContent.replaceAll(",", ""));
  return Number.isNaN(number) ? cell.textContent.trim() : number;
};
for (const title of document.querySelectorAll("table.sort th"))
  title.onclick = () => {
    const body = title.closest("table").tBodies[0];
    const down = title.getAttribute("aria-sort") === "ascending";
    for (const other of title.parentNode.cells) other.removeAttribute("aria-sort");
    title.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].filter((row) => !row.classList.contains("mean"));
    const keyed = rows.map((row) => [valueOf(row, title.cellIndex), row]);
    keyed.sort(([a], [b]) => {
      if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
      const order = typeof a === "number" ? a - b : a.localeCompare(b);
      return down ? -order : order;
    });
    body.append(...keyed.map(([, row]) => row));
  };

for (const button of document.querySelectorAll("[data-copy]"))
  button.onclick = async () => {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
    }
  };
