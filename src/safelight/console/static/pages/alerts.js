// The page Alerts: active alerts and what to do, their receivers, silences, and past alerts.

import { askFor, choice, field } from "../dialog.js";
import { ask, element, fetchJson, sendJson } from "../dom.js";
import { ago, moment } from "../units.js";

const EVERY_MS = 10_000;
const RANGES = [["21600", "6 hours"], ["86400", "1 day"], ["604800", "7 days"], ["2592000", "30 days"]];
const HOURS = [["1", "1 hour"], ["4", "4 hours"], ["12", "12 hours"], ["24", "1 day"], ["168", "7 days"]];
const WORDS = { firing: "firing", pending: "pending", silenced: "silenced", inhibited: "part of another alert" };
const seconds = (text) => Date.parse(text) / 1000;

/** Show the page; return the function that leaves it. */
export function show(page, { start }) {
  document.title = "Alerts · Safelight";
  const view = new AlertsView(page, start.viewer);
  view.refresh();
  view.history();
  const timer = setInterval(() => view.refresh(), EVERY_MS);
  return () => {
    clearInterval(timer);
    view.ended.abort();
  };
}

class AlertsView {
  constructor(page, viewer) {
    this.viewer = viewer;
    this.mayAct = viewer.scopes.includes("operate");
    this.ended = new AbortController();
    this.last = "";
    this.open = new Set();
    this.status = element("span", { class: "faint clock" });
    this.now = element("div", { class: "stack" }, element("p", { class: "faint" }, "Reading from Prometheus and Alertmanager …"));
    this.past = element("div", {});
    this.range = choice("range", RANGES, "86400");
    this.range.addEventListener("change", () => this.history());
    const test = element("button", { type: "button", disabled: !this.mayAct, onclick: () => this.test() }, "Test the receivers");
    page.replaceChildren(
      element("div", { class: "head" }, element("h1", {}, "Alerts"), test, this.status),
      this.now,
      element("section", { class: "card block", "aria-label": "History" },
        element("div", { class: "title" }, element("h2", {}, "History"), element("label", { class: "inline" }, "Last", this.range)), this.past));
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
      this.now.replaceChildren(element("p", { class: "problem", role: "alert" }, error.message));
    }
  }

  fill(found) {
    const quiet = ["silenced", "inhibited"];
    const loud = found.alerts.filter((alert) => !quiet.includes(alert.state));
    const others = found.alerts.filter((alert) => quiet.includes(alert.state));
    const nothing = element("p", { class: "calm" }, element("span", { class: "dot good", "aria-hidden": "true" }), "No alert is firing.");
    this.now.replaceChildren(
      found.problem ? element("p", { class: "notice" }, `${found.problem} Silences and receivers are unknown.`) : "",
      ...(loud.length ? loud.map((alert) => this.alert(alert, found.at)) : [nothing]),
      found.left_out ? element("p", { class: "faint" }, `${found.left_out} more alerts are not shown.`) : "",
      others.length ? this.section("Quiet: silenced, or part of another alert", others.map((alert) => this.alert(alert, found.at))) : "",
      found.silences.length ? this.section("Silences", [this.silences(found)]) : "");
  }

  section(title, children) {
    return element("section", { class: "stack", "aria-label": title }, element("h2", { class: "over" }, title), children);
  }

  alert(alert, at) {
    const { alertname, severity, job = "", instance = "" } = alert.labels;
    const key = JSON.stringify(alert.labels);
    const since = seconds(alert.since);
    const details = element("details", { open: this.open.has(key), ontoggle: () => (details.open ? this.open.add(key) : this.open.delete(key)) },
      element("summary", {}, "What it means and what to do"),
      element("dl", {}, this.texts(alert).flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)])));
    return element("article", { class: `card alert ${alert.state} ${severity}`, "aria-label": alertname },
      element("div", { class: "title" },
        element("span", { class: `badge ${alert.state} ${severity}` }, severity),
        element("h3", {}, alertname),
        element("span", { class: "faint" }, [job, instance].filter(Boolean).join(" · ")),
        element("time", { class: "faint push", datetime: alert.since, title: moment(since).utc }, `${WORDS[alert.state] ?? alert.state} for ${ago(at - since)}`)),
      element("p", {}, alert.annotations.summary ?? ""),
      alert.annotations.description ? element("p", { class: "second" }, alert.annotations.description) : null,
      details,
      element("div", { class: "actions" },
        alert.dashboard ? element("a", { class: "button", href: `/dashboards/${alert.dashboard}?${new URLSearchParams(job ? { job } : {})}` }, "Dashboard") : null,
        alert.state === "silenced" ? null : element("button", { type: "button", disabled: !this.mayAct, title: this.mayAct ? null : "This needs a key with the scope operate.", onclick: () => this.silence(alert) }, "Silence"),
        element("span", { class: "faint" }, told(alert))));
  }

  texts(alert) {
    const { meaning, action } = alert.annotations;
    const labels = Object.entries(alert.labels).map(([name, value]) => `${name} = ${value}`).join(", ");
    return [["Means", meaning], ["Look at", alert.look], ["Do", action], ["Labels", labels]].filter(([, text]) => text);
  }

  silences({ silences }) {
    const row = (silence) => element("tr", {},
      element("td", {}, silence.matchers.map(({ name, value }) => `${name} = ${value}`).join(", ")),
      element("td", {}, silence.comment),
      element("td", {}, silence.created_by),
      element("td", {}, element("time", { datetime: silence.ends_at, title: moment(seconds(silence.ends_at)).utc }, moment(seconds(silence.ends_at)).local)),
      element("td", {}, element("button", { type: "button", disabled: !this.mayAct, onclick: () => this.end(silence) }, "End now")));
    return element("div", { class: "card block scroll" }, element("table", { class: "rows" },
      element("thead", {}, element("tr", {}, ["Alerts with", "Reason", "By", "Until", ""].map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, silences.map(row))));
  }

  async silence(alert) {
    const { alertname, job, instance } = alert.labels;
    const known = Object.entries({ alertname, job, instance }).filter(([, value]) => value);
    const done = await askFor({
      title: `Silence ${alertname}`,
      text: `Nobody is told of alerts with ${known.map(([name, value]) => `${name} = ${value}`).join(", ")} until the end. The alert stays visible here.`,
      fields: [
        field("For", choice("hours", HOURS, "4")),
        field("Reason", element("input", { name: "reason", required: true, maxlength: "500", placeholder: "such as: a new card is installed at 14:00" })),
        this.viewer.name ? null : field("Your name", element("input", { name: "by", required: true, maxlength: "200", autocomplete: "name" })),
      ].filter(Boolean),
      verb: "Silence",
      act: ({ hours, ...rest }) => sendJson("/data/silences", { labels: Object.fromEntries(known), hours: Number(hours), ...rest }),
    });
    if (done) this.refresh();
  }

  async end(silence) {
    const done = await askFor({
      title: "End this silence", text: "From now on people are told of these alerts again.", verb: "End the silence",
      act: () => ask(`/data/silences/${encodeURIComponent(silence.id)}`, { method: "DELETE" }),
    });
    if (done) this.refresh();
  }

  async test() {
    await askFor({
      title: "Test the receivers",
      text: "Alertmanager gets an alert named SafelightTest, and tells those who are told of alerts of this severity. The alert ends after a minute.",
      fields: [field("Severity", choice("severity", [["critical", "critical"], ["warning", "warning"], ["info", "info"]], "warning"))],
      verb: "Send the test",
      act: (values) => sendJson("/data/alerts/test", values),
    });
  }

  async history() {
    try {
      const found = await fetchJson("/data/alerts/history", { seconds: this.range.value }, this.ended.signal);
      this.past.replaceChildren(...lanes(found));
    } catch (error) {
      if (error.name !== "AbortError") this.past.replaceChildren(element("p", { class: "problem", role: "alert" }, error.message));
    }
  }
}

function told(alert) {
  if (alert.receivers === null) return alert.state === "pending" ? "Nobody is told yet." : "";
  const names = alert.receivers.filter((name) => name !== "none" && name !== "quiet");
  if (alert.state !== "firing") return "Nobody is told.";
  return names.length ? `Told: ${names.join(", ")}` : "Nobody is told: no receiver is set up for this severity.";
}

/** Return one lane per alert, with a bar for each time that it fired. */
function lanes({ begin, end, step, episodes, left_out: leftOut }) {
  if (!episodes.length) return [element("p", { class: "faint" }, `No alert was found. The history looks every ${ago(step)}.`)];
  const byName = Map.groupBy(episodes, ({ labels }) => [labels.alertname, labels.job].filter(Boolean).join(" · "));
  const place = (at) => `${((at - begin) / (end - begin)) * 100}%`;
  const bar = (episode) => {
    const length = Math.max(episode.end - episode.begin, step);
    const said = `${moment(episode.begin).local}, ${episode.lasts ? "still firing" : `for ${ago(length)}`}`;
    const made = element("i", { class: `bar ${episode.labels.severity ?? ""}`, title: said, role: "img", "aria-label": said });
    made.style.left = place(episode.begin);
    made.style.width = `max(3px, ${(length / (end - begin)) * 100}%)`;
    return made;
  };
  const rows = [...byName].map(([name, own]) => element("li", {},
    element("span", { title: name }, name),
    element("div", { class: "lane" }, own.map(bar)),
    element("span", { class: "faint" }, own.length === 1 ? "once" : `${own.length} times`)));
  return [
    element("ul", { class: "lanes" }, rows),
    element("p", { class: "faint axis" }, element("span", {}, moment(begin).local), element("span", {}, moment(end).local)),
    leftOut ? element("p", { class: "faint" }, `${leftOut} more are not shown.`) : "",
  ];
}
