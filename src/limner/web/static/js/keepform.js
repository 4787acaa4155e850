// Keeps what is typed into a form [data-keep=key] until it is sent and taken: a reload, an expired session or a lost
// connection loses nothing. Passwords, files and hidden fields are never kept.

const prefix = "limner-form:";
const kind = document.querySelector('meta[name="limner-page"]')?.content ?? "page";
const entry = performance.getEntriesByType("navigation")[0];
const came = entry?.type ?? "navigate";

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

function fill(form, kept) {
  let changed = false;
  const seen = {};
  for (const field of fields(form)) {
    const place = (seen[field.name] = (seen[field.name] ?? -1) + 1);
    const list = kept[field.name] ?? [];
    if (field.type === "checkbox" || field.type === "radio") {
      const found = list.find((pair) => pair[0] === field.value);
      if (!found || found[1] === field.checked) continue;
      field.checked = found[1];
    } else if (list[place] === undefined) {
      continue;
    } else if (field.multiple) {
      for (const option of field.options) option.selected = list[place].includes(option.value);
    } else {
      if (list[place] === field.value) continue;
      const before = field.value;
      field.value = list[place];
      // A select that no longer offers the kept choice keeps its own.
      if (field.value !== list[place]) {
        field.value = before;
        continue;
      }
    }
    changed = true;
    for (const name of ["input", "change"]) field.dispatchEvent(new Event(name, { bubbles: true }));
  }
  return changed;
}

function tell(form) {
  const template = document.getElementById("kept-notice");
  if (!template) return;
  const notice = template.content.firstElementChild.cloneNode(true);
  notice.querySelector("button").addEventListener("click", () => {
    form.reset();
    write(nameOf(form), null);
    notice.remove();
    document.dispatchEvent(new CustomEvent("limner:say", { detail: "Put back." }));
    form.querySelector("input:not([type=hidden]), textarea, select")?.focus();
  });
  form.prepend(notice);
  document.dispatchEvent(new CustomEvent("limner:say", { detail: "What you had typed was put back." }));
}

// A login, an error or the form itself came in place of the answer: what was sent was not taken.
const refused = kind === "login" || kind === "error" || (entry?.responseStatus ?? 200) >= 400;
for (const name of Object.keys(sessionStorage).filter((key) => key.startsWith(prefix))) {
  const kept = read(name);
  if (!kept?.sent) continue;
  const here = [...document.querySelectorAll("form[data-keep]")].some((form) => nameOf(form) === name);
  if (refused || (here && came !== "navigate")) write(name, { ...kept, sent: false });
  else write(name, null);
}

for (const form of document.querySelectorAll("form[data-keep]")) {
  const kept = read(nameOf(form));
  if (kept && fill(form, kept.values)) tell(form);
}

let timer = 0;
document.addEventListener("input", (event) => {
  const form = event.target.form;
  if (!form?.matches("[data-keep]")) return;
  clearTimeout(timer);
  timer = setTimeout(() => write(nameOf(form), { sent: false, values: values(form) }), 250);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || !form.matches("[data-keep]")) return;
  clearTimeout(timer);
  write(nameOf(form), { sent: true, values: values(form) });
});

addEventListener("pagehide", () => {
  clearTimeout(timer);
  for (const form of document.querySelectorAll("form[data-keep]")) {
    const kept = read(nameOf(form));
    if (kept && !kept.sent) write(nameOf(form), { sent: false, values: values(form) });
  }
});
