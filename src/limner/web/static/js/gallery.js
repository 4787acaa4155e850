// The long list of pictures: only a window of it is in the page, whatever its length. Also: months, choosing, keys.

import { openViewer } from "./lightbox.js";

const list = document.querySelector("[data-shots]");
const form = document.getElementById("gallery-form");
const MOST = 200;
const REMEMBERED = 1500;
const say = (words) => document.dispatchEvent(new CustomEvent("limner:say", { detail: words }));
const fail = (words) => document.dispatchEvent(new CustomEvent("limner:fail", { detail: words }));
const { page, query, lightbox, lightboxCss } = list?.dataset ?? {};
const size = Number(page);
let total = Number(list?.dataset.total ?? 0);
const newest = form?.elements.newest.value ?? "";
const tiles = new Map();
const underWay = new Map();
const chosen = new Set();
let columns = 1;
let row = 1;
let current = 0;
let anchor = -1;
let everything = false;
// The place that the viewer is at: what is around it is kept, however far the window is from there.
let viewed = -Infinity;

const indexOf = (tile) => Number(tile.dataset.i);
const linkOf = (tile) => tile?.querySelector("a");
const boxOf = (tile) => tile?.querySelector("input");

// --- the window ---

function measure() {
  const style = getComputedStyle(list);
  const widths = style.gridTemplateColumns.split(" ");
  columns = widths.length;
  row = parseFloat(widths[0]) + parseFloat(style.rowGap);
  list.style.blockSize = `${Math.max(0, Math.ceil(total / columns) * row - parseFloat(style.rowGap))}px`;
}

function placeholder(index) {
  const tile = document.createElement("li");
  tile.className = "shot";
  tile.dataset.i = index;
  return tile;
}

function render() {
  const top = list.getBoundingClientRect().top;
  const rows = Math.ceil(total / columns);
  const seen = Math.ceil(innerHeight / row) + 1;
  const spare = Math.max(1, Math.min(4, Math.floor((MOST / columns - seen) / 2)));
  const first = Math.max(0, Math.min(rows - 1, Math.floor(-top / row)) - spare);
  const start = first * columns;
  const end = Math.min(total, (first + seen + 2 * spare) * columns);
  for (const tile of [...list.children]) {
    const index = indexOf(tile);
    if (index >= start && index < end) continue;
    // What had the focus leaves: the list keeps it, and the arrow keys go on from there.
    if (tile.contains(document.activeElement)) list.focus({ preventScroll: true });
    tile.remove();
  }
  let next = list.firstElementChild;
  for (let index = start; index < end; index++) {
    const wanted = tiles.get(index);
    if (next && indexOf(next) === index) {
      const here = next;
      next = next.nextElementSibling;
      if (wanted && here !== wanted) here.replaceWith(wanted);
    } else {
      list.insertBefore(wanted ?? placeholder(index), next);
    }
  }
  list.style.paddingBlockStart = `${first * row}px`;
  markMonth(Math.max(0, Math.ceil(-top / row)) * columns);
  loadSoon(start, end);
}

let timer = 0;
let range = [0, 0];
function loadSoon(start, end) {
  range = [start, end];
  timer ||= setTimeout(() => {
    timer = 0;
    for (const [chunk, { stop }] of underWay) {
      const outside = (chunk + 1) * size <= range[0] || chunk * size >= range[1];
      if (outside && Math.abs(chunk - Math.floor(viewed / size)) > 1) stop.abort();
    }
    loadRange(...range);
    forget();
  }, 80);
}

function loadRange(start, end) {
  const waits = [];
  for (let index = start; index < Math.min(end, total); index++) {
    if (tiles.has(index)) continue;
    const chunk = Math.floor(index / size);
    waits.push(load(chunk));
    index = (chunk + 1) * size - 1;
  }
  return Promise.all(waits);
}

function load(chunk) {
  if (underWay.has(chunk)) return underWay.get(chunk).done;
  const stop = new AbortController();
  const done = (async () => {
    try {
      const address = `/gallery/window?${query ? `${query}&` : ""}newest=${newest}&offset=${chunk * size}&limit=${size}`;
      const answer = await fetch(address, { signal: stop.signal });
      if (!answer.ok) throw new TypeError(answer.statusText);
      const made = document.createElement("template");
      made.innerHTML = await answer.text();
      for (const tile of [...made.content.children]) take(document.adoptNode(tile));
      render();
    } catch (failure) {
      if (failure.name !== "AbortError") fail("Some pictures could not be loaded. Scroll to try again.");
    } finally {
      underWay.delete(chunk);
    }
  })();
  underWay.set(chunk, { stop, done });
  return done;
}

/** The numbers of the pictures at two places and between them, those that were never in the page among them. */
async function idsOf(from, to) {
  const ids = [];
  for (let at = from; at <= to; at++) ids.push(tiles.get(at)?.dataset.id);
  if (ids.every(Boolean)) return ids;
  const address = `/gallery/ids?${query ? `${query}&` : ""}newest=${newest}&offset=${from}&limit=${to - from + 1}`;
  const answer = await fetch(address);
  if (!answer.ok) throw new TypeError(answer.statusText);
  return (await answer.json()).ids.map(String);
}

function take(tile) {
  const index = indexOf(tile);
  tiles.set(index, tile);
  linkOf(tile).tabIndex = index === current ? 0 : -1;
  boxOf(tile).tabIndex = -1;
  boxOf(tile).checked = everything || chosen.has(tile.dataset.id);
  boxOf(tile).disabled = everything;
}

function forget() {
  if (tiles.size <= REMEMBERED) return;
  const middle = (range[0] + range[1]) / 2;
  const far = (index, from) => Math.abs(index - from) > REMEMBERED / 2;
  for (const index of [...tiles.keys()]) if (far(index, middle) && far(index, viewed)) tiles.delete(index);
}

function scrollToIndex(index) {
  const top = list.getBoundingClientRect().top + scrollY + Math.floor(index / columns) * row;
  scrollTo({ top: top - document.querySelector(".topbar").offsetHeight - 8, behavior: "instant" });
}

// --- months ---

const months = [...document.querySelectorAll(".gallery-months a")];
let shownMonth = null;

function markMonth(index) {
  const month = months.findLast((link) => Number(link.dataset.offset) <= Math.min(index, total - 1));
  if (month === shownMonth) return;
  shownMonth?.removeAttribute("aria-current");
  month?.setAttribute("aria-current", "true");
  shownMonth = month;
}

document.querySelector(".gallery-months")?.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-offset]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  move(Number(link.dataset.offset), false);
  scrollToIndex(current);
  render();
});

// --- choosing ---

function count() {
  return everything ? total : chosen.size;
}

const pictures = (many) => (many === 1 ? "1 picture" : `${many.toLocaleString("en")} pictures`);

/** Whether any of the chosen could be a favourite, and whether any could be none: what is not in the page could be either. */
function favouritesChosen() {
  if (everything) return new URLSearchParams(query).has("favourite") ? [true, false] : [true, true];
  const known = [...tiles.values()].filter((tile) => chosen.has(tile.dataset.id));
  const marked = known.filter((tile) => tile.hasAttribute("data-favourite")).length;
  const unknown = chosen.size > known.length;
  return [unknown || marked > 0, unknown || marked < known.length];
}

function showChosen() {
  const bar = document.querySelector("[data-bar]");
  const many = count();
  bar.hidden = many === 0;
  list.toggleAttribute("data-choosing", many > 0);
  const words = pictures(many);
  const [some, others] = favouritesChosen();
  bar.querySelector("[data-marks]").hidden = !others;
  bar.querySelector("[data-unmarks]").hidden = !some;
  bar.querySelector("[data-count]").textContent = `${words} chosen`;
  bar.querySelector("[data-two]").disabled = many !== 2;
  bar.querySelector("[data-choose-all]").hidden = everything;
  bar.querySelector("[data-choose-all]").textContent = `Choose all ${total.toLocaleString("en")}`;
  bar.querySelector("[data-delete]").dataset.confirmTitle = `Delete ${words}?`;
  form.querySelector("[data-all]").value = everything ? "1" : "0";
  form.querySelector("[data-images]").value = everything ? "" : [...chosen].join(",");
}

function choose(tile, wanted) {
  if (!tile?.dataset.id || everything) return;
  boxOf(tile).checked = wanted;
  chosen[wanted ? "add" : "delete"](tile.dataset.id);
}

let cleared = 0;
async function chooseTo(index, wanted) {
  const before = cleared;
  try {
    const ids = await idsOf(Math.min(anchor, index), Math.max(anchor, index));
    // All were chosen, or none, while the answer was on its way.
    if (before !== cleared) return;
    for (const id of ids) chosen[wanted ? "add" : "delete"](id);
    for (const tile of tiles.values()) boxOf(tile).checked = chosen.has(tile.dataset.id);
    showChosen();
  } catch {
    fail("The pictures in between could not be chosen. Try again.");
  }
}

function chooseAll(wanted) {
  cleared += 1;
  everything = wanted;
  chosen.clear();
  for (const tile of tiles.values()) {
    boxOf(tile).checked = wanted;
    boxOf(tile).disabled = wanted;
  }
  showChosen();
  say(wanted ? "All pictures chosen" : "No picture chosen");
}

function toggle(tile, shift) {
  const index = indexOf(tile);
  const wanted = boxOf(tile).checked;
  if (shift && anchor >= 0) chooseTo(index, wanted);
  choose(tile, wanted);
  anchor = index;
  showChosen();
}

// --- favourites ---

async function favourite(tile) {
  if (!tile?.dataset.id) return;
  const wanted = !tile.hasAttribute("data-favourite");
  tile.toggleAttribute("data-favourite", wanted);
  const answer = await fetch(`/images/${tile.dataset.id}/favourite`, {
    method: "POST",
    body: new URLSearchParams({ favourite: wanted ? "1" : "0" }),
    headers: { "HX-Request": "true", "X-CSRF-Token": document.querySelector('meta[name="csrf-token"]').content },
  }).catch(() => null);
  if (!answer?.ok) tile.toggleAttribute("data-favourite", !wanted);
  showChosen();
  fail(answer?.ok ? "" : "This could not be changed. Try again.");
  if (answer?.ok) say(wanted ? "Marked as a favourite" : "No longer a favourite");
}

// --- keys ---

function move(index, focus = true) {
  const old = tiles.get(current);
  if (old) linkOf(old).tabIndex = -1;
  current = Math.max(0, Math.min(total - 1, index));
  const tile = tiles.get(current);
  if (tile) linkOf(tile).tabIndex = 0;
  if (!focus) return;
  const top = list.getBoundingClientRect().top + Math.floor(current / columns) * row;
  const bar = document.querySelector(".topbar").offsetHeight;
  if (top < bar || top + row > innerHeight - 80) scrollToIndex(Math.max(0, current - columns));
  render();
  if (tiles.has(current)) linkOf(tiles.get(current)).focus({ preventScroll: true });
  else loadRange(current, current + 1).then(() => linkOf(tiles.get(current))?.focus({ preventScroll: true }));
}

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  const tile = tiles.get(current);
  if (event.key in steps) {
    const before = current;
    move(current + steps[event.key]);
    if (event.shiftKey) {
      anchor = anchor < 0 ? before : anchor;
      chooseTo(current, true);
    }
  } else if (event.key === "Home") move(0);
  else if (event.key === "End") move(total - 1);
  else if (event.key === "f" || event.key === "F") favourite(tile);
  else if ((event.key === "x" || event.key === "X") && tile && !everything) {
    boxOf(tile).checked = !boxOf(tile).checked;
    toggle(tile, event.shiftKey);
  } else if (event.key === "Escape" && count()) chooseAll(false);
  else return;
  event.preventDefault();
}

// --- the viewer's look at the list ---

const source = {
  script: lightbox,
  css: lightboxCss,
  query,
  total: () => total,
  tile: (index) => tiles.get(index),
  load(index) {
    viewed = index;
    return loadRange(index, index + 1);
  },
  show(index) {
    viewed = -Infinity;
    move(index);
  },
  favourite,
  marked(id, wanted) {
    for (const tile of tiles.values()) if (tile.dataset.id === id) tile.toggleAttribute("data-favourite", wanted);
    showChosen();
  },
  async place(image) {
    const answer = await fetch(`/gallery/place?${query ? `${query}&` : ""}newest=${newest}&image=${image}`);
    return answer.ok ? (await answer.json()).index : -1;
  },
  removed(id) {
    chosen.delete(id);
    anchor = -1;
    total -= 1;
    tiles.clear();
    list.replaceChildren();
    measure();
    render();
    showChosen();
    const words = document.querySelector("[data-total-words]");
    const matching = query ? (total === 1 ? " matches" : " match") : "";
    words.textContent = `${pictures(total)}${matching}`;
  },
};

function start() {
  list.tabIndex = -1;
  // The list is placed here; the browser's own way would take back where the viewer was left.
  history.scrollRestoration = "manual";
  for (const tile of [...list.children]) take(tile);
  const first = Number(list.dataset.first);
  current = first;
  if (tiles.has(first)) linkOf(tiles.get(first)).tabIndex = 0;
  measure();
  showChosen();
  const kept = `gallery ${location.search}`;
  const how = performance.getEntriesByType("navigation")[0]?.type;
  const before = Number(sessionStorage.getItem(kept));
  if (first) scrollToIndex(first);
  else if (before && how !== "navigate") scrollTo({ top: before, behavior: "instant" });
  render();
  addEventListener("pagehide", () => sessionStorage.setItem(kept, String(Math.round(scrollY))));
  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      render();
    });
  };
  addEventListener("scroll", soon, { passive: true });
  new ResizeObserver(() => {
    const top = Math.floor(Math.max(0, -list.getBoundingClientRect().top) / row) * columns;
    const before = columns;
    measure();
    if (columns !== before && top) scrollToIndex(top);
    soon();
  }).observe(document.querySelector(".gallery-form"));
  list.addEventListener("keydown", keys);
  list.addEventListener("focusin", (event) => {
    const tile = event.target.closest(".shot");
    if (tile && indexOf(tile) !== current) move(indexOf(tile), false);
  });
  list.addEventListener("click", (event) => {
    const tile = event.target.closest(".shot");
    if (!tile) return;
    if (event.target.matches("input")) toggle(tile, event.shiftKey);
    else if (event.target.closest("a") && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
      event.preventDefault();
      openViewer(source, indexOf(tile)).catch(() => location.assign(linkOf(tile).href));
    }
  });
  document.querySelector("[data-choose-all]").addEventListener("click", () => chooseAll(true));
  document.querySelector("[data-clear]").addEventListener("click", () => chooseAll(false));
  openNamed();
  addEventListener("hashchange", openNamed);
}

async function openNamed() {
  const named = /^#\/image\/(\d+)$/.exec(location.hash);
  if (!named) return;
  const alone = () => location.replace(`/images/${named[1]}`);
  const index = await source.place(named[1]);
  if (index < 0) return alone();
  // The viewer has an entry of its own in the history: the one below it is the gallery without it.
  history.replaceState(null, "", location.pathname + location.search);
  openViewer(source, index).catch(alone);
}

if (list) start();
