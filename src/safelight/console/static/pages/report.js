// The page Health report: what is or was wrong, the evidence as curves, what to do, and what comes.

import { ask, element, fetchJson, messageOf } from "../dom.js";
import { EvidenceChart } from "../evidence.js";
import { prose, sentence } from "../prose.js";
import { format, moment } from "../units.js";
import { language, t, told } from "../words.js";

const UNITS = { seconds: "s", bytes: "bytes", ratio: "percentunit", "": "short" };
const GROUPS = [
  { group: "cause" },
  { group: "effect", title: t("What follows from it"), says: t("These end with their cause.") },
  { group: "info", title: t("Also seen"), says: t("Nothing here needs you.") },
];
const PROBLEMS = { "always exceeded": t("always exceeded"), "out of reach": t("out of reach") };

/** Show the page; return the function that leaves it. */
export function show(page) {
  document.title = `${t("Health report")} · Safelight`;
  const view = new ReportView(page);
  view.load();
  return () => view.end();
}

class ReportView {
  constructor(page) {
    const { namespace, job, at } = Object.fromEntries(new URLSearchParams(location.search));
    this.chosen = { namespace, job, at };
    this.ended = new AbortController();
    this.charts = [];
    this.service = element("span", { class: "choices" });
    this.time = element("input", { type: "datetime-local", step: "1", value: localOf(at) });
    this.time.addEventListener("change", () => this.choose({ at: secondsOf(this.time.value) }));
    this.now = element("button", { type: "button", onclick: () => this.goToNow() }, t("Now"));
    this.export = element("button", { type: "button", onclick: () => this.save() }, t("Export as one HTML file"));
    this.body = element("div", { class: "stack" }, element("p", { class: "faint", role: "status" }, t("Asking Prometheus …")));
    this.weeks = element("div", {}, element("p", { class: "faint" }, t("Comparing the weeks …")));
    page.replaceChildren(
      element("div", { class: "head" }, element("h1", {}, t("Health report"))),
      element("div", { class: "choices report-choices" }, this.service, element("label", {}, element("span", {}, t("As of")), this.time), this.now, this.export),
      this.body,
      element("section", { class: "card block", "aria-label": t("This week and last week") }, element("div", { class: "title" }, element("h2", {}, t("This week and last week"))), this.weeks));
  }

  choose(changes) {
    this.chosen = { ...this.chosen, ...changes };
    const kept = Object.entries(this.chosen).filter(([, value]) => value !== "" && value !== undefined && value !== null);
    const search = kept.length ? `?${new URLSearchParams(kept)}` : "";
    if (search !== location.search) history.pushState(null, "", `/report${search}`);
    this.load();
  }

  goToNow() {
    this.time.value = "";
    this.choose({ at: "" });
  }

  async load() {
    this.asking?.abort();
    this.asking = new AbortController();
    const { signal } = this.asking;
    this.body.setAttribute("aria-busy", "true");
    const weeks = this.loadWeeks(signal);
    try {
      this.fill(await fetchJson("/data/report", this.chosen, signal));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.drop();
      this.body.replaceChildren(element("p", { class: "problem", role: "alert" }, messageOf(error)));
    }
    this.body.removeAttribute("aria-busy");
    await weeks;
  }

  async loadWeeks(signal) {
    try {
      this.weeks.replaceChildren(...trendsOf(await fetchJson("/data/report/trends", this.chosen, signal)));
    } catch (error) {
      if (error.name !== "AbortError") this.weeks.replaceChildren(element("p", { class: "problem" }, messageOf(error)));
    }
  }

  async save() {
    this.export.disabled = true;
    try {
      const answer = await ask("/data/report/page", { query: { ...this.chosen, language: language() } });
      const name = answer.headers.get("content-disposition")?.match(/filename="([\w.-]+)"/)?.[1] ?? "health-report.html";
      const address = URL.createObjectURL(await answer.blob());
      element("a", { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
    } catch (error) {
      this.body.prepend(element("p", { class: "problem", role: "alert" }, messageOf(error)));
    }
    this.export.disabled = false;
  }

  // ── The report ─────────────────────────────────────────────────────────────────────────────────

  fill(found) {
    const { report, curves } = found;
    this.fillServices(found);
    this.drop();
    const frame = { begin: found.begin, end: found.end, step: found.step, moment: found.moment, window: report.window_seconds };
    this.body.replaceChildren(
      this.headline(found),
      ...this.findings(report.findings, curves, frame),
      found.left_out ? element("p", { class: "faint" }, t("{count} more findings are not shown.", { count: found.left_out })) : "",
      element("section", { class: "card block", "aria-label": t("Forecasts") }, element("div", { class: "title" }, element("h2", {}, t("What will be used up"))), forecastTable(found.forecasts)));
    for (const chart of this.charts) chart.draw();
  }

  fillServices({ services, report }) {
    const chosen = JSON.stringify([report.namespace, report.service]);
    const control = element("select", { onchange: () => { const [namespace, job] = JSON.parse(control.value); this.choose({ namespace, job }); } },
      services.map(({ namespace, job }) => {
        const value = JSON.stringify([namespace, job]);
        return element("option", { value, selected: value === chosen }, nameOf(namespace, job));
      }));
    this.service.replaceChildren(element("label", {}, element("span", {}, t("Service")), control));
  }

  headline({ report, moment: at, now }) {
    const isBad = report.findings.some((finding) => finding.severity !== "info");
    const { local, utc } = moment(at);
    return element("section", { class: "card block summary", role: "status" },
      element("span", { class: `dot ${isBad ? "bad" : "good"}`, "aria-hidden": "true" }),
      element("div", {},
        element("p", { class: "headline" }, headlineOf(report)),
        element("p", { class: "faint" }, element("time", { datetime: new Date(1000 * at).toISOString(), title: utc }, local), now - at > 60 ? `, ${t("in the past")}` : "", language() === "zh" ? "。" : ". ", t(report.requests === 1 ? "From the last {time}, with one request." : "From the last {time}, with {count} requests.", { time: format(report.window_seconds, "s"), count: report.requests }))));
  }

  /** The causes come first, in full. What follows from them, and mere information, is closed. */
  findings(findings, curves, frame) {
    const shown = findings.map((finding, place) => ({ finding, curves: curves[place], group: groupOf(finding) }));
    return GROUPS.flatMap(({ group, title, says }) => {
      const own = shown.filter((each) => each.group === group);
      if (!own.length) return [];
      const head = title ? [element("h2", { class: "group-title" }, title), element("p", { class: "faint" }, says)] : [];
      return [...head, ...own.map((each) => this.finding(each, findings, frame, !title))];
    });
  }

  finding({ finding, curves }, findings, frame, isOpen) {
    const cause = findings.find((other) => other.check === finding.follows_from);
    const origin = finding.listed_under ? t("Listed in full under {service}.", { service: finding.listed_under })
      : finding.follows_from ? t("Follows from: {finding}.", { finding: cause ? told(cause.title) : finding.follows_from })
      : finding.alert ? t("Its cause is unknown.") : "";
    const certainty = finding.alert ? t("alert {state}", { state: told(finding.alert.state) }) : t("{share} sure", { share: format(finding.confidence, "percentunit") });
    const evidence = element("div", { class: "evidence" }, finding.evidence.map((each, place) => this.exhibit(each, curves[place], frame)));
    const title = [
      element("span", { class: `badge firing ${finding.severity}` }, told(finding.severity)),
      element("h2", {}, told(finding.title)),
      element("span", { class: "faint push" }, `${certainty} · ${finding.check}`)];
    const body = [
      element("p", {}, sentence(finding.verdict)),
      origin ? element("p", { class: "second" }, origin) : null,
      evidence, adviceOf(finding)];
    const kind = { class: `card alert firing report-finding ${finding.severity}`, "aria-label": told(finding.title) };
    return isOpen ? element("article", kind, element("div", { class: "title" }, title), body)
      : element("article", kind, element("details", {}, element("summary", { class: "title" }, title), body));
  }

  exhibit(each, curve, frame) {
    const figure = element("figure", {}, element("figcaption", {}, sentence(each.says)));
    if (!curve) return figure;
    if (curve.problem) figure.append(element("p", { class: "problem" }, told(curve.problem)));
    else if (!curve.lines.length) figure.append(element("p", { class: "faint" }, t("Prometheus has no samples of it at this time.")));
    else {
      const chart = new EvidenceChart(curve, frame, told(each.says));
      this.charts.push(chart);
      figure.append(chart.node);
    }
    return figure;
  }

  drop() {
    for (const chart of this.charts) chart.end();
    this.charts = [];
  }

  end() {
    this.ended.abort();
    this.asking?.abort();
    this.drop();
  }
}

/** Return where a finding is shown: a cause, something that follows, or information. */
function groupOf(finding) {
  if (finding.severity === "info") return "info";
  return finding.listed_under || finding.follows_from ? "effect" : "cause";
}

function adviceOf(finding) {
  const rows = [
    [t("Do"), finding.remedy],
    [finding.alert ? t("Look at") : t("To confirm"), [finding.next_experiment].filter(Boolean)],
    [t("Or it is"), finding.alternatives],
  ].filter(([, texts]) => texts.length);
  return element("dl", { class: "advice" }, rows.flatMap(([name, texts]) => [
    element("dt", {}, name),
    element("dd", {}, texts.length > 1 ? element("ul", {}, texts.map((text) => element("li", {}, prose(text)))) : prose(texts[0])),
  ]));
}

/** Return the report in one line. */
function headlineOf({ severity, findings, requests }) {
  const main = findings.find((finding) => finding.severity === severity && !finding.follows_from);
  if (main && severity !== "info") return told(main.title);
  return requests ? t(requests > 1 ? "Healthy, with {count} requests." : "Healthy, with one request.", { count: requests }) : t("No findings, and no requests.");
}

/** Return how a service is called: by its namespace and its job, once if both are the same. */
function nameOf(namespace, job) {
  return namespace === job ? job : `${job} (${namespace})`;
}

/** Return Unix seconds as a text for a field of date and time, in the browser's zone. */
function localOf(seconds) {
  if (!Number.isFinite(Number(seconds)) || !seconds) return "";
  const date = new Date(1000 * Number(seconds));
  return new Date(date.getTime() - 60_000 * date.getTimezoneOffset()).toISOString().slice(0, 19);
}

function secondsOf(text) {
  const at = new Date(text).getTime() / 1000;
  return Number.isFinite(at) ? String(at) : "";
}

function headOf(names) {
  return element("thead", {}, element("tr", {}, names.map((name) => element("th", { scope: "col" }, name))));
}

/** List what can be used up; an interval is drawn as a bar, with a mark at the expected time. */
function forecastTable(forecasts) {
  if (!forecasts.length) return element("p", { class: "faint" }, t("Nothing is measured that can be used up."));
  const latest = Math.max(1, ...forecasts.filter((each) => each.ends && !each.used_up).map((each) => each.ends[2]));
  const rows = forecasts.map((each) => {
    const unit = UNITS[each.unit] ?? "short";
    const says = each.used_up ? element("span", { class: "problem" }, t("used up already"))
      : each.ends ? t("in {time} (95 %: {low} to {high})", { time: format(each.ends[0], "s"), low: format(each.ends[1], "s"), high: format(each.ends[2], "s") })
      : element("span", { class: "second" }, t("no end in sight"));
    const past = each.trial ? t("earlier forecasts: median error {share} of {count}", { share: format(each.trial.error, "percentunit"), count: each.trial.number }) : "";
    return element("tr", {},
      element("th", { scope: "row" }, `${told(each.what)} `, element("span", { class: "faint" }, each.subject)),
      element("td", { class: "number" }, t(each.assumed ? "{level} of {limit} (default)" : "{level} of {limit}", { level: format(each.level, unit), limit: format(each.limit, unit) })),
      element("td", {}, gauge(each)),
      element("td", { class: "says" }, says, each.ends && !each.used_up ? interval(each.ends, latest) : null, past ? element("span", { class: "faint" }, past) : null));
  });
  return element("div", { class: "scroll" }, element("table", { class: "forecasts" }, headOf(["", t("Now"), "", t("Used up")]), element("tbody", {}, rows)));
}

function gauge({ level, limit, used_up: isUsedUp }) {
  const bar = element("i", { class: isUsedUp ? "bar bad" : "bar" });
  bar.style.width = `${Math.min(100, Math.max(0, (100 * level) / limit))}%`;
  return element("div", { class: "track" }, bar);
}

function interval([expected, soonest, last], latest) {
  const share = (seconds) => `${Math.min(100, (100 * seconds) / latest)}%`;
  const range = element("i", { class: "range" });
  range.style.left = share(soonest);
  range.style.right = `${100 - Math.min(100, (100 * last) / latest)}%`;
  const mark = element("i", { class: "mark" });
  mark.style.left = share(expected);
  return element("div", { class: "track thin", "aria-hidden": "true" }, range, mark);
}

function trendsOf(found) {
  const known = found.changes.filter((each) => each.this_week !== null || each.last_week !== null);
  const value = (each, number) => element("td", {}, number === null ? "–" : format(number, UNITS[each.unit] ?? "short"));
  const isCompared = known.some((each) => each.last_week !== null);
  const rows = known.map((each) => element("tr", { class: each.notable ? "notable" : "" },
    element("th", { scope: "row" }, told(each.what)),
    isCompared ? value(each, each.last_week) : null,
    value(each, each.this_week),
    isCompared ? element("td", {}, each.factor === null ? "–" : t("{count} times", { count: each.factor.toFixed(2) })) : null));
  const head = [t("Median of the hours"), isCompared ? t("Last week") : null, t("This week"), isCompared ? t("Change") : null].filter(Boolean);
  const item = (text) => element("li", {}, text);
  const notes = [
    ...found.firing.map((each) => item(t("{alert} fired {share} of the week. People ignore an alert that always fires. Fix its cause, or raise its limit.", { alert: each.alert, share: format(each.share, "percentunit") }))),
    ...found.proposals.map((each) => item(t("{limit} = {value} is {problem}: in 95 % of hours the value is below {usual}. Try {proposed}.", { limit: each.threshold, value: format(each.limit, "short"), problem: PROBLEMS[each.problem] ?? each.problem, usual: format(each.usual, "s"), proposed: Number(each.proposed.toPrecision(3)) }))),
    ...(found.missing.length ? [item(t("These series existed a day ago and do not now: {names}.", { names: found.missing.join(", ") }))] : []),
  ];
  return [
    found.comparable ? "" : element("p", { class: "faint" }, t("There is no data of last week yet: the oldest is {time} old.", { time: format(found.data_seconds, "s") })),
    known.length ? element("div", { class: "scroll" }, element("table", { class: "forecasts trends" }, headOf(head), element("tbody", {}, rows))) : "",
    notes.length ? element("ul", { class: "notes" }, notes) : "",
  ];
}
