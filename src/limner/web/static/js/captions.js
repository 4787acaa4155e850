// Captions edited in place: leaving one saves it; Enter saves and goes on, Shift+Enter goes back, Ctrl+Enter stays,
// Escape puts back what was saved; the arrows leave a caption at its ends. The forms post by themselves without this.

const say = (text) => document.dispatchEvent(new CustomEvent("limner:say", { detail: text }));
const texts = () => [...document.querySelectorAll(".caption-text")];
// By text area: what the server has, what is on its way there, and what it did not take.
const saved = new WeakMap();
const sending = new WeakMap();
const refusals = new WeakMap();

for (const text of texts()) {
  saved.set(text, text.value);
  text.form.toggleAttribute("data-live", true);
}

function tell(form, words, tone = "") {
  const state = form.querySelector("[data-state]");
  if (!state) return;
  state.textContent = words;
  state.dataset.tone = tone;
  const text = form.querySelector(".caption-text");
  form.toggleAttribute("data-dirty", text.value.trim() !== saved.get(text));
}

function save(text) {
  const value = text.value.trim();
  // One at a time: what was typed meanwhile is sent when the answer is there.
  if (sending.has(text) || value === saved.get(text) || value === refusals.get(text)) return;
  text.value = value;
  text.form.requestSubmit();
  tell(text.form, "Saving");
}

function go(text, step) {
  const all = texts();
  const next = all[all.indexOf(text) + step];
  if (!next) {
    save(text);
    say(step > 0 ? "That was the last caption." : "That is the first caption.");
    return;
  }
  // Focus first: rows out of sight are laid out when they get it.
  next.focus({ preventScroll: true });
  const at = step > 0 ? next.value.length : 0;
  next.setSelectionRange(at, at);
  next.closest(".photo-row")?.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  const text = event.target.closest?.(".caption-text");
  if (!text || event.isComposing || event.altKey || event.metaKey) return;
  const alone = !event.shiftKey && !event.ctrlKey;
  if (event.key === "Enter") {
    event.preventDefault();
    if (event.ctrlKey || texts().length === 1) save(text);
    else go(text, event.shiftKey ? -1 : 1);
  } else if (event.key === "Escape") {
    text.value = saved.get(text);
    text.removeAttribute("aria-invalid");
    text.form.parentElement.querySelector(".photo-said .field-error")?.remove();
    tell(text.form, "Put back");
  } else if (alone && event.key === "ArrowDown" && text.selectionStart === text.value.length && texts().length > 1) {
    event.preventDefault();
    go(text, 1);
  } else if (alone && event.key === "ArrowUp" && text.selectionEnd === 0 && texts().length > 1) {
    event.preventDefault();
    go(text, -1);
  }
});

document.addEventListener("focusout", (event) => {
  const text = event.target.closest?.(".caption-text");
  if (text) save(text);
});

document.addEventListener("input", (event) => {
  if (event.target.matches?.(".caption-text")) tell(event.target.form, "Not saved yet");
});

// --- what the server answered ---

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-caption]")) return;
  const text = form.querySelector(".caption-text");
  sending.set(text, text.value.trim());
});

function settle(said) {
  const short = said.id.slice("said-".length);
  const text = document.getElementById(`caption-${short}`);
  if (!text) return;
  const refused = said.hasAttribute("data-refused");
  const sent = sending.get(text) ?? text.value.trim();
  sending.delete(text);
  refusals.delete(text);
  (refused ? refusals : saved).set(text, sent);
  if (refused) text.setAttribute("aria-invalid", "true");
  else text.removeAttribute("aria-invalid");
  tell(text.form, refused ? "Not saved" : text.value ? "Saved" : "From the template", refused ? "bad" : "good");
  say(refused ? (said.querySelector(".field-error")?.textContent.trim() ?? "Not saved.") : "Caption saved.");
  if (document.activeElement !== text) save(text);
}

new MutationObserver((changes) => {
  for (const change of changes) {
    for (const node of change.addedNodes) {
      if (node.nodeType !== Node.ELEMENT_NODE) continue;
      const said = node.matches(".photo-said") ? node : node.querySelector(".photo-said");
      if (said) settle(said);
    }
  }
}).observe(document.getElementById("main") ?? document.body, { childList: true, subtree: true });

document.addEventListener("htmx:error", (event) => {
  const form = event.target.closest?.("[data-caption]");
  if (!form) return;
  sending.delete(form.querySelector(".caption-text"));
  tell(form, "Not saved: no answer", "bad");
});

// An answer that is none of ours, such as a login: nothing was saved, and the next try is not held back.
document.addEventListener("htmx:after:request", (event) => {
  const text = event.target.closest?.("[data-caption]")?.querySelector(".caption-text");
  if (!text) return;
  setTimeout(() => {
    if (!sending.delete(text)) return;
    tell(text.form, "Not saved", "bad");
    say("The caption was not saved.");
  }, 1500);
});

// What the server has not got is not lost by a click on a link elsewhere: a caption, or a crop beside it.
addEventListener("beforeunload", (event) => {
  if (document.querySelector("form[data-dirty]")) event.preventDefault();
});
