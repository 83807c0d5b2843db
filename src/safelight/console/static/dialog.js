// A dialog that asks before something is done, and stays open with the reason if it fails.

import { element, messageOf } from "./dom.js";
import { t } from "./words.js";

/**
 * Ask with a form. `act` gets the form's values; the dialog closes when it has succeeded.
 * Returns whether it was done.
 */
export function askFor({ title, text = "", fields = [], verb, danger = false, act }) {
  return new Promise((resolve) => {
    const problem = element("p", { class: "problem", role: "alert" });
    const submit = element("button", { class: danger ? "danger" : "primary" }, verb);
    const cancel = element("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, t("Cancel"));
    const working = element("p", { class: "faint", role: "status", hidden: true }, t("Working …"));
    const form = element("form", { onsubmit: send },
      element("h2", { id: "dialog-title" }, title),
      text ? element("p", {}, text) : null,
      fields, problem, working, element("div", { class: "actions" }, submit, cancel));
    const dialog = element("dialog", { class: "card dialog", "aria-labelledby": "dialog-title" }, form);
    let done = false;
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(done);
    });

    async function send(event) {
      event.preventDefault();
      submit.disabled = true;
      problem.textContent = "";
      working.hidden = false;
      cancel.textContent = t("Close"); // what was begun goes on
      try {
        await act(Object.fromEntries(new FormData(form)));
        done = true;
        dialog.close();
      } catch (error) {
        problem.textContent = messageOf(error);
      }
      submit.disabled = false;
      working.hidden = true;
      cancel.textContent = t("Cancel");
    }

    document.body.append(dialog);
    dialog.showModal();
    if (danger) cancel.focus(); // Enter alone must not do it
  });
}

/** Return a labelled field of a form. */
export function field(label, control, hint = "") {
  return element("label", {}, label, control, hint ? element("span", { class: "faint" }, hint) : null);
}

/** Return a list of choices: pairs of value and text. */
export function choice(name, pairs, chosen) {
  return element("select", { name }, pairs.map(([value, text]) => element("option", { value, selected: value === chosen }, text)));
}
