// The drop zone of a subject: files are sent as soon as they are dropped, a row each, and taken in when all are there.

import { fromInput, fromTransfer } from "./dropped.js";
import { Batch, Refused } from "./uploading.js";

const form = document.getElementById("drop");
const zone = form.querySelector("[data-drop]");
const panel = document.getElementById("sending");
const part = (name) => panel.querySelector(`[data-sending=${name}]`);
const list = part("files");
const template = document.getElementById("file-row");

const rows = new WeakMap();
const dirty = new Set();
let batch = null;
// The one whose rows are on the page, also after it was taken in.
let shown = null;
let began = 0;
let drawing = false;
let spoken = -1;
let trying = false;

const choices = () => ({ captions_from_photos: form.elements.captions_from_photos.checked });
const say = (words) => document.dispatchEvent(new CustomEvent("limner:say", { detail: words }));
const plural = (count, one) => (count === 1 ? `1 ${one}` : `${count.toLocaleString("en")} ${one}s`);
const busy = () => batch?.items.some((item) => item.state === "waiting" || item.state === "sending");

// --- rows ---

// A picture of each file at once, but decoded only for the rows that are looked at.
const looked = new IntersectionObserver(
  (seen) => {
    for (const entry of seen) {
      const { item, image } = rows.get(entry.target) ?? {};
      if (!item || !entry.isIntersecting || image.src) continue;
      looked.unobserve(entry.target);
      const url = URL.createObjectURL(item.file);
      image.onerror = () => {
        image.hidden = true;
        URL.revokeObjectURL(url);
      };
      image.src = url;
      image.hidden = false;
    }
  },
  { root: list, rootMargin: "96px" },
);

function addRow(item) {
  const row = template.content.firstElementChild.cloneNode(true);
  row.querySelector(".file-name").textContent = item.name;
  const image = row.querySelector("img");
  rows.set(row, { item, image });
  item.row = row;
  row.querySelector("button").addEventListener("click", retry.bind(null, shown, [item]));
  list.append(row);
  if (/\.(jpe?g|png|webp|gif|avif|bmp|hei[cf])$/i.test(item.name)) looked.observe(row);
}

const WORDS = { waiting: "Waiting", sending: "", sent: "Arrived", known: "Here already", failed: "Failed" };

function drawRow(item) {
  if (!item.row) addRow(item);
  const { row } = item;
  row.dataset.state = item.state;
  row.querySelector(".file-state").textContent = item.words || WORDS[item.state];
  const bar = row.querySelector("progress");
  bar.hidden = item.state !== "sending";
  bar.value = item.file.size ? item.sent / item.file.size : 1;
  row.querySelector("button").hidden = item.state !== "failed";
}

function draw() {
  drawing = false;
  if (!dirty.size) return;
  dirty.forEach(drawRow);
  dirty.clear();
  const { items } = shown;
  const total = items.reduce((sum, item) => sum + item.file.size, 0);
  const sent = items.reduce((sum, item) => sum + (item.state === "known" ? item.file.size : item.sent), 0);
  const over = items.filter((item) => item.state === "sent" || item.state === "known").length;
  const failed = items.filter((item) => item.state === "failed").length;
  const seconds = (performance.now() - began) / 1000;
  const left = sent > 0 && sent < total ? Math.ceil((seconds * (total - sent)) / sent) : 0;
  part("words").textContent = over === items.length ? `${plural(over, "file")} arrived` : `Sending ${over} of ${plural(items.length, "file")}`;
  const lost = items.some((item) => item.words && (item.state === "sending" || item.state === "waiting"));
  const rest = lost ? "no answer, trying again" : left > 1 && `${left} s left`;
  part("rest").textContent = [failed && `${failed} failed`, rest].filter(Boolean).join(", ");
  if (lost !== trying) {
    trying = lost;
    if (lost) say("Limner does not answer. Trying again; what arrived is kept.");
  }
  const bar = part("bar");
  bar.max = total || 1;
  bar.value = total ? sent : 1;
  const tenth = total ? Math.floor((10 * sent) / total) : 0;
  if (!lost && tenth > spoken && tenth % 2 === 0 && items.length) {
    spoken = tenth;
    if (tenth) say(`${tenth * 10} percent of the files sent.`);
  }
}

function changed(item) {
  dirty.add(item);
  if (drawing) return;
  drawing = true;
  // Four times a second is enough to see it move, and leaves the processor to those who send and take in.
  setTimeout(draw, 250);
}

// --- a drop from its files to the report ---

function refuse(words) {
  const note = document.createElement("div");
  note.className = "notice notice-refusal";
  note.setAttribute("role", "alert");
  const body = document.createElement("div");
  body.className = "notice-body";
  body.textContent = words;
  note.append(body);
  part("actions").replaceChildren(note);
}

function action(label, kind, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = `button button-small ${kind}`;
  button.textContent = label;
  button.addEventListener("click", act);
  return button;
}

function retry(its, items) {
  part("actions").replaceChildren();
  its.retry(...items);
}

const failedOf = (its) => its.items.filter((item) => item.state === "failed");

// What did not arrive, in words, with what can be done about it.
function tellFailed(words, ...others) {
  const its = batch;
  refuse(words);
  part("actions").append(action("Retry", "button-primary", () => retry(its, failedOf(its))), ...others);
}

async function take() {
  part("actions").replaceChildren();
  draw();
  const current = batch;
  try {
    const job = await current.commit();
    if (current !== batch) return;
    const failed = failedOf(current).length;
    if (!job && failed) {
      const rest = failed < current.items.length ? " Nothing else is new." : "";
      part("words").textContent = "Nothing was taken in";
      tellFailed(`Nothing was taken in: ${plural(failed, "file")} did not arrive.${rest}`);
      return;
    }
    batch = null;
    if (!job) {
      say("Nothing new arrived: all of these photos are here already.");
      part("words").textContent = "All of these photos are here already";
      return;
    }
    say("All files arrived. They are being taken in.");
    form.dataset.known = "1";
    for (const item of current.items) item.row?.querySelector("button").remove();
    if (current.items.every((item) => item.state === "sent")) panel.hidden = true;
    const place = document.createElement("div");
    document.getElementById("intake").append(place);
    await globalThis.htmx.ajax("GET", `/subjects/${form.dataset.subject}/intake/${job.id}`, { target: place, swap: "outerHTML" });
  } catch (failure) {
    refuse(failure instanceof Refused ? failure.message : "Limner did not answer. What arrived is kept.");
    part("actions").append(action("Try again", "", take));
  }
}

function ended() {
  if (!batch || batch.taken) return;
  const failed = failedOf(batch).length;
  if (failed) tellFailed(`${plural(failed, "file")} did not arrive.`, action("Take in the rest", "", take));
  else take();
}

async function send(files) {
  const most = Number(form.dataset.mostFiles);
  const fitting = files.filter(({ file }) => file.size <= Number(form.dataset.mostBytes));
  if (!files.length) return;
  panel.hidden = false;
  if (files.length + (batch?.items.length ?? 0) > most || fitting.length < files.length) {
    refuse(files.length > most ? `At most ${most} files go together. Drop them in parts.` : "Some files are too large to be sent.");
    if (!fitting.length || files.length > most) return;
  }
  try {
    if (!batch) {
      list.replaceChildren();
      part("actions").replaceChildren();
      began = performance.now();
      spoken = -1;
      batch = new Batch({ subject: form.dataset.subject, known: form.dataset.known === "1" && !choices().captions_from_photos, changed, ended, choices });
      shown = batch;
      const pending = document.querySelector("[data-pending]");
      await batch.open(pending?.dataset.pending);
      pending?.remove();
    }
    await batch.add(fitting);
  } catch (failure) {
    if (!batch?.items.length) batch = null;
    refuse(failure instanceof Refused ? failure.message : "Limner did not answer. What arrived is kept; drop the files again.");
  }
}

zone.addEventListener("dragover", (event) => {
  event.preventDefault();
  zone.dataset.over = "";
});
zone.addEventListener("dragleave", (event) => {
  if (!zone.contains(event.relatedTarget)) delete zone.dataset.over;
});
zone.addEventListener("drop", async (event) => {
  event.preventDefault();
  delete zone.dataset.over;
  send(await fromTransfer(event.dataTransfer));
});
// A file that misses the zone would otherwise replace the page.
for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());

form.addEventListener("change", (event) => {
  if (event.target.type !== "file") return;
  const files = fromInput(event.target.files);
  event.target.value = "";
  send(files);
});
form.addEventListener("submit", (event) => event.preventDefault());
addEventListener("online", () => {
  if (batch?.goOn()) part("actions").replaceChildren();
});
addEventListener("beforeunload", (event) => {
  if (busy()) event.preventDefault();
});
