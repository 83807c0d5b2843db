// Start the console: the navigation, the theme, and one page at a time.

import { element, fetchJson, messageOf, onLogin } from "./dom.js";
import { logIn, logOut } from "./login.js";
import { LANGUAGES, choose, joined, language, loadWords, t, told } from "./words.js";

const page = document.getElementById("page");
const NARROW = matchMedia("(max-width: 760px)"); // as in the style sheet: the dashboards are a menu
const AGAIN_MS = 5000;
let leave = () => {};
let shown = 0;

/** Show the page of the current address, unless the viewer goes on while its script is loaded. */
async function show(start) {
  const number = ++shown;
  leave();
  leave = () => {};
  const path = location.pathname;
  const entry = start.pages.find((each) => each.path === path) ?? start.pages.find((each) => each.path !== "/" && path.startsWith(`${each.path}/`));
  mark(path);
  if (!entry) {
    page.replaceChildren(element("h1", {}, t("There is no such page")), element("a", { href: "/" }, t("Go to Now")));
    return;
  }
  try {
    const module = await import(`./pages/${entry.name}.js`);
    if (number !== shown) return;
    leave = module.show(page, { start, open: (address) => open(start, address) }) ?? (() => {});
  } catch (error) {
    if (number === shown) failed(entry, error);
  }
}

/** Say that a page cannot be shown: its script did not come, or it has a fault. */
function failed(entry, error) {
  console.warn(error);
  page.replaceChildren(element("h1", {}, told(entry.title)),
    element("p", { class: "problem", role: "alert" }, t("This page cannot be loaded. Is the console still running?")),
    element("button", { type: "button", onclick: () => location.reload() }, t("Load it again")));
}

/** Go to another address of the console without loading the document again. */
function open(start, address, { replaces = false } = {}) {
  if (address === location.pathname + location.search) return;
  history[replaces ? "replaceState" : "pushState"](null, "", address);
  show(start);
  page.focus({ preventScroll: true });
}

/** Open the list of dashboards where there is room; a menu closes when something was chosen. */
function fold() {
  const group = document.querySelector("#nav .group");
  if (group) group.open = !NARROW.matches;
}

function mark(path) {
  if (NARROW.matches) fold();
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.pathname === path || (link.pathname !== "/" && path.startsWith(`${link.pathname}/`))) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function navigation(start) {
  const boards = start.boards.map((board) => element("a", { href: `/dashboards/${board.uid}`, title: told(board.question) }, told(board.name)));
  const items = start.pages.map((each) =>
    each.name === "dashboards"
      ? element("details", { class: "group", open: !NARROW.matches }, element("summary", {}, element("h2", {}, told(each.title))), boards)
      : element("a", { href: each.path, class: "first" }, told(each.title)));
  document.getElementById("nav").replaceChildren(...items);
  document.getElementById("version").textContent = start.version;
  document.getElementById("viewer").replaceChildren(...viewer(start.viewer));
}

/** Say who looks, and what they may do. */
function viewer({ name, scopes }) {
  if (!name) return [element("span", { title: t("The console has no API keys. Only this machine reaches it.") }, t("No login: everyone on this machine may act"))];
  const role = scopes.includes("operate") ? t("operator") : t("viewer");
  return [element("span", {}, `${name}${t(", ")}${role}`), element("button", { type: "button", class: "quiet", onclick: logOut }, t("Log out"))];
}

function themes() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const name = () => { button.textContent = root.dataset.theme === "dark" ? t("Light theme") : t("Dark theme"); };
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

/** Offer the pages in the other language. */
function languages() {
  const [code, name] = LANGUAGES.find(([each]) => each !== language());
  const button = document.getElementById("language");
  button.textContent = name;
  button.lang = code;
  button.addEventListener("click", () => choose(code));
}

function staticTexts() {
  document.querySelector(".skip").textContent = t("Skip to the page");
  document.getElementById("nav").setAttribute("aria-label", t("Pages"));
}

/** Return what the console has; try again while it does not answer. */
async function readStart() {
  for (;;) {
    try {
      return await fetchJson("/data/start");
    } catch (error) {
      page.replaceChildren(element("p", { class: "problem", role: "alert" }, joined(messageOf(error), t("This page tries again by itself."))));
      await new Promise((resolve) => { setTimeout(resolve, AGAIN_MS); });
    }
  }
}

async function begin() {
  await loadWords();
  staticTexts();
  languages();
  themes();
  onLogin(logIn);
  const start = await readStart();
  onLogin(async () => {
    await logIn();
    const now = await fetchJson("/data/start");
    if (JSON.stringify(now.viewer) !== JSON.stringify(start.viewer)) location.reload(); // somebody else
  });
  navigation(start);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey;
    if (!link || !plain || link.origin !== location.origin || link.target || link.hash) return;
    event.preventDefault();
    open(start, link.pathname + link.search);
  });
  NARROW.addEventListener("change", fold);
  addEventListener("popstate", () => show(start));
  await show(start);
}

begin();
