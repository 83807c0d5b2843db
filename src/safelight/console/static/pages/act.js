// The page Act: what is so at each service now, what operators can do about it, and what they did.

import { askFor, choice, field } from "../dialog.js";
import { element, fetchJson, sendJson } from "../dom.js";
import { moment } from "../units.js";

const EVERY_MS = 5_000;
const SECONDS_IN_MS = 1000;
const REASON = "act-reason";
const DOTS = { ready: "good", asleep: "rest", waking: "rest", draining: "rest" };

/** Show the page; return the function that leaves it. */
export function show(page, { start }) {
  document.title = "Act · Safelight";
  const view = new ActView(page, start);
  view.begin();
  return () => view.leave();
}

class ActView {
  constructor(page, { services, viewer }) {
    this.mayAct = viewer.scopes.includes("operate");
    this.ended = new AbortController();
    this.acts = {};
    this.log = element("div", { class: "act-log" }, element("p", { class: "faint" }, "Reading …"));
    this.lastLog = "";
    this.cards = services.map((address, number) => new ServiceCard(this, address, number));
    const own = element("section", { class: "card act-card", "aria-label": "This console" },
      element("div", { class: "title" }, element("h2", {}, "This console")),
      this.limits = element("div", { class: "act-rows own" }));
    page.replaceChildren(
      element("div", { class: "head" }, element("h1", {}, "Act")),
      this.mayAct
        ? element("p", { class: "question" }, `Each action asks first, and is written to the audit log${viewer.name ? " with your name" : ""}.`)
        : element("p", { class: "notice act-notice", id: REASON }, "You may look, not act: your key has no scope operate. Log in with one that has it, or ask an operator."),
      element("div", { class: "act-cards" }, this.cards.map((card) => card.node), own),
      element("section", { class: "card block", "aria-label": "Audit log" },
        element("div", { class: "title" }, element("h2", {}, "Audit log"), element("span", { class: "faint" }, "the last 200 actions")),
        this.log));
  }

  async begin() {
    try {
      const rows = await fetchJson("/data/actions/table", {}, this.ended.signal);
      this.acts = Object.fromEntries(rows.map((row) => [row.name, row]));
    } catch (error) {
      if (error.name !== "AbortError") this.log.replaceChildren(problem(error.message));
      return;
    }
    this.limits.replaceChildren(this.row("Limits", [faint("Of reports, dashboards and alerts, as their files were read last.")], [this.button("reload", 0, "this console")]));
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
    await Promise.all([...this.cards.map((card) => card.refresh(afterAction)), this.readLog()]);
  }

  async readLog() {
    try {
      const entries = await fetchJson("/data/actions", {}, this.ended.signal);
      const shown = JSON.stringify(entries);
      if (shown !== this.lastLog) this.log.replaceChildren(auditTable(entries));
      this.lastLog = shown;
    } catch (error) {
      if (error.name === "AbortError") return;
      this.lastLog = "";
      this.log.replaceChildren(problem(error.message));
    }
  }

  /** Return a row of a card: its name, what is so now, and buttons. */
  row(name, state, buttons = []) {
    return element("div", { class: "act-row", role: "group", "aria-label": name },
      element("h3", {}, name),
      element("div", { class: "act-state" }, state),
      element("div", { class: "act-buttons" }, buttons));
  }

  /** Return the button of an action. `form` returns its fields and how their values become parameters. */
  button(name, number, where, { form = () => ({}), usable = true } = {}) {
    const act = this.acts[name];
    return element("button", {
      type: "button",
      class: act.is_dangerous ? "danger" : null,
      "data-act": name,
      disabled: !(this.mayAct && usable),
      "aria-describedby": this.mayAct ? null : REASON,
      onclick: () => this.ask(act, number, where, form()),
    }, act.title);
  }

  async ask(act, number, where, { fields = [], parameters = () => ({}) }) {
    await askFor({
      title: `${act.full || act.title}: ${where}`,
      text: act.says,
      fields: [element("p", { class: "second" }, element("b", {}, "Undo: "), act.undo), ...fields],
      verb: act.title,
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

class ServiceCard {
  constructor(view, address, number) {
    this.view = view;
    this.number = number;
    this.address = address;
    this.where = address.replace(/^https?:\/\//, "");
    this.last = "";
    this.reading = false;
    this.dot = element("span", { class: "dot", "aria-hidden": "true" });
    this.word = element("span", { class: "faint" }, "reading …");
    this.body = element("div", { class: "act-rows", role: "status", "aria-live": "off" });
    this.node = element("section", { class: "card act-card", "aria-label": this.where },
      element("div", { class: "title" }, this.dot, element("h2", { class: "act-address" }, this.where), this.word),
      this.body);
  }

  async refresh(afterAction) {
    if (this.reading) {
      this.again ||= afterAction; // what is being read now may be older
      return;
    }
    this.reading = true;
    try {
      do {
        this.again = false;
        this.fill(await fetchJson("/data/state", { service: this.number }, this.view.ended.signal));
      } while (this.again);
    } catch (error) {
      if (error.name !== "AbortError") this.fill({ problem: error.message, parts: {}, missing: {} });
    } finally {
      this.reading = false;
    }
  }

  fill(state) {
    const shown = JSON.stringify(state);
    if (shown === this.last) return;
    this.last = shown;
    const word = summary(state);
    this.word.textContent = word.text;
    this.dot.className = `dot ${word.dot}`;
    const focused = this.body.contains(document.activeElement) ? document.activeElement.dataset.act : "";
    this.body.replaceChildren(...(state.problem ? [element("p", { class: "act-problem", role: "alert" }, state.problem)] : this.rows(state)));
    if (focused) (this.body.querySelector(`[data-act="${focused}"]`) ?? this.body.querySelector("button:not(:disabled)"))?.focus();
  }

  rows({ parts, missing }) {
    return [
      this.traffic(parts.drain, missing),
      this.level(parts.degradation, missing),
      this.model(parts, missing),
      this.canary(parts.canary, missing),
      this.shadow(parts.shadow, missing),
      this.rollout(parts.rollout, missing),
    ];
  }

  button(name, more) {
    return this.view.button(name, this.number, this.where, more);
  }

  traffic(drain, { drain: why, ready }) {
    if (!drain) return this.view.row("Traffic", [faint(why)]);
    const left = drain.requests > 1 ? `${drain.requests} requests wait or run.` : `${drain.requests || "No"} request waits or runs.`;
    if (drain.draining) {
      return this.view.row("Traffic", [strong(`Drained${by(drain.by)}`), clock(drain.since), faint(left)], [this.button("end_drain")]);
    }
    return this.view.row("Traffic", [strong(ready ? "Not ready" : "Takes requests"), faint(ready ?? left)], [this.button("drain")]);
  }

  level(found, { degradation: why }) {
    if (!found) return this.view.row("Quality", [faint(why)]);
    const active = found.levels.filter(({ level }) => level === 0 ? found.level === 0 : level <= found.level);
    const form = () => ({
      fields: [field("Level", choice("level", found.levels.filter(({ level }) => level <= found.highest).map(({ level, meaning }) =>
        [String(level), level > 1 ? `${level} · also ${meaning}` : `${level} · ${meaning}`]), String(Math.min(found.level, found.highest))))],
      parameters: ({ level }) => ({ level: Number(level) }),
    });
    return this.view.row("Quality",
      [strong(`Level ${found.level}`), badge(found.pinned ? `pinned${by(found.by)}` : "by the load", found.pinned), faint(sentence(active.map(({ meaning }) => meaning).join(", ")))],
      [found.pinned ? this.button("release") : null, this.button("pin", { form })]);
  }

  model({ ready, drain }, missing) {
    const status = drain?.model ?? ready?.status;
    if (status === "asleep") return this.view.row("Model", [strong("Asleep"), faint("The next request wakes it.")], [this.button("wake")]);
    if (status === "waking") return this.view.row("Model", [strong("Waking"), faint("It is being loaded.")], [this.button("wake", { usable: false })]);
    const loads = !ready && !drain?.draining;
    return this.view.row("Model", [strong(loads ? "Not ready" : "Awake"), faint(loads ? missing.ready : "It may sleep while nobody needs it.")], [this.button("sleep", { usable: !loads })]);
  }

  canary(found, { canary: why }) {
    if (!found) return this.view.row("Canary", [faint(why)]);
    if (!found.on) return this.view.row("Canary", [strong("Off"), faint("SAFELIGHT_CANARY_SECONDS is 0.")], [this.button("canary", { usable: false })]);
    const [worst] = [...found.workers].sort((a, b) => severity(b.verdict) - severity(a.verdict));
    const said = [worst?.ready ? worst.why : "The worker is not loaded", worst?.enrolling ? `Enrolling: ${worst.enrolling}.` : "", found.in_service ? "" : "Out of service.", found.waits ? "A run waits for an idle worker." : ""].filter(Boolean).map(sentence).join(" ");
    return this.view.row("Canary", [strong(capital(worst?.verdict ?? "unknown"), severity(worst?.verdict) > 1), faint(said)], [this.button("canary"), this.button("enrol")]);
  }

  shadow(found, { shadow: why }) {
    if (!found) return this.view.row("Shadow", [strong("None"), faint(why)]);
    const verdict = typeof found.verdict === "string" ? found.verdict : "undecided";
    return this.view.row("Shadow",
      [strong(capital(verdict), verdict === "worse"), faint([`${found.pairs} of ${found.limit} pairs of ${found.second}.`, found.problem, found.ended].filter(Boolean).map(sentence).join(" "))]);
  }

  rollout(found, { rollout: why, shadow }) {
    if (!found) return this.view.row("Rollout", [strong("None"), faint(why === shadow ? "It needs a second model." : why)]);
    const lasts = found.status === "running" || found.status === "paused";
    const words = { none: "None", running: "Running", paused: "Paused", done: "Done", rolled_back: "Rolled back", aborted: "Aborted" };
    const said = found.status === "none" || !(lasts || found.status === "done")
      ? `The second model, ${found.second}, is ${found.state}.`
      : `${found.percent} % of the callers get ${found.second}.`;
    const isActive = lasts || found.status === "done";
    const buttons = isActive
      ? [lasts ? this.button(found.status === "paused" ? "rollout_resume" : "rollout_pause") : null, lasts ? this.button("rollout_promote") : null, this.button("rollout_abort")]
      : [this.button("rollout_start", { form: () => planForm(found), usable: found.state !== "failed" })];
    return this.view.row("Rollout", [strong(words[found.status] ?? found.status, found.status === "rolled_back"), faint([said, found.missing, found.problem].filter(Boolean).map(sentence).join(" "))], buttons);
  }
}

function planForm({ second }) {
  return {
    fields: [
      field("Shares of the callers, in percent, rising", element("input", { name: "steps", required: true, maxlength: "80", pattern: "\\s*\\d+(\\s*,\\s*\\d+)*\\s*", title: "such as 5, 25, 50, 100", value: "5, 25, 50, 100" })),
      field("Requests of the second model that each step needs", element("input", { name: "least", type: "number", required: true, min: "1", max: "100000", value: "50" })),
    ],
    parameters: ({ steps, least }) => ({ model: second, steps: steps.split(",").map(Number), least: Number(least) }),
  };
}

/** Return the state of a service in a word, and the class of its dot. */
function summary({ problem: why, parts, missing }) {
  if (why) return { text: "not reached", dot: "bad" };
  if (parts.drain?.draining) return { text: "draining", dot: DOTS.draining };
  const status = parts.ready?.status;
  if (status) return { text: status, dot: DOTS[status] ?? "good" };
  return { text: missing.ready ? "not ready" : "unknown", dot: "bad" };
}

function auditTable(entries) {
  if (!entries.length) return element("p", { class: "faint" }, "Nobody has done anything yet.");
  const row = (entry) => {
    const { local, utc } = moment(Date.parse(entry.at) / SECONDS_IN_MS);
    return element("tr", {},
      element("td", { class: "time" }, element("time", { datetime: entry.at, title: utc }, local)),
      element("td", { class: "name" }, entry.name),
      element("td", { class: "place" }, String(entry.service).replace(/^https?:\/\//, "")),
      element("td", { class: "what" }, entry.title, parametersOf(entry.parameters)),
      element("td", { class: "result" }, element("span", { class: `badge result-${entry.result}` }, entry.result), entry.detail ? element("span", { class: "faint" }, entry.detail) : null));
  };
  return element("table", { class: "rows act-audit" },
    element("thead", {}, element("tr", {}, ["Time", "Who", "Where", "Action", "Result"].map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, entries.map(row)));
}

function parametersOf(parameters) {
  const known = Object.entries(parameters ?? {});
  return known.length ? element("span", { class: "faint" }, ` ${known.map(([name, each]) => `${name} ${Array.isArray(each) ? each.join(", ") : each}`).join(" · ")}`) : null;
}

const problem = (text) => element("p", { class: "problem", role: "alert" }, text);
const strong = (text, isBad = false) => element("strong", { class: isBad ? "bad" : null }, text);
const faint = (text) => element("span", { class: "second" }, text ?? "");
const badge = (text, isOn) => element("span", { class: `badge${isOn ? " firing" : ""}` }, text);
const by = (name) => (name ? ` by ${name}` : "");
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const severity = (verdict) => ({ good: 0, unknown: 1, slow: 2, wrong: 4, hung: 4, dead: 4 })[verdict] ?? 1;

function sentence(text) {
  const written = capital(String(text).trim());
  return !written || /[.!?]$/.test(written) ? written : `${written}.`;
}

function clock(seconds) {
  const { local, utc } = moment(seconds);
  return element("time", { class: "second", datetime: new Date(seconds * SECONDS_IN_MS).toISOString(), title: utc }, `since ${local}`);
}
