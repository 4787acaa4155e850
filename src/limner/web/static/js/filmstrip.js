// Samples through time: arrow keys move between them, a click or Enter enlarges, new ones come into sight.

const cellsOf = (row) => [...(row?.querySelectorAll("a.film-cell") ?? [])];
const rows = () => [...document.querySelectorAll("[data-film] .film-strip")];

function beside(cell, key) {
  const row = cell.closest(".film-strip");
  const cells = cellsOf(row);
  const at = cells.indexOf(cell);
  if (key === "ArrowRight") return cells[at + 1];
  if (key === "ArrowLeft") return cells[at - 1];
  if (key === "Home") return cells[0];
  if (key === "End") return cells.at(-1);
  const all = rows();
  const other = all[all.indexOf(row) + (key === "ArrowDown" ? 1 : key === "ArrowUp" ? -1 : NaN)];
  return cellsOf(other).find((one) => one.dataset.step === cell.dataset.step) ?? cellsOf(other).at(-1);
}

document.addEventListener("keydown", (event) => {
  const cell = event.target.closest?.("a.film-cell");
  if (!cell || event.altKey || event.ctrlKey || event.metaKey) return;
  if (!["ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) return;
  const next = beside(cell, event.key);
  event.preventDefault();
  next?.focus();
});

// --- enlarged ---

const dialog = document.getElementById("sample");
const picture = document.getElementById("sample-picture");
let open = null;

function show(cell) {
  if (!cell) return;
  open = cell;
  picture.src = cell.href;
  picture.alt = cell.querySelector("img").alt;
  document.getElementById("sample-title").textContent = `Step ${Number(cell.dataset.step).toLocaleString("en")}`;
  document.getElementById("sample-words").textContent = cell.dataset.prompt;
  dialog.querySelector("[data-sample=earlier]").disabled = !beside(cell, "ArrowLeft");
  dialog.querySelector("[data-sample=later]").disabled = !beside(cell, "ArrowRight");
}

document.addEventListener("click", (event) => {
  const cell = event.target.closest("a.film-cell");
  if (cell && dialog && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    show(cell);
    dialog.showModal();
  }
  const turn = event.target.closest("[data-sample]");
  if (turn && open) show(beside(open, turn.dataset.sample === "later" ? "ArrowRight" : "ArrowLeft"));
});

dialog?.addEventListener("keydown", (event) => {
  if (!open || !event.key.startsWith("Arrow")) return;
  event.preventDefault();
  show(beside(open, event.key));
});
dialog?.addEventListener("close", () => open?.focus());

// --- while it trains ---

// The newest one at the end of what is seen, with a piece of what is to come.
function toNewest(row) {
  const newest = cellsOf(row).at(-1);
  if (!newest) return;
  const edge = newest.getBoundingClientRect().right - row.getBoundingClientRect().left + row.scrollLeft;
  row.scrollLeft = edge + newest.clientWidth / 3 - row.clientWidth;
}

let known = document.querySelectorAll("a.film-cell").length;

function follow() {
  const cells = document.querySelectorAll("a.film-cell");
  if (cells.length <= known) return;
  known = cells.length;
  const newest = [...cells].at(-1);
  document.dispatchEvent(new CustomEvent("limner:say", { detail: `New samples at step ${newest.dataset.step}.` }));
  for (const row of rows()) if (!row.contains(document.activeElement)) toNewest(row);
}

const run = document.querySelector("[data-training]");
if (run) new MutationObserver(follow).observe(run, { subtree: true, childList: true });
for (const row of rows()) toNewest(row);
