// The curves of a run: drawn by uPlot in place of the picture that the server sends, and continued while it trains.

const run = document.querySelector("[data-training]");
const plots = new Map();
const points = {};
let last = 0;
let asked = false;
let again = false;

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// light-dark() is kept as it was written in a custom property: let the browser resolve it.
function resolved(name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function options(key, width) {
  const axis = {
    stroke: resolved("--text-quiet"),
    font: `11px ${colour("--font")}`,
    grid: { stroke: resolved("--line"), width: 1 },
    ticks: { show: false },
  };
  const digits = key === "rate" ? (value) => value.toExponential(1) : (value) => value.toFixed(3);
  const line = { stroke: resolved("--series-1"), width: 2, points: { show: false } };
  const series =
    key === "loss"
      ? [
          {},
          { label: "Each step", stroke: resolved("--series-4"), width: 1, alpha: 0.45, points: { show: false } },
          { label: "Smoothed", ...line },
        ]
      : [{}, { label: "Rate", ...line }];
  return {
    width,
    height: 200,
    cursor: { y: false, drag: { x: true, y: false } },
    legend: { show: false },
    scales: { x: { time: false, range: (_, low, high) => [Math.min(low, 0), Math.max(high, points.total ?? 0)] } },
    axes: [
      { ...axis, size: 28, space: 60 },
      { ...axis, size: 56, values: (_, ticks) => ticks.map(digits) },
    ],
    series,
  };
}

const matter = (key, data) => (key === "loss" ? [data.steps, data.values, data.smooth] : [data.steps, data.values]);

function draw() {
  for (const place of document.querySelectorAll("[data-curve]")) {
    const key = place.dataset.curve;
    const data = points[key];
    if (!data?.steps.length) continue;
    const held = plots.get(key);
    if (held && held.place === place) {
      held.plot.setData(matter(key, data));
      continue;
    }
    held?.plot.destroy();
    const kept = place.querySelector("svg");
    const plot = new globalThis.uPlot(options(key, place.clientWidth), matter(key, data), place);
    plot.root.setAttribute("aria-hidden", "true");
    // The server's picture stays for those who cannot see the canvas.
    kept?.classList.add("hidden");
    plots.set(key, { plot, place });
    resized.observe(place);
  }
}

const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const held = plots.get(target.dataset.curve);
    const width = target.clientWidth;
    if (held && width && Math.abs(held.plot.width - width) > 1) held.plot.setSize({ width, height: 200 });
  }
});

function join(key, fresh) {
  if (!fresh) return;
  const held = points[key];
  if (!held) {
    points[key] = fresh;
    return;
  }
  for (const name of ["steps", "values", "smooth"]) held[name].push(...fresh[name]);
}

async function ask() {
  if (asked) {
    again = true;
    return;
  }
  asked = true;
  try {
    const answer = await fetch(`/trainings/${run.dataset.training}/curves?since=${last}`);
    if (answer.ok) {
      const found = await answer.json();
      points.total = found.total;
      join("loss", found.loss);
      join("rate", found.rate);
      last = Math.max(last, points.loss?.steps.at(-1) ?? 0);
      draw();
    }
  } catch {
    again = true;
  }
  setTimeout(() => {
    asked = false;
    if (again) {
      again = false;
      ask();
    }
  }, 1000);
}

function redraw() {
  for (const { plot } of plots.values()) plot.destroy();
  plots.clear();
  draw();
}

if (run) {
  const shown = () => document.getElementById("curve-loss")?.dataset.last ?? "0";
  let seen = "";
  const look = () => {
    if (shown() === seen || shown() === "0") return;
    seen = shown();
    ask();
  };
  new MutationObserver(look).observe(run, { subtree: true, childList: true, attributeFilter: ["data-last"] });
  look();
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}
