// A form that posts is sent once: further clicks do nothing until the answer is there.
// A form whose answer is a download stays on the page: give it data-once="off".
// A script that posts a form by itself dispatches limner:free on it when the answer is there.

const sent = new Set();

function free(form) {
  sent.delete(form);
  for (const button of form.querySelectorAll("[aria-busy=true]")) button.removeAttribute("aria-busy");
}

document.addEventListener(
  "submit",
  (event) => {
    const form = event.target;
    if (form.method !== "post" && !form.matches("[hx-post]")) return;
    if (form.dataset.once === "off") return;
    if (sent.has(form)) {
      event.preventDefault();
      event.stopImmediatePropagation();
      return;
    }
    sent.add(form);
    // Not disabled: a disabled button would be left out of what is sent, and would lose the focus.
    event.submitter?.setAttribute("aria-busy", "true");
  },
  true,
);

document.addEventListener("htmx:finally:request", (event) => {
  const form = event.target.closest?.("form");
  if (form) free(form);
});

document.addEventListener("limner:free", (event) => free(event.target));

addEventListener("pageshow", (event) => {
  if (event.persisted) for (const form of [...sent]) free(form);
});
