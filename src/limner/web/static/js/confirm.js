// Asks before a form [data-confirm] or a submit button [data-confirm] is sent.
// data-confirm: what will happen. data-confirm-title and data-confirm-action: the dialog's heading and button.

const dialog = document.getElementById("confirm");
const agreed = new WeakSet();
let waiting = null;

document.addEventListener(
  "submit",
  (event) => {
    const form = event.target;
    const asks = [event.submitter, form].find((element) => element?.dataset?.confirm);
    if (!asks || !dialog || form.method === "dialog") return;
    if (agreed.delete(form)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const action = form.getAttribute("action");
    waiting = { form, submitter: event.submitter, asks, action, words: asks.dataset.confirm };
    dialog.querySelector("[data-slot=title]").textContent = asks.dataset.confirmTitle ?? "Are you sure?";
    dialog.querySelector("[data-slot=text]").textContent = asks.dataset.confirm;
    dialog.querySelector("[data-slot=action]").textContent =
      asks.dataset.confirmAction ?? event.submitter?.textContent.trim() ?? "Go on";
    dialog.returnValue = "";
    dialog.showModal();
  },
  true,
);

dialog?.addEventListener("close", () => {
  const asked = waiting;
  waiting = null;
  if (!asked || dialog.returnValue !== "yes") return;
  // A page that is live may have changed behind the dialog: what was agreed to is done, or nothing.
  const { form, asks, action, words } = asked;
  const same = form.isConnected && form.getAttribute("action") === action && asks.dataset.confirm === words;
  if (!same) {
    document.dispatchEvent(new CustomEvent("limner:fail", { detail: "The page has changed meanwhile. Nothing was sent." }));
    return;
  }
  agreed.add(form);
  form.requestSubmit(asked.submitter?.isConnected ? asked.submitter : null);
  agreed.delete(form);
});
