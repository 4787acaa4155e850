// A grid: how large its pictures are shown, and each one whole, with the arrow keys from cell to cell.

const size = document.querySelector("[data-grid-size]");
const live = document.getElementById("grid-live");

function resize() {
  live.style.setProperty("--cell", `${size.value}px`);
}

if (size) {
  const kept = Number(localStorage.getItem("limner-grid-size"));
  const fits = matchMedia("(max-width: 48rem)").matches ? 140 : 240;
  size.value = kept >= Number(size.min) && kept <= Number(size.max) ? kept : fits;
  resize();
  size.addEventListener("input", () => {
    resize();
    localStorage.setItem("limner-grid-size", size.value);
  });
}

const viewer = document.getElementById("grid-viewer");
const shown = viewer.querySelector("[data-slot=picture]");
const label = viewer.querySelector("[data-slot=label]");
let at = null;

function view(link) {
  at = link;
  shown.src = link.href;
  shown.alt = link.dataset.label;
  label.textContent = link.dataset.label;
  if (!viewer.open) viewer.showModal();
}

function beside(key) {
  const links = [...live.querySelectorAll("[data-view]")];
  // A live grid replaces its links: the one that is shown is found again by its place.
  const here = links.findIndex((link) => link.id === at?.id);
  if (here < 0) return null;
  if (key === "ArrowRight") return links[here + 1];
  if (key === "ArrowLeft") return links[here - 1];
  const rows = [...new Set(links.map((link) => link.dataset.row))];
  const row = rows[rows.indexOf(at.dataset.row) + (key === "ArrowDown" ? 1 : -1)];
  const mine = links.filter((link) => link.dataset.row === at.dataset.row);
  const theirs = links.filter((link) => link.dataset.row === row);
  return theirs[Math.min(mine.indexOf(links[here]), theirs.length - 1)];
}

live.addEventListener("click", (event) => {
  const link = event.target.closest("[data-view]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  view(link);
});

viewer.addEventListener("keydown", (event) => {
  if (!event.key.startsWith("Arrow")) return;
  event.preventDefault();
  const next = beside(event.key);
  if (next) view(next);
});

viewer.addEventListener("close", () => document.getElementById(at?.id)?.focus());
