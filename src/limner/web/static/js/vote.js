// Votes by keyboard: the arrows choose, down skips, u takes back. Each is a press of a button that is on the page.

const keys = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "skip", u: "undo", U: "undo" };
const place = document.getElementById("vote");

document.addEventListener("keydown", (event) => {
  const wanted = keys[event.key];
  if (!wanted || event.repeat || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.target.closest("input, textarea, select, dialog, .menu")) return;
  const button = place.querySelector(`button[name=do][value=${wanted}]`);
  if (!button) return;
  event.preventDefault();
  button.click();
});

// The pair that comes takes the place of the one that was voted on: the focus stays on the same side of it.
let held = "";

document.addEventListener("htmx:before:request", (event) => {
  if (place.contains(event.target)) held = document.activeElement?.value ?? "";
});

document.addEventListener("htmx:after:swap", () => {
  if (document.activeElement && document.activeElement !== document.body) return;
  const again = held && place.querySelector(`button[name=do][value="${CSS.escape(held)}"]`);
  (again || place.querySelector("button[name=do]"))?.focus({ preventScroll: true });
});
