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
    waiting = { form, submitter: event.submitter };
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
  if (!asked || dialog.returnValue !== "yes" || !asked.form.isConnected) return;
  agreed.add(asked.form);
  asked.form.requestSubmit(asked.submitter?.isConnected ? asked.submitter : null);
  agreed.delete(asked.form);
});
