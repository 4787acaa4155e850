// Keeps what is typed into a form [data-keep=key] until it is sent and taken: a reload, an expired session or a lost
// connection loses nothing. Passwords, files and hidden fields are never kept. What a link asks for stands over what was
// typed at another address, which is then offered.

const prefix = "limner-form:";
const kind = document.querySelector('meta[name="limner-page"]')?.content ?? "page";
const entry = performance.getEntriesByType("navigation")[0];
const came = entry?.type ?? "navigate";

const here = () => location.pathname + location.search;
// The forms that were typed into on this page, or filled in.
const mine = new WeakSet();

const nameOf = (form) => `${prefix}${form.dataset.keep}`;

function read(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name));
  } catch {
    return null;
  }
}

function write(name, kept) {
  try {
    if (kept) sessionStorage.setItem(name, JSON.stringify(kept));
    else sessionStorage.removeItem(name);
  } catch {
    // Storage is full or forbidden: the form works, it is only not kept.
  }
}

const fields = (form) =>
  [...form.elements].filter((field) => field.name && !["password", "file", "hidden", "submit", "button"].includes(field.type));

function values(form) {
  const kept = {};
  for (const field of fields(form)) {
    const list = (kept[field.name] ??= []);
    if (field.type === "checkbox" || field.type === "radio") list.push([field.value, field.checked]);
    else if (field.multiple) list.push([...field.selectedOptions].map((option) => option.value));
    else list.push(field.value);
  }
  return kept;
}

const stateOf = (field) =>
  field.type === "checkbox" || field.type === "radio"
    ? String(field.checked)
    : JSON.stringify(field.multiple ? [...field.selectedOptions].map((option) => option.value) : field.value);

// Changes fields by change(), and tells the rest of the page of each that is another one then. Whether there was any.
function alter(form, change) {
  const before = new Map(fields(form).map((field) => [field, stateOf(field)]));
  change();
  const changed = [...before.keys()].filter((field) => stateOf(field) !== before.get(field));
  for (const field of changed) {
    for (const name of ["input", "change"]) field.dispatchEvent(new Event(name, { bubbles: true }));
  }
  return changed.length > 0;
}

function put(form, kept) {
  const seen = {};
  for (const field of fields(form)) {
    const place = (seen[field.name] = (seen[field.name] ?? -1) + 1);
    const list = kept[field.name] ?? [];
    if (field.type === "checkbox" || field.type === "radio") {
      const found = list.find((pair) => pair[0] === field.value);
      if (found) field.checked = found[1];
    } else if (list[place] === undefined) {
      continue;
    } else if (field.multiple) {
      for (const option of field.options) option.selected = list[place].includes(option.value);
    } else {
      const before = field.value;
      field.value = list[place];
      // A select that no longer offers the kept choice keeps its own.
      if (field.value !== list[place]) field.value = before;
    }
  }
}

// Whether anything would be another one if it were put in.
function differs(form, kept) {
  const now = values(form);
  put(form, kept);
  const then = values(form);
  put(form, now);
  return JSON.stringify(now) !== JSON.stringify(then);
}

function notify(form, id, act) {
  const template = document.getElementById(id);
  if (!template) return;
  const notice = template.content.firstElementChild.cloneNode(true);
  notice.querySelector("button").addEventListener("click", () => {
    notice.remove();
    act();
    form.querySelector("input:not([type=hidden]), textarea, select")?.focus();
  });
  form.prepend(notice);
}

function fill(form, kept) {
  mine.add(form);
  if (!alter(form, () => put(form, kept))) return;
  notify(form, "kept-notice", () => {
    alter(form, () => form.reset());
    rest();
    mine.delete(form);
    write(nameOf(form), null);
    document.dispatchEvent(new CustomEvent("limner:say", { detail: "Put back." }));
  });
  document.dispatchEvent(new CustomEvent("limner:say", { detail: "What you had typed was put back." }));
}

// The browser fills the fields of a page that is loaded anew or gone back to by itself, and tells nobody.
function tellOfRefilled(form) {
  if (came === "navigate") return;
  const refilled = fields(form).find((field) => {
    if (field.options) return [...field.options].some((option) => option.selected !== option.defaultSelected);
    if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
    return field.value !== field.defaultValue;
  });
  refilled?.dispatchEvent(new Event("change", { bubbles: true }));
}

// A login, an error or the form itself came in place of the answer: what was sent was not taken.
const refused = kind === "login" || kind === "error" || (entry?.responseStatus ?? 200) >= 400;
for (const name of Object.keys(sessionStorage).filter((key) => key.startsWith(prefix))) {
  const kept = read(name);
  if (!kept?.sent) continue;
  const back = [...document.querySelectorAll("form[data-keep]")].some((form) => nameOf(form) === name);
  if (refused || (back && came !== "navigate")) write(name, { ...kept, sent: false });
  else write(name, null);
}

let timer = 0;
// The form that is kept when the timer has run down.
let typed = null;

function rest() {
  clearTimeout(timer);
  typed = null;
}

function keep(form, sent) {
  rest();
  write(nameOf(form), { sent, at: here(), values: values(form) });
}

// After htmx, which begins in a timer of its own: what depends on the fields is asked for anew.
setTimeout(() => {
  for (const form of document.querySelectorAll("form[data-keep]")) {
    tellOfRefilled(form);
    const kept = read(nameOf(form));
    if (!kept || !differs(form, kept.values)) continue;
    if (kept.at === here() || !location.search) fill(form, kept.values);
    else notify(form, "kept-offer", () => fill(form, kept.values));
  }
}, 0);

document.addEventListener("input", (event) => {
  const form = event.target.form;
  if (!form?.matches("[data-keep]")) return;
  mine.add(form);
  if (typed && typed !== form) keep(typed, false);
  clearTimeout(timer);
  typed = form;
  timer = setTimeout(() => keep(form, false), 250);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || !form.matches("[data-keep]")) return;
  keep(form, true);
});

addEventListener("pagehide", () => {
  const last = typed;
  for (const form of document.querySelectorAll("form[data-keep]")) {
    const kept = read(nameOf(form));
    if (form === last || (kept && !kept.sent && mine.has(form))) keep(form, false);
  }
});
