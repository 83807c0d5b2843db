// Log in with an API key. A dialog over the page, so that nothing that was typed is lost.

import { ask, element, messageOf } from "./dom.js";
import { t } from "./words.js";

let waiting = null;

/** Show the dialog until the viewer is logged in. */
export function logIn() {
  waiting ??= show().finally(() => { waiting = null; });
  return waiting;
}

function show() {
  return new Promise((resolve) => {
    const key = element("input", { type: "password", autocomplete: "current-password", required: true, maxlength: "200" });
    const problem = element("p", { class: "problem", role: "alert" });
    const dialog = element("dialog", { class: "card dialog", "aria-labelledby": "login-title" },
      element("form", { method: "dialog", onsubmit: submit },
        element("h2", { id: "login-title" }, t("Log in")),
        element("p", { class: "faint" }, t("Use an API key with the scope view or operate. Its scopes say what you may do here.")),
        element("label", {}, t("API key"), key),
        problem,
        element("div", { class: "actions" }, element("button", { class: "primary" }, t("Log in")))));
    let isDone = false;
    dialog.addEventListener("close", () => { if (!isDone) dialog.showModal(); }); // Escape may not end it

    async function submit(event) {
      event.preventDefault();
      problem.textContent = "";
      try {
        await ask("/data/session", { method: "POST", body: key.value });
      } catch (error) {
        problem.textContent = error.status === 401 ? t("This key is not valid.") : messageOf(error);
        key.select();
        return;
      }
      isDone = true;
      dialog.close();
      dialog.remove();
      resolve();
    }

    document.body.append(dialog);
    dialog.showModal();
  });
}

/** End the session and begin anew. */
export async function logOut() {
  await ask("/data/session", { method: "DELETE" });
  location.assign("/");
}
