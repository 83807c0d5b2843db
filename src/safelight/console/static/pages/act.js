// The page Act: what is so at each service now, what operators can do about it, and what they did.

import { askFor } from "../dialog.js";
import { element, fetchJson, messageOf, sendJson } from "../dom.js";
import { ServiceCard } from "../service_card.js";
import { nameOf, readNames, shortOf } from "../services.js";
import { moment } from "../units.js";
import { capital, t, told } from "../words.js";

const EVERY_MS = 5_000;
const SECONDS_IN_MS = 1000;
const REASON = "act-reason";
const ANYONE = "anyone on this machine"; // without keys
const CONSOLE = "the console"; // as the service of an action
const RESULTS = { done: t("done"), refused: t("refused"), failed: t("failed"), unknown: t("unknown"), running: t("running") };
const PARAMETERS = { level: t("level {value}"), model: t("model {value}"), steps: t("steps {value}"), least: t("least {value}") };

/** Show the page; return the function that leaves it. */
export function show(page, { start }) {
  document.title = `${t("Act")} · Safelight`;
  const view = new ActView(page, start);
  view.begin();
  return () => view.leave();
}

class ActView {
  constructor(page, { services, viewer }) {
    this.mayAct = viewer.scopes.includes("operate");
    this.ended = new AbortController();
    this.acts = {};
    this.log = element("div", { class: "act-log" }, element("p", { class: "faint" }, t("Reading …")));
    this.lastLog = "";
    this.services = services;
    this.cards = services.map((address, number) => new ServiceCard(this, address, number));
    const own = element("section", { class: "card act-card", "aria-label": t("This console") },
      element("div", { class: "title" }, element("h2", {}, t("This console"))),
      this.limits = element("div", { class: "act-rows own" }));
    page.replaceChildren(
      element("div", { class: "head" }, element("h1", {}, t("Act"))),
      this.mayAct
        ? element("p", { class: "question" }, t(viewer.name ? "Each action asks first, and is written to the audit log with your name." : "Each action asks first, and is written to the audit log."))
        : element("p", { class: "notice act-notice", id: REASON }, t("You may look, not act: your key has no scope operate. Log in with one that has it, or ask an operator.")),
      element("div", { class: "act-cards" }, this.cards.map((card) => card.node), own),
      element("section", { class: "card block", "aria-label": t("Audit log") },
        element("div", { class: "title" }, element("h2", {}, t("Audit log")), element("span", { class: "faint" }, t("the last 200 actions"))),
        this.log));
  }

  async begin() {
    try {
      const rows = await fetchJson("/data/actions/table", {}, this.ended.signal);
      this.acts = Object.fromEntries(rows.map((row) => [row.name, row]));
    } catch (error) {
      if (error.name !== "AbortError") this.log.replaceChildren(problem(messageOf(error)));
      return;
    }
    this.limits.replaceChildren(this.row(t("Limits"), [element("span", { class: "second" }, t("Of reports, dashboards and alerts, as their files were read last."))], [this.button("reload", 0, () => t("this console"))]));
    this.timer = setInterval(() => this.refresh(), EVERY_MS);
    this.seen = () => this.refresh();
    document.addEventListener("visibilitychange", this.seen);
    this.refresh();
  }

  leave() {
    clearInterval(this.timer);
    document.removeEventListener("visibilitychange", this.seen);
    this.ended.abort();
  }

  /** Read everything again, while somebody looks. */
  async refresh({ afterAction = false } = {}) {
    if (document.hidden || this.ended.signal.aborted) return;
    readNames(this.ended.signal).then((isNew) => { if (isNew) this.rename(); });
    await Promise.all([...this.cards.map((card) => card.refresh(afterAction)), this.readLog()]);
  }

  rename() {
    this.cards.forEach((card) => card.rename());
    this.lastLog = ""; // which has the names too
  }

  async readLog() {
    try {
      const entries = await fetchJson("/data/actions", {}, this.ended.signal);
      const shown = JSON.stringify(entries);
      if (shown !== this.lastLog) this.log.replaceChildren(auditTable(entries, this.services));
      this.lastLog = shown;
    } catch (error) {
      if (error.name === "AbortError") return;
      this.lastLog = "";
      this.log.replaceChildren(problem(messageOf(error)));
    }
  }

  /** Return a row of a card: its name, what is so now, and buttons. */
  row(name, state, buttons = []) {
    return element("div", { class: "act-row", role: "group", "aria-label": name },
      element("h3", {}, name),
      element("div", { class: "act-state" }, state),
      element("div", { class: "act-buttons" }, buttons));
  }

  /** Return the button of an action. `where` returns the place's name at that time; `form` the fields, and how their values become parameters. */
  button(name, number, where, { form = () => ({}), usable = true } = {}) {
    const act = this.acts[name];
    return element("button", {
      type: "button",
      class: act.is_dangerous ? "danger" : null,
      "data-act": name,
      disabled: !(this.mayAct && usable),
      "aria-describedby": this.mayAct ? null : REASON,
      onclick: () => this.ask(act, number, where(), form()),
    }, told(act.title));
  }

  async ask(act, number, where, { fields = [], parameters = () => ({}) }) {
    await askFor({
      title: t("{title}: {place}", { title: told(act.full || act.title), place: where }),
      text: told(act.says),
      fields: [element("p", { class: "second" }, element("b", {}, t("Undo:")), " ", told(act.undo)), ...fields],
      verb: told(act.title),
      danger: act.is_dangerous,
      act: async (values) => {
        try {
          const done = await sendJson("/data/actions", { action: act.name, service: number, parameters: parameters(values) });
          if (done.problem) throw new Error(done.problem);
        } finally {
          this.refresh({ afterAction: true });
        }
      },
    });
  }
}

function auditTable(entries, services) {
  const placeOf = (address) => (services.includes(address) ? nameOf(services, services.indexOf(address)) : shortOf(String(address)));
  if (!entries.length) return element("p", { class: "faint" }, t("Nobody has done anything yet."));
  const row = (entry) => {
    const { local, utc } = moment(Date.parse(entry.at) / SECONDS_IN_MS);
    return element("tr", {},
      element("td", { class: "time" }, element("time", { datetime: entry.at, title: utc }, local)),
      element("td", { class: "name" }, entry.name === ANYONE ? told(ANYONE) : entry.name),
      element("td", { class: "place", title: entry.service }, entry.service === CONSOLE ? told(CONSOLE) : placeOf(entry.service)),
      element("td", { class: "what" }, told(entry.title), parametersOf(entry.parameters)),
      element("td", { class: "result" }, element("span", { class: `badge result-${entry.result}` }, RESULTS[entry.result] ?? entry.result), entry.detail ? element("span", { class: "faint" }, told(entry.detail)) : null));
  };
  return element("table", { class: "rows act-audit" },
    element("thead", {}, element("tr", {}, [capital(t("time")), t("Who"), t("Where"), t("Action"), t("Result")].map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, entries.map(row)));
}

function parametersOf(parameters) {
  const known = Object.entries(parameters ?? {});
  return known.length ? element("span", { class: "faint" }, ` ${known.map(([name, each]) => (PARAMETERS[name] ?? `${name} {value}`).replace("{value}", () => (Array.isArray(each) ? each.join(", ") : each))).join(" · ")}`) : null;
}

const problem = (text) => element("p", { class: "problem", role: "alert" }, text);
