// One picture, large: the viewer over the gallery, its panel, and what the page of a picture has in common with it.

const say = (words) => document.dispatchEvent(new CustomEvent("limner:say", { detail: words }));
const fail = (words) => document.dispatchEvent(new CustomEvent("limner:fail", { detail: words }));
const PANEL = 352;
const SHEET = 0.55;
const wide = matchMedia("(min-width: 60rem)");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const info =
  '<svg class="pswp__icn" viewBox="0 0 32 32" width="32" height="32" aria-hidden="true"><circle cx="16" cy="16" r="8.500" fill="none" stroke="currentColor" stroke-width="2"/><path d="M16 15v5M16 11.200v.4" stroke="currentColor" stroke-width="2.4" stroke-linecap="round"/></svg>';

let viewer = null;

function send(form, submitter) {
  return fetch(form.action, {
    method: "POST",
    body: new FormData(form, submitter),
    headers: { "HX-Request": "true", "X-CSRF-Token": document.querySelector('meta[name="csrf-token"]').content },
  }).catch(() => null);
}

function styled(css) {
  if (document.querySelector("link[data-viewer]")) return Promise.resolve();
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.dataset.viewer = "";
  link.href = css;
  // Before the page's own sheet, which says how it looks here.
  document.head.insertBefore(link, document.querySelector('link[rel="stylesheet"]'));
  return new Promise((resolve) => ["load", "error"].forEach((end) => link.addEventListener(end, resolve)));
}

/** Open the viewer on a list; fails where its script cannot be had.
 * source: {script, css, query, total(), tile(i), load(i), show(i), favourite(tile), marked(id, wanted), removed(id)}. */
export async function openViewer(source, index) {
  if (viewer) {
    if (viewer.pswp.currIndex !== index) viewer.pswp.goTo(index);
    return;
  }
  viewer = { source, pswp: { currIndex: index, goTo() {} } };
  let PhotoSwipe;
  try {
    [{ default: PhotoSwipe }] = await Promise.all([import(source.script), styled(source.css)]);
  } catch (failure) {
    viewer = null;
    throw failure;
  }
  await source.load(index);
  const pswp = new PhotoSwipe({
    index,
    dataSource: [],
    loop: false,
    bgOpacity: 1,
    trapFocus: false,
    returnFocus: false,
    showHideAnimationType: calm.matches ? "none" : "fade",
    zoomAnimationDuration: calm.matches ? 0 : 333,
    preload: [1, 2],
    closeTitle: "Close (Esc)",
    zoomTitle: "Zoom (Z)",
    arrowPrevTitle: "Newer picture",
    arrowNextTitle: "Older picture",
    errorMsg: "This picture could not be loaded.",
    initialZoomLevel: (zoom) => Math.min(zoom.panAreaSize.x / zoom.elementSize.x, zoom.panAreaSize.y / zoom.elementSize.y, 4),
    secondaryZoomLevel: (zoom) => Math.max(zoom.initial * 2.5, 1),
    maxZoomLevel: (zoom) => Math.max(zoom.initial * 6, 4),
    getViewportSizeFn: room,
    padding: { top: 56, bottom: 24, left: 16, right: 16 },
  });
  // Beside the picture from the start where there is room; a sheet over it, where there is none, when it is asked for.
  viewer = { source, pswp, panel: true, sheet: false };
  pswp.addFilter("numItems", () => source.total());
  pswp.addFilter("itemData", (_, at) => item(source, pswp, at));
  pswp.on("uiRegister", () => register(pswp));
  pswp.on("change", () => changed(pswp));
  pswp.on("keydown", (event) => {
    const typed = event.originalEvent;
    // A question over the viewer has the keys first; so has a field.
    if (document.querySelector("dialog[open]") || typed.target.matches?.("input, textarea, select")) event.preventDefault();
    else if (!typed.ctrlKey && !typed.metaKey && !typed.altKey) own(typed);
  });
  pswp.on("destroy", closed);
  history.pushState({ viewer: true }, "", `#/image/${source.tile(index)?.dataset.id ?? ""}`);
  addEventListener("popstate", left);
  for (const part of outside()) part.inert = true;
  pswp.init();
  pswp.element.setAttribute("aria-label", "Picture viewer");
  pswp.element.setAttribute("aria-modal", "true");
  pswp.element.focus({ preventScroll: true });
}

/** What the panel beside the picture, or the sheet below it, leaves of the window. */
function room() {
  const { clientWidth } = document.documentElement;
  if (wide.matches) return { x: clientWidth - (viewer.panel ? PANEL : 0), y: innerHeight };
  return { x: clientWidth, y: innerHeight * (viewer.sheet ? 1 - SHEET : 1) };
}

const outside = () => document.querySelectorAll("body > .topbar, body > main, body > footer, body > .skip");

function item(source, pswp, index) {
  const tile = source.tile(index);
  const link = tile?.querySelector("a");
  if (!link) {
    source.load(index).then(() => viewer?.pswp === pswp && source.tile(index) && pswp.refreshSlideContent(index));
    return { html: '<div class="lightbox-wait">Loading</div>' };
  }
  const { w, h, v } = link.dataset;
  return {
    src: `/images/${tile.dataset.id}/picture?v=${v}`,
    msrc: `/images/${tile.dataset.id}/thumb?w=320&v=${v}`,
    width: Number(w),
    height: Number(h),
    alt: link.querySelector("img").alt,
  };
}

function register(pswp) {
  pswp.ui.registerElement({
    name: "details",
    order: 9,
    isButton: true,
    title: "Details (I)",
    ariaLabel: "Details",
    html: info,
    onClick: togglePanel,
  });
  pswp.ui.registerElement({
    name: "panel",
    appendTo: "root",
    onInit(element) {
      element.classList.add("lightbox-panel");
      element.setAttribute("role", "region");
      element.setAttribute("aria-label", "How it was made");
      element.tabIndex = 0;
      for (const kind of ["wheel", "pointerdown", "click"]) {
        element.addEventListener(kind, (event) => kind !== "click" && event.stopPropagation(), { passive: true });
      }
      viewer.box = element;
      showPanel();
    },
  });
}

function showPanel() {
  const open = wide.matches ? viewer.panel : viewer.sheet;
  viewer.box.hidden = !open;
  viewer.pswp.element.toggleAttribute("data-panel", open);
  if (open) fill();
}

function togglePanel() {
  if (wide.matches) viewer.panel = !viewer.panel;
  else viewer.sheet = !viewer.sheet;
  arrange();
}

function arrange() {
  if (!viewer?.box) return;
  showPanel();
  viewer.pswp.updateSize(true);
}

// A tablet is turned: what is beside the picture becomes a sheet over it, or the other way round.
wide.addEventListener("change", arrange);

function changed(pswp) {
  const tile = viewer.source.tile(pswp.currIndex);
  if (tile) history.replaceState({ viewer: true }, "", `#/image/${tile.dataset.id}`);
  say(`Picture ${pswp.currIndex + 1} of ${viewer.source.total()}`);
  fill();
}

let asking = null;
async function fill() {
  asking?.abort();
  if (!viewer?.box || viewer.box.hidden) return;
  const { source, pswp, box } = viewer;
  const stop = (asking = new AbortController());
  await new Promise((resolve) => setTimeout(resolve, 90));
  if (stop.signal.aborted) return;
  await source.load(pswp.currIndex);
  const tile = source.tile(pswp.currIndex);
  if (!tile || stop.signal.aborted || viewer?.pswp !== pswp) return;
  try {
    const address = `/images/${tile.dataset.id}/details${source.query ? `?${source.query}` : ""}`;
    const answer = await fetch(address, { signal: stop.signal, headers: { "HX-Request": "true" } });
    box.innerHTML = await answer.text();
    globalThis.htmx?.process(box);
    document.dispatchEvent(new CustomEvent("htmx:after:swap"));
  } catch (failure) {
    if (failure.name !== "AbortError") box.textContent = "What is known of it could not be loaded. Try again.";
  }
}

function own(event) {
  const key = event.key.toLowerCase();
  if (key === "i") togglePanel();
  else if (key === "f") mark();
  else return;
  event.preventDefault();
}

function mark() {
  const { source, pswp, box } = viewer;
  const tile = source.tile(pswp.currIndex);
  // The panel may still be of the picture before, or hidden since.
  const button = box.querySelector(`.image-details[data-image="${tile?.dataset.id}"] [data-favourite] button`);
  if (button) button.click();
  else source.favourite(tile).then(fill);
}

function left() {
  if (viewer && !location.hash.startsWith("#/image/")) {
    viewer.back = true;
    viewer.pswp.close();
  }
}

function closed() {
  const { source, pswp, back } = viewer;
  viewer = null;
  asking?.abort();
  removeEventListener("popstate", left);
  for (const part of outside()) part.inert = false;
  if (!back) history.back();
  if (source.total()) source.show(pswp.currIndex);
}

// --- forms of the panel and of the page ---

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.dataset.favourite) {
    event.preventDefault();
    const button = form.querySelector("button");
    const wanted = button.value === "1";
    const answer = await send(form, button);
    if (!answer?.ok) return fail("This could not be changed. Try again.");
    fail("");
    button.value = wanted ? "0" : "1";
    button.setAttribute("aria-pressed", String(wanted));
    viewer?.source.marked(form.dataset.favourite, wanted);
    say(wanted ? "Marked as a favourite" : "No longer a favourite");
  } else if (form.dataset.deleteImage && viewer) {
    event.preventDefault();
    const { source, pswp } = viewer;
    const answer = await send(form);
    if (!answer?.ok) return fail("The picture could not be erased. Try again.");
    fail("");
    source.removed(form.dataset.deleteImage);
    say("Picture erased");
    if (!source.total()) return pswp.close();
    const at = Math.min(pswp.currIndex, source.total() - 1);
    await source.load(at);
    for (const near of [at - 1, at, at + 1]) pswp.refreshSlideContent(near);
    if (at !== pswp.currIndex) pswp.goTo(at);
    else changed(pswp);
    pswp.element.focus({ preventScroll: true });
  }
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    say("Copied");
  } catch {
    say("The browser did not allow copying.");
  }
});

document.addEventListener("keydown", (event) => {
  if (viewer || event.ctrlKey || event.metaKey || event.altKey || event.target.matches?.("input, textarea, select")) return;
  if (!document.querySelector(".image-page") || document.querySelector("dialog[open]")) return;
  if (event.key === "f" || event.key === "F") document.querySelector("[data-favourite] button")?.click();
  else document.querySelector(`a[data-key="${CSS.escape(event.key)}"][href]`)?.click();
});
