// The crop of a photo with the pointer: Cropper.js and the four number fields follow each other. The fields are what is
// sent, and they work without this.

const stage = document.querySelector("[data-crop]");
const form = document.querySelector("[data-crop-form]");
const script = document.querySelector("script[data-vendor]");

const size = { width: Number(stage.dataset.width), height: Number(stage.dataset.height) };
const fields = Object.fromEntries(["left", "top", "width", "height"].map((name) => [name, form.elements[name]]));
const picture = stage.querySelector("[data-crop-stage] img");
const preview = document.querySelector("[data-trained-picture]");
const words = document.querySelector("[data-trained-words]");
const SMALLEST = 64;
const say = (text) => document.dispatchEvent(new CustomEvent("limner:say", { detail: text }));

// What was refused stands in the fields as it was typed: it is not saved either.
const refused = form.hasAttribute("data-dirty");

function mark() {
  const changed = Object.values(fields).some((field) => field.value !== field.defaultValue);
  form.toggleAttribute("data-dirty", refused || changed);
}

const read = () => Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, Math.round(Number(field.value))]));

function inside(crop) {
  const width = Math.min(Math.max(crop.width, SMALLEST), size.width);
  const height = Math.min(Math.max(crop.height, SMALLEST), size.height);
  return {
    left: Math.min(Math.max(crop.left, 0), size.width - width),
    top: Math.min(Math.max(crop.top, 0), size.height - height),
    width,
    height,
  };
}

// --- the preview is drawn by the server, so it is what a training sees ---

let timer = 0;
function show() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const crop = read();
    if (Object.values(crop).some(Number.isNaN)) return;
    preview.src = `${stage.dataset.trained}?${new URLSearchParams(crop)}`;
    preview.removeAttribute("height");
  }, 250);
}

preview.addEventListener("load", () => {
  if (!preview.src.includes("?")) return;
  words.textContent = `Not saved yet. It would be trained at ${preview.naturalWidth} × ${preview.naturalHeight} px.`;
});

preview.addEventListener("error", () => {
  words.textContent = "This crop cannot be used: it must lie inside the photo, with sides of 64 px or more.";
});

// --- the selection on the picture ---

let cropper;
let selection;
let scale = 1;
let origin = { x: 0, y: 0 };
let following = false;

function write(crop) {
  following = true;
  for (const [name, field] of Object.entries(fields)) field.value = crop[name];
  following = false;
  mark();
  show();
}

function measure() {
  const canvas = cropper.getCropperCanvas().getBoundingClientRect();
  const image = cropper.getCropperImage().getBoundingClientRect();
  scale = image.width / size.width;
  origin = { x: image.left - canvas.left, y: image.top - canvas.top };
}

function draw() {
  const crop = inside(read());
  if (Object.values(crop).some(Number.isNaN)) return;
  following = true;
  selection.$change(origin.x + crop.left * scale, origin.y + crop.top * scale, crop.width * scale, crop.height * scale, NaN, true);
  following = false;
}

function place() {
  measure();
  draw();
}

function fit() {
  // From no transformation on: centring goes by where the picture stands, and that may be half-way of an earlier one.
  cropper.getCropperImage().$resetTransform();
  cropper.getCropperImage().$center("contain");
  place();
}

function moved(event) {
  if (following) return;
  const { x, y, width, height } = event.detail;
  const crop = {
    left: Math.round((x - origin.x) / scale),
    top: Math.round((y - origin.y) / scale),
    width: Math.round(width / scale),
    height: Math.round(height / scale),
  };
  const out =
    crop.left < 0 || crop.top < 0 || crop.left + crop.width > size.width + 1 || crop.top + crop.height > size.height + 1;
  if (out || crop.width < SMALLEST || crop.height < SMALLEST) {
    event.preventDefault();
    return;
  }
  write(inside(crop));
}

function shape() {
  const [across, down] = (form.elements.shape.value || "").split(":").map(Number);
  const ratio = across && down ? across / down : NaN;
  selection.aspectRatio = ratio;
  if (Number.isNaN(ratio)) return;
  // The largest of that shape within what is chosen, around its middle.
  const crop = read();
  const width = Math.min(crop.width, crop.height * ratio);
  const height = width / ratio;
  write(
    inside({
      left: Math.round(crop.left + (crop.width - width) / 2),
      top: Math.round(crop.top + (crop.height - height) / 2),
      width: Math.round(width),
      height: Math.round(height),
    }),
  );
  draw();
}

async function start() {
  const { default: Cropper } = await import(script.dataset.vendor);
  await picture.decode().catch(() => {});
  cropper = new Cropper(picture, {
    container: stage.querySelector("[data-crop-stage]"),
    template: `<cropper-canvas>
      <cropper-image initial-center-size="contain"></cropper-image>
      <cropper-shade></cropper-shade>
      <cropper-selection movable resizable outlined theme-color="var(--accent)">
        <cropper-grid role="grid" covered></cropper-grid>
        <cropper-handle action="move" plain></cropper-handle>
        ${["n", "e", "s", "w", "ne", "nw", "se", "sw"].map((side) => `<cropper-handle action="${side}-resize" theme-color="var(--accent)"></cropper-handle>`).join("")}
      </cropper-selection>
    </cropper-canvas>`,
  });
  selection = cropper.getCropperSelection();
  await cropper.getCropperImage().$ready();
  // The pointer's way; by keyboard the number fields do the same.
  cropper.getCropperCanvas().setAttribute("aria-hidden", "true");
  fit();
  selection.addEventListener("change", moved);
  // The picture is centred once more by Cropper itself, some time after it is there: the selection goes with it.
  cropper.getCropperImage().addEventListener("transform", () => requestAnimationFrame(place));
  for (const field of Object.values(fields)) {
    field.addEventListener("input", () => {
      if (following) return;
      mark();
      draw();
      show();
    });
  }
  for (const choice of form.elements.shape) choice.addEventListener("change", shape);
  new ResizeObserver(fit).observe(stage);
}

// The browser puts back what was typed before it went away from here.
mark();
start();

// Saved, chosen anew, or the photo is removed: nothing is left to be asked about.
document.addEventListener("submit", (event) => {
  if (!event.defaultPrevented && event.target.closest("#main") && !event.target.matches("[data-caption]")) {
    form.removeAttribute("data-dirty");
  }
});

// --- the photo before and after, by the arrow keys where nobody types ---

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input, textarea, select, summary, button")) return;
  const link = document.querySelector(`a[data-go="${CSS.escape(event.key)}"][href^="/"]`);
  if (!link) return;
  if (!document.querySelector("form[data-dirty]")) link.click();
  else say("Not saved yet: save it before you go to another photo.");
});
