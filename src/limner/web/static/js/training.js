// A run's page: the log stays at its end unless somebody reads further up; the end of the run is said.

const run = document.querySelector("[data-training]");

let atEnd = true;
document.addEventListener(
  "scroll",
  (event) => {
    const log = event.target;
    if (log.matches?.("[data-log]")) atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
  },
  true,
);

function toEnd() {
  const log = document.querySelector("[data-log]");
  if (log && atEnd) log.scrollTop = log.scrollHeight;
}

// What somebody has opened stays open while the page is renewed around it.
const opened = new Set();
run?.addEventListener("click", (event) => {
  const part = event.target.closest("summary")?.parentElement;
  // The click comes before the change.
  if (part?.id) opened[part.open ? "delete" : "add"](part.id);
});

function reopen() {
  for (const id of opened) {
    const part = document.getElementById(id);
    if (part && !part.open) part.open = true;
  }
}

if (run) {
  new MutationObserver(reopen).observe(run, { subtree: true, childList: true, attributeFilter: ["open"] });
  new MutationObserver(toEnd).observe(run, { subtree: true, childList: true, characterData: true });
  toEnd();
  const state = () => document.querySelector("#run-head .badge")?.textContent.trim() ?? "";
  let said = state();
  new MutationObserver(() => {
    if (state() === said) return;
    said = state();
    document.dispatchEvent(new CustomEvent("limner:say", { detail: `The training: ${said.toLowerCase()}.` }));
  }).observe(run, { subtree: true, childList: true, characterData: true });
}
