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

// The extension reconnects a stream that was open once, after waits that grow to a minute: too long for a server next door.
globalThis.htmx.config.sse = { ...globalThis.htmx.config.sse, reconnectMaxDelay: 5000 };

// What an error says must not take the place of what the stream brought.
for (const name of ["htmx:error", "htmx:response:error"]) {
  document.addEventListener(name, (event) => {
    const element = event.target;
    if (!element.getAttribute?.("hx-sse:connect")) return;
    if (event.detail?.ctx) event.detail.ctx.swap = "none";
    lost.add(element);
    show();
  });
}

// A first attempt that fails is ours to repeat, however it failed: whatever has no stream and has not ended gets one.
const over = new WeakSet();
document.addEventListener("htmx:sse:close", (event) => {
  if (event.detail?.reason === "message") over.add(event.target);
});
const waited = new WeakSet();
setInterval(() => {
  for (const element of document.querySelectorAll("[hx-sse\\:connect]")) {
    if (over.has(element) || element._htmx?.sse) {
      waited.delete(element);
    } else if (waited.has(element)) {
      waited.delete(element);
      globalThis.htmx.ajax("GET", element.getAttribute("hx-sse:connect"), { source: element });
    } else {
      // It may just be connecting: looked at once more.
      waited.add(element);
    }
  }
}, 2500);
