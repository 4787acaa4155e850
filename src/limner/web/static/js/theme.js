// The theme switch: a button [data-theme-toggle], and radios [data-theme-choice] with auto, light or dark.
// Charts on a canvas listen for "limner:theme" on document and read their colours anew.

const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");

const chosen = () => root.dataset.theme ?? "auto";
const shown = () => (chosen() === "auto" ? (dark.matches ? "dark" : "light") : chosen());

function choose(theme) {
  if (theme === "auto") delete root.dataset.theme;
  else root.dataset.theme = theme;
  try {
    if (theme === "auto") localStorage.removeItem("limner-theme");
    else localStorage.setItem("limner-theme", theme);
  } catch {
    // Storage may be forbidden: the choice then lasts as long as the page.
  }
  show();
}

function show() {
  const theme = shown();
  for (const button of document.querySelectorAll("[data-theme-toggle]")) {
    button.setAttribute("aria-label", theme === "dark" ? "Switch to light" : "Switch to dark");
    for (const icon of button.querySelectorAll("[data-theme-icon]")) icon.hidden = icon.dataset.themeIcon !== theme;
  }
  for (const radio of document.querySelectorAll("[data-theme-choice]")) radio.checked = radio.value === chosen();
  document.dispatchEvent(new CustomEvent("limner:theme", { detail: theme }));
}

document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-theme-toggle]")) return;
  const wanted = shown() === "dark" ? "light" : "dark";
  // Back to what the system wishes: then follow it again.
  choose(wanted === (dark.matches ? "dark" : "light") ? "auto" : wanted);
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-theme-choice]")) choose(event.target.value);
});

addEventListener("storage", (event) => {
  if (event.key !== "limner-theme") return;
  if (event.newValue) root.dataset.theme = event.newValue;
  else delete root.dataset.theme;
  show();
});

dark.addEventListener("change", show);
show();
