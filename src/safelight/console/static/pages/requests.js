// The page Requests: a table of the records with filters, and one record in full.

import { element, fetchJson, messageOf } from "../dom.js";
import { RecordView } from "../record.js";
import { cellsOf, hasFailed, resultOf, warningsOf } from "../results.js";
import { ago, moment } from "../units.js";
import { t } from "../words.js";

const TIMES = [["", t("Any time")], ["900", t("Last 15 minutes")], ["3600", t("Last hour")], ["86400", t("Last day")], ["604800", t("Last 7 days")]];
const RATINGS = [["", t("Any")], ["rated", t("Rated")], ["1", t("1, bad")], ["2", "2"], ["3", "3"], ["4", "4"], ["5", t("5, good")]];
const WARNINGS = [["", t("Any")], ["any", t("Some warning")], ["degraded", t("Degraded")], ["overridden", t("Overridden")], ["truncated", t("Truncated")]];
const NAMES = ["seconds", "service", "type", "result", "slower", "rating", "warning", "size", "seed"];
const AGAIN_MS = 5000;
const FUTURE_SECONDS = 60;
const TYPING_MS = 400;

let lastSearch = "";

/** Show the page; return the function that leaves it. */
export function show(page, context) {
  const name = location.pathname.split("/")[2];
  const view = name
    ? new RecordView(page, decoded(name), { ...context, back: `/requests${lastSearch}` })
    : new TableView(page, context);
  view.load();
  return () => view.end();
}

/** Return a part of an address as text; as it is, if it is badly written. */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

class TableView {
  constructor(page, { open }) {
    document.title = `${t("Requests")} · Safelight`;
    this.open = open;
    this.ended = new AbortController();
    this.chosen = Object.fromEntries(new URLSearchParams(location.search));
    this.choices = { services: [], types: [], reasons: [] };
    this.filters = element("form", { class: "choices filters", "aria-label": t("Filters"), onsubmit: (event) => event.preventDefault() });
    this.body = element("div", {}, element("p", { class: "faint" }, t("Reading the records …")));
    this.status = element("span", { class: "faint clock", role: "status" });
    this.clear = element("button", { type: "button", onclick: () => this.choose(Object.fromEntries(NAMES.map((name) => [name, ""])), true) }, t("Clear"));
    page.replaceChildren(
      element("div", { class: "head" }, element("h1", {}, t("Requests")), this.status),
      element("div", { class: "requests-top" }, this.finder(), element("button", { type: "button", onclick: () => this.load() }, t("Refresh")), this.clear),
      this.filters, this.body);
    this.fillFilters();
  }

  finder() {
    const input = element("input", { name: "id", type: "search", maxlength: "80", placeholder: t("Id of a request, its caller or its trace"), "aria-label": t("Id of a request"), autocomplete: "off", spellcheck: "false" });
    const go = (event) => {
      event.preventDefault();
      const name = input.value.trim();
      if (name) this.open(`/requests/${encodeURIComponent(name)}`);
    };
    return element("form", { class: "finder", role: "search", onsubmit: go }, input, element("button", {}, t("Open")));
  }

  // ── What the viewer chose; the address has all of it ───────────────────────────────────────────

  fillFilters() {
    const { services, types, reasons } = this.choices;
    const pairs = (names) => names.map((name) => [name, name.replaceAll("_", " ")]);
    const results = [["", t("Any")], ["ok", t("ok")], ["failed", t("failed")], ...pairs(reasons)];
    const several = services.length > 1 || this.chosen.service;
    const isSet = NAMES.some((name) => this.chosen[name]);
    this.clear.hidden = !isSet;
    this.filters.replaceChildren(
      this.select(t("Time range"), "seconds", TIMES),
      ...(several ? [this.select(t("Service"), "service", [["", t("All")], ...services.map((name) => [name, name])])] : []),
      this.select(t("Type"), "type", [["", t("All")], ...pairs(types)]),
      this.select(t("Result"), "result", results),
      this.input(t("Slower than, s"), "slower", { type: "number", min: "0", step: "any", inputmode: "decimal" }),
      this.select(t("Rating"), "rating", RATINGS),
      this.select(t("Warning"), "warning", WARNINGS),
      this.input(t("Size"), "size", { placeholder: "512x512", pattern: "\\d{1,6}x\\d{1,6}", title: t("Width and height in pixels, such as 512x512") }),
      this.input(t("Seed"), "seed", { inputmode: "numeric", pattern: "-?\\d{1,19}", title: t("A whole number") }));
  }

  select(label, name, pairs) {
    const value = this.chosen[name] ?? "";
    const shown = pairs.some(([each]) => each === value) ? pairs : [...pairs, [value, value]];
    const control = element("select", { name, onchange: () => this.choose({ [name]: control.value }) },
      shown.map(([each, text]) => element("option", { value: each, selected: each === value }, text)));
    return element("label", {}, element("span", {}, label), control);
  }

  input(label, name, attributes) {
    const control = element("input", { name, value: this.chosen[name] ?? "", autocomplete: "off", ...attributes });
    control.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => control.checkValidity() && this.choose({ [name]: control.value.trim() }), TYPING_MS);
    });
    return element("label", { class: `narrow ${name}` }, element("span", {}, label), control);
  }

  choose(changes, redraws = false) {
    this.chosen = { ...this.chosen, after: "", ...changes };
    const kept = Object.entries(this.chosen).filter(([, value]) => value !== "");
    const search = kept.length ? `?${new URLSearchParams(kept)}` : "";
    if (search === location.search) return;
    history.pushState({ isNewer: Boolean(changes.after) }, "", `/requests${search}`);
    if (redraws) this.fillFilters();
    this.clear.hidden = !NAMES.some((name) => this.chosen[name]);
    this.load();
  }

  // ── The table ──────────────────────────────────────────────────────────────────────────────────

  async load() {
    lastSearch = location.search;
    clearTimeout(this.again);
    this.asking?.abort();
    this.asking = new AbortController();
    const { signal } = this.asking;
    this.body.setAttribute("aria-busy", "true");
    try {
      const [found, choices] = await Promise.all([
        fetchJson("/data/requests", this.chosen, signal),
        this.choices.reasons.length ? this.choices : fetchJson("/data/requests/choices", {}, signal)]);
      if (choices !== this.choices) {
        this.choices = choices;
        this.fillFilters();
      }
      this.fill(found);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.fail(error);
    }
    this.body.removeAttribute("aria-busy");
  }

  fail(error) {
    this.status.textContent = "";
    const returns = error.status === undefined || error.status >= 500;
    this.body.replaceChildren(element("div", { class: "card block stack" },
      element("p", { class: "problem", role: "alert" }, messageOf(error)),
      returns ? element("p", { class: "faint" }, t("This page tries again by itself.")) : null));
    if (returns) this.again = setTimeout(() => this.load(), AGAIN_MS);
  }

  fill(found) {
    const { rows, now } = found;
    const { local, utc } = moment(now);
    this.status.textContent = local;
    this.status.title = utc;
    const ahead = rows.length ? rows[0].at - now : 0;
    this.body.replaceChildren(
      ahead > FUTURE_SECONDS ? element("p", { class: "notice" }, t("The newest request is {time} in the future: the clock of its service or of this machine is wrong.", { time: ago(ahead) })) : "",
      rows.length ? this.table(rows) : element("p", { class: "card block faint" }, this.nothing(found)),
      this.pager(found));
  }

  nothing(found) {
    if (found.looked_until !== null) return t("None of these requests is like that.");
    if (this.chosen.after) return t("There are no older requests.");
    const isSet = NAMES.some((name) => this.chosen[name]);
    return isSet ? t("No request is like that. Clear some filters.") : t("The records have no request yet. Requests appear here a second after they end.");
  }

  table(rows) {
    const services = new Set(rows.map((row) => row.namespace));
    const several = services.size > 1 || this.choices.services.length > 1;
    const head = [["time", t("When")], ["type", t("Type")], ["result", t("Result")], ["took", t("Took")], ["queue", t("Queue")], ["steps", t("Steps")], ["size", t("Size")], ["rating", t("Rating")], ["seed", t("Seed")], ["warnings", t("Warnings")]];
    if (several) head.splice(1, 0, ["service", t("Service")]);
    return element("div", { class: "card requests" }, element("table", {},
      element("caption", { class: "unseen" }, t("Requests, the newest first")),
      element("thead", {}, element("tr", {}, head.map(([name, text]) => element("th", { scope: "col", class: name }, text)))),
      element("tbody", {}, rows.map((row) => this.row(row, several)))));
  }

  row(row, several) {
    const { local, utc } = moment(row.at);
    const cells = cellsOf(row);
    const number = (name) => element("td", { class: `number ${name}`, "data-name": name }, cells[name]);
    const warnings = warningsOf(row);
    return element("tr", { class: hasFailed(row) ? "failed" : "" },
      element("th", { scope: "row", class: "time" }, element("a", { href: `/requests/${encodeURIComponent(row.request_id)}` }, element("time", { datetime: new Date(1000 * row.at).toISOString(), title: utc }, local))),
      several ? element("td", { class: "service-name" }, row.namespace) : null,
      element("td", { class: "type" }, row.instruction_type.replaceAll("_", " ")),
      element("td", { class: "result" }, resultOf(row)),
      ["took", "queue", "steps", "size", "rating", "seed"].map(number),
      element("td", { class: "warnings" }, warnings.map(([name, text]) => element("span", { class: "badge", title: `${name}: ${text}` }, name))));
  }

  pager(found) {
    const buttons = [];
    if (this.chosen.after) {
      buttons.push(element("button", { type: "button", onclick: () => this.choose({ after: "" }) }, t("Newest")));
      if (history.state?.isNewer) buttons.push(element("button", { type: "button", onclick: () => history.back() }, t("Newer")));
    }
    if (found.next) buttons.push(element("button", { type: "button", onclick: () => this.older(found.next) }, found.looked_until === null ? t("Older") : t("Look further back")));
    const looked = found.looked_until === null ? "" : t("Looked through the requests down to {time}.", { time: moment(found.looked_until).local });
    return element("div", { class: "actions pager" }, buttons, element("span", { class: "faint" }, looked || (found.next || !found.rows.length ? "" : t("These are all."))));
  }

  older(after) {
    this.choose({ after });
    scrollTo({ top: 0 });
  }

  end() {
    this.ended.abort();
    this.asking?.abort();
    clearTimeout(this.again);
    clearTimeout(this.typing);
  }
}
