// The page Alerts: active alerts and what to do, their receivers, silences, and past alerts.

import { absentNotice, absentOf, unknown } from "../absent.js";
import { askFor, choice, field } from "../dialog.js";
import { ask, element, fetchJson, messageOf, refill, sendJson } from "../dom.js";
import { prose } from "../prose.js";
import { ago, moment } from "../units.js";
import { joined, t, told } from "../words.js";

const EVERY_MS = 10_000;
const HISTORY_EVERY_MS = 60_000;
const RANGES = [["21600", t("6 hours")], ["86400", t("1 day")], ["604800", t("7 days")], ["2592000", t("30 days")]];
const HOURS = [["1", t("1 hour")], ["4", t("4 hours")], ["12", t("12 hours")], ["24", t("1 day")], ["168", t("7 days")]];
const WORDS = { firing: t("firing"), pending: t("pending"), silenced: t("silenced"), inhibited: t("part of another alert") };
const seconds = (text) => Date.parse(text) / 1000;

/** Show the page; return the function that leaves it. */
export function show(page, { start }) {
  document.title = `${t("Alerts")} · Safelight`;
  const view = new AlertsView(page, start);
  view.refresh();
  view.history();
  const timer = setInterval(() => view.refresh(), EVERY_MS);
  const past = setInterval(() => { if (!document.hidden) view.history(); }, HISTORY_EVERY_MS);
  return () => {
    clearInterval(timer);
    clearInterval(past);
    clearTimeout(view.again);
    view.ended.abort();
  };
}

class AlertsView {
  constructor(page, { viewer, pages }) {
    this.viewer = viewer;
    this.pages = pages;
    this.mayAct = viewer.scopes.includes("operate");
    this.ended = new AbortController();
    this.last = "";
    this.open = new Set();
    this.status = element("span", { class: "faint clock" });
    this.now = element("div", { class: "stack" }, element("p", { class: "faint" }, t("Reading from Prometheus and Alertmanager …")));
    this.past = element("div", {});
    this.range = choice("range", RANGES, "86400");
    this.range.addEventListener("change", () => this.history());
    this.tester = element("button", { type: "button", disabled: !this.mayAct, onclick: () => this.test() }, t("Test the receivers"));
    page.replaceChildren(
      element("div", { class: "head" }, element("h1", {}, t("Alerts")), this.tester, this.status),
      this.now,
      element("section", { class: "card block", "aria-label": t("History") },
        element("div", { class: "title" }, element("h2", {}, t("History")), element("label", { class: "inline" }, t("Last"), this.range)), this.past));
  }

  async refresh() {
    try {
      const found = await fetchJson("/data/alerts", {}, this.ended.signal);
      const { local, utc } = moment(found.at);
      this.status.textContent = local;
      this.status.title = utc;
      const shown = JSON.stringify({ ...found, at: 0 });
      if (shown !== this.last) this.fill(found);
      this.last = shown;
    } catch (error) {
      if (error.name === "AbortError") return;
      this.last = "";
      const address = absentOf(error);
      this.now.replaceChildren(address ? absentNotice(address, this.pages) : element("p", { class: "problem", role: "alert" }, messageOf(error)));
    }
  }

  fill(found) {
    const quiet = ["silenced", "inhibited"];
    const loud = found.alerts.filter((alert) => !quiet.includes(alert.state));
    const others = found.alerts.filter((alert) => quiet.includes(alert.state));
    this.tester.disabled = !this.mayAct || Boolean(found.problem);
    const nothing = element("p", { class: "calm" }, element("span", { class: "dot good", "aria-hidden": "true" }), t("No alert is firing."));
    refill(this.now,
      found.problem ? element("p", { class: "notice" }, joined(told(found.problem), t("Silences and receivers are unknown."))) : "",
      ...(loud.length ? loud.map((alert) => this.alert(alert, found.at)) : [nothing]),
      found.left_out ? element("p", { class: "faint" }, t("{count} more alerts are not shown.", { count: found.left_out })) : "",
      others.length ? this.section(t("Quiet: silenced, or part of another alert"), others.map((alert) => this.alert(alert, found.at))) : "",
      found.silences.length ? this.section(t("Silences"), [this.silences(found)]) : "");
  }

  section(title, children) {
    return element("section", { class: "stack", "aria-label": title }, element("h2", { class: "over" }, title), children);
  }

  alert(alert, at) {
    const { alertname, severity, job = "", instance = "" } = alert.labels;
    const key = JSON.stringify(alert.labels);
    const since = seconds(alert.since);
    const details = element("details", { open: this.open.has(key), ontoggle: () => (details.open ? this.open.add(key) : this.open.delete(key)) },
      element("summary", {}, t("What it means and what to do")),
      element("dl", {}, this.texts(alert).flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, prose(text))])));
    return element("article", { class: `card alert ${alert.state} ${severity}`, "aria-label": alertname },
      element("div", { class: "title" },
        element("span", { class: `badge ${alert.state} ${severity}` }, told(severity)),
        element("h3", {}, alertname),
        element("span", { class: "faint" }, [job, instance].filter(Boolean).join(" · ")),
        element("time", { class: "faint push", datetime: alert.since, title: moment(since).utc }, t("{state}, active for {time}", { state: WORDS[alert.state] ?? alert.state, time: ago(at - since) }))),
      element("p", {}, prose(alert.annotations.summary ?? "")),
      alert.annotations.description ? element("p", { class: "second" }, prose(alert.annotations.description)) : null,
      details,
      element("div", { class: "actions" },
        alert.dashboard ? element("a", { class: "button", href: `/dashboards/${alert.dashboard}?${new URLSearchParams(job ? { job } : {})}` }, t("Dashboard")) : null,
        alert.state === "silenced" ? null : element("button", { type: "button", disabled: !this.mayAct, title: this.mayAct ? null : t("This needs a key with the scope operate."), onclick: () => this.silence(alert) }, t("Silence")),
        element("span", { class: "faint" }, receiversOf(alert))));
  }

  texts(alert) {
    const { meaning, action } = alert.annotations;
    const labels = Object.entries(alert.labels).map(([name, value]) => `${name} = ${value}`).join(", ");
    return [[t("Means"), meaning], [t("Look at"), alert.look], [t("Do"), action], [t("Labels"), labels]].filter(([, text]) => text);
  }

  silences({ silences }) {
    const row = (silence) => element("tr", {},
      element("td", {}, silence.matchers.map(({ name, value }) => `${name} = ${value}`).join(", ")),
      element("td", {}, silence.comment),
      element("td", {}, silence.created_by),
      element("td", {}, element("time", { datetime: silence.ends_at, title: moment(seconds(silence.ends_at)).utc }, moment(seconds(silence.ends_at)).local)),
      element("td", {}, element("button", { type: "button", disabled: !this.mayAct, onclick: () => this.end(silence) }, t("End now"))));
    return element("div", { class: "card block scroll" }, element("table", { class: "rows" },
      element("thead", {}, element("tr", {}, [t("Alerts with"), t("Reason"), t("By"), t("Until"), ""].map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, silences.map(row))));
  }

  async silence(alert) {
    const { alertname, job, instance } = alert.labels;
    const known = Object.entries({ alertname, job, instance }).filter(([, value]) => value);
    const done = await askFor({
      title: t("Silence {alert}", { alert: alertname }),
      text: t("Nobody is told of alerts with {labels} until the end. The alert stays visible here.", { labels: known.map(([name, value]) => `${name} = ${value}`).join(", ") }),
      fields: [
        field(t("For"), choice("hours", HOURS, "4")),
        field(t("Reason"), element("input", { name: "reason", required: true, maxlength: "500", placeholder: t("such as: a new card is installed at 14:00") })),
        this.viewer.name ? null : field(t("Your name"), element("input", { name: "by", required: true, maxlength: "200", autocomplete: "name" })),
      ].filter(Boolean),
      verb: t("Silence"),
      act: ({ hours, ...rest }) => sendJson("/data/silences", { labels: Object.fromEntries(known), hours: Number(hours), ...rest }),
    });
    if (done) this.refresh();
  }

  async end(silence) {
    const done = await askFor({
      title: t("End this silence"), text: t("From now on people are told of these alerts again."), verb: t("End the silence"),
      act: () => ask(`/data/silences/${encodeURIComponent(silence.id)}`, { method: "DELETE" }),
    });
    if (done) this.refresh();
  }

  async test() {
    await askFor({
      title: t("Test the receivers"),
      text: t("Alertmanager gets an alert named SafelightTest, and tells those who are told of alerts of this severity. The alert ends after a minute."),
      fields: [field(t("Severity"), choice("severity", ["critical", "warning", "info"].map((name) => [name, told(name)]), "warning"))],
      verb: t("Send the test"),
      act: (values) => sendJson("/data/alerts/test", values),
    });
  }

  async history() {
    clearTimeout(this.again);
    try {
      const found = await fetchJson("/data/alerts/history", { seconds: this.range.value }, this.ended.signal);
      this.past.replaceChildren(...lanes(found));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.past.replaceChildren(absentOf(error) ? unknown(messageOf(error)) : element("p", { class: "problem", role: "alert" }, messageOf(error)));
      this.again = setTimeout(() => this.history(), EVERY_MS);
    }
  }
}

function receiversOf(alert) {
  if (alert.receivers === null) return alert.state === "pending" ? t("Nobody is told yet.") : "";
  const names = alert.receivers.filter((name) => name !== "none" && name !== "quiet");
  if (alert.state !== "firing") return t("Nobody is told.");
  return names.length ? t("Told: {names}", { names: names.join(", ") }) : t("Nobody is told: no receiver is set up for this severity.");
}

/** Return one lane per alert, with a bar for each time that it fired. */
function lanes({ begin, end, step, episodes, left_out: leftOut }) {
  if (!episodes.length) return [element("p", { class: "faint" }, t("No alert fired in this time."))];
  const byName = Map.groupBy(episodes, ({ labels }) => [labels.alertname, labels.job].filter(Boolean).join(" · "));
  const place = (at) => `${((at - begin) / (end - begin)) * 100}%`;
  const bar = (episode) => {
    const length = Math.max(episode.end - episode.begin, step);
    const said = `${moment(episode.begin).local}, ${episode.lasts ? t("still firing") : t("for {time}", { time: ago(length) })}`;
    const made = element("i", { class: `bar ${episode.labels.severity ?? ""}`, title: said, role: "img", "aria-label": said });
    made.style.left = place(episode.begin);
    made.style.width = `max(3px, ${(length / (end - begin)) * 100}%)`;
    return made;
  };
  const rows = [...byName].map(([name, own]) => element("li", {},
    element("span", { title: name }, name),
    element("div", { class: "lane" }, own.map(bar)),
    element("span", { class: "faint" }, own.length === 1 ? t("once") : t("{count} times", { count: own.length }))));
  return [
    element("ul", { class: "lanes" }, rows),
    element("p", { class: "faint axis" }, element("span", {}, moment(begin).local), element("span", {}, moment(end).local)),
    leftOut ? element("p", { class: "faint" }, t("{count} more are not shown.", { count: leftOut })) : "",
  ];
}
