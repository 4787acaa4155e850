// The Create page: triggers filled in as one types, loras that go together, and prices that follow the form.

const form = () => document.getElementById("create-form");
const say = (words) => document.dispatchEvent(new CustomEvent("limner:say", { detail: words }));
const rows = () => [...document.querySelectorAll("#create-form [data-lora]")];
const box = (row) => row.querySelector("input[name=lora]");
const chosen = () => rows().filter((row) => box(row).checked);
const addresses = () => [...document.querySelectorAll("#create-form input[name=address]")].filter((one) => one.value.trim());

// --- the prompt, filled in ---

function fillIn() {
  const words = chosen().map((row) => ({ trigger: row.dataset.trigger, class_word: row.dataset.classWord }));
  const prompt = document.getElementById("f-prompt").value;
  const filled = prompt.replace(/\{(trigger|class_word)([1-9][0-9]?)?\}/g, (slot, word, place) => {
    return words[(Number(place) || 1) - 1]?.[word] || slot;
  });
  const line = document.querySelector("#create-form [data-filled]");
  if (!line) return;
  line.hidden = filled === prompt || !prompt.trim();
  line.querySelector("[data-filled-words]").textContent = filled;
}

// --- loras of one base go together ---

function arrange() {
  const list = document.querySelector("[data-chosen-list]");
  const rest = document.querySelector("[data-rest-list]");
  const bound = chosen()[0]?.dataset.base ?? (addresses().length ? baseShown() : "");
  for (const row of rows()) {
    const input = box(row);
    const apart = Boolean(bound) && !input.checked && row.dataset.base !== bound;
    input.disabled = apart;
    row.querySelector("[data-reason]").textContent = apart
      ? `. It belongs to ${row.dataset.base}; what is chosen belongs to ${bound}.`
      : "";
  }
  if (list && rest) {
    const held = document.activeElement;
    for (const row of rows()) {
      const home = box(row).checked ? list : rest;
      if (row.parentElement !== home) home.append(row);
    }
    held?.focus?.({ preventScroll: true });
    const add = document.querySelector("[data-add]");
    if (add) add.hidden = rest.children.length === 0;
  }
  const kinds = new Set(chosen().map((row) => row.dataset.kind));
  if (kinds.size) {
    for (const one of document.querySelectorAll("#create-form [data-kinds]")) {
      one.hidden = !one.dataset.kinds.split(" ").some((kind) => kinds.has(kind));
    }
  }
}

const baseShown = () => document.querySelector("#create-form [data-wish-base]")?.dataset.wishBase ?? "";

// --- parts that depend on the rest of the form ---

let asked = 0;
let timer = 0;
let underWay = null;

function askSoon(wait = 350) {
  clearTimeout(timer);
  timer = setTimeout(ask, wait);
}

async function ask() {
  const number = ++asked;
  underWay?.abort();
  underWay = new AbortController();
  const busy = document.querySelector("#create-form [data-busy]");
  const slow = setTimeout(() => busy && (busy.hidden = false), 600);
  try {
    const answer = await fetch("/create/choices", {
      method: "POST",
      body: new FormData(form()),
      headers: { "X-CSRF-Token": document.querySelector('meta[name="csrf-token"]').content, "HX-Request": "true" },
      signal: underWay.signal,
    });
    if (number !== asked || !answer.ok) return;
    put(await answer.text());
  } catch (failure) {
    if (failure.name !== "AbortError" && !(failure instanceof TypeError)) throw failure;
  } finally {
    clearTimeout(slow);
    const now = document.querySelector("#create-form [data-busy]");
    if (now && number === asked) now.hidden = true;
  }
}

function put(html) {
  const made = document.createElement("template");
  made.innerHTML = html;
  const held = document.activeElement?.id;
  const radio = form().elements.generator?.value;
  for (const part of [...made.content.querySelectorAll("[data-part]")]) {
    const old = document.querySelector(`#create-form [data-part="${part.dataset.part}"]`);
    if (!old || (old.dataset.key === part.dataset.key && !["always", "note"].includes(part.dataset.key))) continue;
    if (old.outerHTML === part.outerHTML) continue;
    old.replaceWith(part);
  }
  // What was chosen while the answer was under way stays chosen.
  const again = [...form().querySelectorAll("input[name=generator]")].find((one) => one.value === radio && !one.disabled);
  if (again) again.checked = true;
  if (held && document.activeElement?.id !== held) document.getElementById(held)?.focus({ preventScroll: true });
  arrange();
  fillIn();
  total();
}

function total() {
  const picked = form().querySelector("input[name=generator]:checked");
  const shown = form().querySelector("[data-total]");
  if (picked && shown) shown.textContent = picked.dataset.cost;
}

// --- what the visitor does ---

document.addEventListener("input", (event) => {
  if (!event.target.closest?.("#create-form")) return;
  if (event.target.id === "f-prompt") {
    fillIn();
    askSoon(900);
  } else if (["x_values", "y_values"].includes(event.target.name)) {
    askSoon(600);
  } else if (event.target.matches("[data-lora-filter]")) {
    const words = event.target.value.trim().toLowerCase();
    for (const row of document.querySelectorAll("[data-rest-list] [data-lora]")) {
      row.hidden = Boolean(words) && !row.textContent.toLowerCase().includes(words);
    }
  }
});

document.addEventListener("change", (event) => {
  if (!event.target.closest?.("#create-form") || !event.target.name) return;
  const { name } = event.target;
  if (name === "generator" || name === "yes") {
    total();
    return;
  }
  if (["seed", "lock"].includes(name)) return;
  if (name === "lora") {
    arrange();
    fillIn();
  }
  askSoon(name === "prompt" ? 900 : 150);
});

document.addEventListener("click", (event) => {
  const template = event.target.closest?.("[data-template]");
  if (template) {
    event.preventDefault();
    const prompt = document.getElementById("f-prompt");
    prompt.value = template.dataset.template;
    prompt.dispatchEvent(new Event("input", { bubbles: true }));
    prompt.focus();
    return;
  }
  if (event.target.closest?.("[data-dice]")) {
    const seed = document.getElementById("f-seed");
    seed.value = String(crypto.getRandomValues(new Uint32Array(1))[0] >>> 1);
    seed.dispatchEvent(new Event("input", { bubbles: true }));
    say(`Seed ${seed.value}.`);
    return;
  }
  if (event.target.closest?.("[data-more-addresses]")) {
    const list = document.querySelector("[data-address-list]");
    const row = list.lastElementChild.cloneNode(true);
    const number = list.children.length + 1;
    for (const field of row.querySelectorAll("input")) {
      if (field.id) field.id = field.id.replace(/\d+$/, number);
      if (field.dataset.mirrors) field.dataset.mirrors = field.dataset.mirrors.replace(/\d+$/, number);
      field.value = field.name === "address" ? "" : "1";
    }
    list.append(row);
    row.querySelector("input[name=address]").focus();
  }
});

// Ctrl or Cmd with Enter draws from within the prompt.
document.addEventListener("keydown", (event) => {
  if (event.target.id === "f-prompt" && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form().requestSubmit(document.getElementById("create-draw"));
  }
});

// Enter in the grid's values draws the grid, not what the first button of the form draws.
document.addEventListener("keydown", (event) => {
  if (!["f-x_values", "f-y_values"].includes(event.target.id) || event.key !== "Enter") return;
  event.preventDefault();
  form().requestSubmit(form().querySelector("button[value=grid]"));
});

// A new generation is in sight, and is told of.
document.addEventListener("htmx:after:swap", (event) => {
  const results = document.getElementById("results");
  const newest = results?.querySelector("[data-generation]");
  if (!newest || newest.dataset.seen || event.target.id === "create-form") return;
  newest.dataset.seen = "";
  results.querySelector("[data-recent], .empty")?.remove();
  // What was refused before is taken now.
  for (const old of form().querySelectorAll("[role=alert], .field-error")) old.remove();
  for (const field of form().querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  const kept = Object.keys(sessionStorage).find((name) => name === "limner-form:create");
  if (kept) sessionStorage.removeItem(kept);
  say("Drawing has begun.");
  const { top } = newest.getBoundingClientRect();
  if (top < 0 || top > innerHeight - 120) newest.scrollIntoView({ block: "start" });
});

for (const made of document.querySelectorAll("#results [data-generation]")) made.dataset.seen = "";
arrange();
fillIn();
// Fields that the browser or keepform.js filled in anew may not match the prices that were sent.
if (!form().hasAttribute("data-not-looked")) askSoon(0);
