// Event streams: says when one is interrupted, marks what may be old, and takes the marks off when it is back.
// Works on every element with hx-sse:connect; nothing to write on the page but data-live where old matter is dimmed.

const notice = document.getElementById("connection");
const lost = new Set();

function show() {
  for (const element of lost) if (!element.isConnected) lost.delete(element);
  if (!notice) return;
  const changed = notice.hidden === lost.size > 0;
  notice.hidden = lost.size === 0;
  if (changed) {
    const words = lost.size ? "Connection lost. Trying again; the work goes on." : "Connected again.";
    document.dispatchEvent(new CustomEvent("limner:say", { detail: words }));
  }
}

document.addEventListener("htmx:sse:error", (event) => {
  lost.add(event.target);
  event.target.closest("[data-live]")?.setAttribute("data-stale", "");
  show();
});

for (const name of ["htmx:sse:after:connection", "htmx:sse:close"]) {
  document.addEventListener(name, (event) => {
    lost.delete(event.target);
    event.target.closest?.("[data-live]")?.removeAttribute("data-stale");
    show();
  });
}

// The extension reconnects a stream that was open once; a first attempt that fails is ours to repeat.
for (const name of ["htmx:error", "htmx:response:error"]) {
  document.addEventListener(name, (event) => {
    const element = event.target;
    const url = element.getAttribute?.("hx-sse:connect");
    if (!url) return;
    // What an error says must not take the place of what the stream brought.
    event.detail.ctx.swap = "none";
    lost.add(element);
    show();
    setTimeout(() => {
      if (element.isConnected && lost.has(element)) globalThis.htmx.ajax("GET", url, { source: element });
    }, 3000);
  });
}
