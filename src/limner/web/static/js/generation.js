// A generation: at most two pictures ticked to be compared, and favourites without leaving the page.

function picks(form) {
  const all = [...document.querySelectorAll(`input[name=pick][form="${form.id}"]`)];
  const ticked = all.filter((one) => one.checked);
  const button = form.querySelector("[data-compare]");
  button.disabled = ticked.length !== 2;
  form.querySelector("span.small").textContent =
    ticked.length === 2 ? "" : ticked.length === 1 ? "Tick one more." : "Tick two pictures first.";
  for (const one of all) one.disabled = ticked.length === 2 && !one.checked;
}

const allPicks = () => document.querySelectorAll("form.generation-compare").forEach(picks);

document.addEventListener("change", (event) => {
  if (event.target.name === "pick" && event.target.form) picks(event.target.form);
});

document.addEventListener("htmx:after:swap", allPicks);
addEventListener("pageshow", allPicks);

// Posts a form without leaving the page. Whether it was taken; what was not is told in these words.
async function post(form, body, refused) {
  const answer = await fetch(form.action, {
    method: "POST",
    body,
    headers: { "HX-Request": "true", "X-CSRF-Token": document.querySelector('meta[name="csrf-token"]').content },
  }).catch(() => null);
  form.dispatchEvent(new CustomEvent("limner:free", { bubbles: true }));
  document.dispatchEvent(new CustomEvent("limner:fail", { detail: answer?.ok ? "" : refused }));
  return Boolean(answer?.ok);
}

// Stopping leaves the visitor where the pictures arrive.
document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (event.defaultPrevented || !form.action.endsWith("/cancel") || !form.closest("[data-generation]")) return;
  event.preventDefault();
  if (!(await post(form, new FormData(form), "It was not stopped. Try again."))) return;
  document.dispatchEvent(new CustomEvent("limner:say", { detail: "Stopping. Pictures that are drawn are kept." }));
});

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("[data-favourite]")) return;
  event.preventDefault();
  const button = form.querySelector("button");
  const wanted = button.value === "1";
  const body = new FormData(form);
  body.set("favourite", button.value);
  if (!(await post(form, body, "The favourite was not kept. Try again."))) return;
  button.value = wanted ? "0" : "1";
  button.setAttribute("aria-pressed", String(wanted));
});

allPicks();
