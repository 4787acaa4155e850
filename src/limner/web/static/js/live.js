// What renews itself, by an event stream (hx-sse:connect) or every few seconds (hx-trigger="every …"): says when that is
// interrupted, marks what may be old, and takes the marks off when it is back. Nothing to write on the page but data-live
// where old matter is dimmed. What the visitor asked for is told of as soon as it fails.

const notice = document.getElementById("connection");
const lost = new Set();
// What has ended, or is gone: it is not asked for again.
const over = new WeakSet();

const isStream = (element) => Boolean(element?.hasAttribute?.("hx-sse:connect"));
const isPoll = (element) => /\bevery\b/.test(element?.getAttribute?.("hx-trigger") ?? "");
const say = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));

function show() {
  for (const element of lost) if (!element.isConnected) lost.delete(element);
  if (!notice) return;
  const changed = notice.hidden === lost.size > 0;
  notice.hidden = lost.size === 0;
  if (changed) say("limner:say", lost.size ? "Connection lost. Trying again; the work goes on." : "Connected again.");
}

function lose(element) {
  lost.add(element);
  element.closest?.("[data-live]")?.setAttribute("data-stale", "");
  show();
}

function found(element) {
  lost.delete(element);
  element.closest?.("[data-live]")?.removeAttribute("data-stale");
  show();
}

// An answer that will not be another one the next time: who has no session is led to the login, what is gone stays as it was.
function refused(element, status) {
  if (status < 400 || status >= 500 || status === 408 || status === 429) return false;
  if (status === 401) {
    location.replace(location.pathname + location.search);
    return true;
  }
  over.add(element);
  found(element);
  const gone = status === 404 || status === 410;
  say("limner:fail", gone ? "This is gone. What you see here is how it was." : "This page is renewed no more. Load it again.");
  return true;
}

document.addEventListener("htmx:sse:error", (event) => {
  if (!refused(event.target, event.detail.status ?? 0)) lose(event.target);
});

document.addEventListener("htmx:sse:before:connection", (event) => {
  if (over.has(event.target)) event.preventDefault();
});

for (const name of ["htmx:sse:after:connection", "htmx:sse:close"]) {
  document.addEventListener(name, (event) => found(event.target));
}

// The extension reconnects a stream that was open once, after waits that grow to a minute: too long for a server next door.
globalThis.htmx.config.sse = { ...globalThis.htmx.config.sse, reconnectMaxDelay: 5000 };

// What an error says must not take the place of what was there, nor be told again at every attempt.
for (const name of ["htmx:error", "htmx:response:error"]) {
  document.addEventListener(name, (event) => {
    const { ctx } = event.detail ?? {};
    const element = ctx?.sourceElement;
    if (!isStream(element) && !isPoll(element)) {
      if (ctx && !ctx.response) say("limner:fail", "Limner did not answer. Nothing was changed; try again.");
      return;
    }
    ctx.swap = "none";
    if (ctx.hx) ctx.hx.reswap = "none";
    if (!refused(element, ctx.response?.status ?? 0)) lose(element);
  });
}

document.addEventListener("htmx:after:request", (event) => {
  const { ctx } = event.detail;
  // A stream's request ends when its line breaks: no success that takes back what was said since.
  if (ctx.response.status >= 400 || isStream(ctx.sourceElement)) return;
  if (isPoll(ctx.sourceElement)) found(ctx.sourceElement);
  else say("limner:fail", "");
});

document.addEventListener("htmx:config:request", (event) => {
  if (over.has(event.detail.ctx.sourceElement)) event.preventDefault();
});

// A first attempt that fails is ours to repeat, however it failed: whatever has no stream and has not ended gets one.
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
