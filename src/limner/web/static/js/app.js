// What every page needs: the CSRF header, announcements, dialogs, menus, mirrored ranges, the reader's own time.

const region = document.getElementById("live");

function say(text) {
  if (!region) return;
  // The same text twice would not be read out: empty it first.
  region.textContent = "";
  setTimeout(() => (region.textContent = text), 50);
}

document.addEventListener("limner:say", (event) => say(event.detail));

// What failed is seen by all, and read out as well: the notices are a status. Without words the last one is taken away.
function fail(text) {
  const notices = document.getElementById("notices");
  const template = document.getElementById("failed-notice");
  if (!notices || !template) return;
  document.querySelector("[data-failed]")?.remove();
  if (!text) return;
  const notice = template.content.firstElementChild.cloneNode(true);
  notice.querySelector("p").textContent = text;
  notice.querySelector("button").addEventListener("click", () => notice.remove());
  if (!notices.closest("[inert]")) return notices.replaceChildren(notice);
  // Something covers the page, such as the viewer of pictures.
  notice.setAttribute("role", "alert");
  document.body.append(notice);
}

document.addEventListener("limner:fail", (event) => fail(event.detail));

// --- requests ---

document.addEventListener("htmx:config:request", (event) => {
  const { request } = event.detail.ctx;
  const token = document.querySelector('meta[name="csrf-token"]')?.content;
  if (token && request.method !== "GET") request.headers["X-CSRF-Token"] = token;
});

// --- dialogs: [data-opens=id] opens, [data-closes] closes; Escape is the browser's ---

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) {
    const dialog = document.getElementById(opener.dataset.opens);
    if (dialog instanceof HTMLDialogElement) {
      event.preventDefault();
      dialog.showModal();
    }
  }
  event.target.closest("[data-closes]")?.closest("dialog")?.close();
  if (event.target instanceof HTMLDialogElement && event.target.hasAttribute("data-light")) event.target.close();
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.activeElement?.closest?.("details.menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// --- ranges: the number field is what is sent, the slider [data-mirrors=id] follows it and leads it ---

document.addEventListener("input", (event) => {
  const { target } = event;
  if (target.dataset?.mirrors) {
    const field = document.getElementById(target.dataset.mirrors);
    if (!field) return;
    field.value = target.value;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  } else if (target.id && target.type === "number") {
    const slider = document.querySelector(`[data-mirrors="${CSS.escape(target.id)}"]`);
    if (slider && target.value !== "") slider.value = target.value;
  }
});

// --- times ---

const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const steps = [
  [60, "second", 1],
  [3600, "minute", 60],
  [86400, "hour", 3600],
  [604800, "day", 86400],
];

function tell(time) {
  const at = new Date(time.dateTime);
  if (Number.isNaN(at.valueOf())) return;
  const local = exact.format(at);
  let words = local;
  if (time.dataset.when === "ago") {
    const seconds = (at - Date.now()) / 1000;
    const step = steps.find(([limit]) => Math.abs(seconds) < limit);
    if (step) words = Math.abs(seconds) < 10 ? "now" : relative.format(Math.round(seconds / step[2]), step[1]);
    time.title = local;
  }
  if (time.textContent !== words) time.textContent = words;
}

const tellAll = (from) => from.querySelectorAll?.("time[data-when]").forEach(tell);

// The server counts days and months as the times are told here.
document.cookie = `limner_zone=${exact.resolvedOptions().timeZone}; Path=/; Max-Age=31536000; SameSite=Lax`;

tellAll(document);
document.addEventListener("htmx:after:swap", () => tellAll(document));
setInterval(() => tellAll(document), 30_000);
