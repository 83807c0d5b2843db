// Start the console: the navigation, the theme, and one page at a time.

import { element, fetchJson, onLogin } from "./dom.js";
import { logIn, logOut } from "./login.js";

const page = document.getElementById("page");
let leave = () => {};
let visits = 0;

/** Show the page of the current address. */
async function show(start) {
  leave();
  leave = () => {};
  const visit = (visits += 1);
  const path = location.pathname;
  const entry = start.pages.find((each) => each.path === path) ?? start.pages.find((each) => each.path !== "/" && path.startsWith(`${each.path}/`));
  mark(path);
  if (!entry) {
    page.replaceChildren(element("h1", {}, "There is no such page"), element("a", { href: "/" }, "Go to Now"));
    return;
  }
  const module = await import(`./pages/${entry.name}.js`);
  if (visit !== visits) return; // the viewer went on while the script was loaded
  leave = module.show(page, { start, open: (address) => open(start, address) }) ?? (() => {});
}

/** Go to another address of the console without loading the document again. */
function open(start, address, { replaces = false } = {}) {
  if (address === location.pathname + location.search) return;
  history[replaces ? "replaceState" : "pushState"](null, "", address);
  show(start);
  page.focus({ preventScroll: true });
}

function mark(path) {
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.pathname === path || (link.pathname !== "/" && path.startsWith(`${link.pathname}/`))) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function navigation(start) {
  const boards = start.boards.map((board) => element("a", { href: `/dashboards/${board.uid}`, title: board.question }, board.name));
  const items = start.pages.map((each) =>
    each.name === "dashboards"
      ? element("div", { class: "group" }, element("h2", {}, each.title), boards)
      : element("a", { href: each.path, class: "first" }, each.title));
  document.getElementById("nav").replaceChildren(...items);
  document.getElementById("version").textContent = start.version;
  document.getElementById("viewer").replaceChildren(...viewer(start.viewer));
}

/** Say who looks, and what they may do. */
function viewer({ name, scopes }) {
  if (!name) return [element("span", { title: "The console has no API keys. Only this machine reaches it." }, "No login: everyone on this machine may act")];
  const role = scopes.includes("operate") ? "operator" : "viewer";
  return [element("span", {}, `${name}, ${role}`), element("button", { type: "button", class: "quiet", onclick: logOut }, "Log out")];
}

function themes() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const name = () => { button.textContent = root.dataset.theme === "dark" ? "Light theme" : "Dark theme"; };
  button.addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("theme", root.dataset.theme);
    } catch {
      // Storage may be forbidden; the choice then lasts until the page is loaded again.
    }
    name();
    dispatchEvent(new Event("themechange"));
  });
  name();
}

async function begin() {
  themes();
  onLogin(logIn);
  let start;
  try {
    start = await fetchJson("/data/start");
  } catch (error) {
    page.replaceChildren(element("p", { class: "problem", role: "alert" }, error.message));
    return;
  }
  navigation(start);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
    if (!link || !plain || link.origin !== location.origin || link.target || link.hash) return;
    event.preventDefault();
    open(start, link.pathname + link.search);
  });
  addEventListener("popstate", () => show(start));
  await show(start);
}

begin();
