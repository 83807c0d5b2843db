// The page Now: is everything all right, and if not, what is it?

import { absentNotice } from "../absent.js";
import { element, fetchJson, messageOf, refill, sendJson } from "../dom.js";
import { prose, sentence } from "../prose.js";
import { spark } from "../spark.js";
import { ago, format, moment } from "../units.js";
import { joined, t, told } from "../words.js";

const IMAGES_EVERY_MS = 15_000;
const MOST_IMAGES = 8;
const REOPEN_MS = 3000;
const TICK_MS = 1000;
const LATE_SECONDS = 15; // three readings
const ORDER = ["critical", "warning", "info"];

/** Show the page; return the function that leaves it. */
export function show(page, { start }) {
  document.title = `${t("Now")} · Safelight`;
  const body = element("div", { class: "now" }, element("p", { class: "faint" }, t("Reading from Prometheus …")));
  const clock = element("span", { class: "faint clock", "aria-live": "off" });
  page.replaceChildren(element("div", { class: "head" }, element("h1", {}, t("Now")), demo(start.services), clock), body);
  const images = new LatestImages();
  let last = "";
  let readAt = performance.now();
  const live = new Live({
    take: (overview) => {
      readAt = performance.now();
      body.classList.remove("late");
      if (overview.at) {
        const { local, utc } = moment(overview.at);
        clock.textContent = local;
        clock.title = utc;
      }
      const shown = JSON.stringify({ ...overview, at: 0 });
      if (shown === last || selects(body)) return; // a text that somebody selects stays
      fill(body, overview, { ...start, images });
      last = shown;
    },
    lose: () => {
      readAt = Infinity; // until it answers again, Prometheus is not to blame
      clock.textContent = t("Not live: the console does not answer.");
      last = "";
    },
  });
  const ticker = setInterval(() => {
    if (document.hidden) readAt = performance.now(); // a hidden page reads nothing
    const age = (performance.now() - readAt) / 1000;
    if (age < LATE_SECONDS) return;
    clock.textContent = t("Prometheus is slow: no new reading for {time}.", { time: ago(age) });
    body.classList.add("late");
  }, TICK_MS);
  return () => {
    clearInterval(ticker);
    live.end();
    images.end();
  };
}

/** Return whether somebody selects a text of a place. */
function selects(place) {
  const selection = getSelection();
  return selection.type === "Range" && place.contains(selection.anchorNode);
}

/**
 * The stream of readings. A browser gives a refused one up: then the session has ended, or the console is full.
 * A hidden page has none: a browser opens six connections to one console for all its tabs.
 */
class Live {
  constructor({ take, lose }) {
    this.take = take;
    this.lose = lose;
    this.ended = new AbortController();
    this.see = () => (document.hidden ? this.close() : this.open());
    document.addEventListener("visibilitychange", this.see, { signal: this.ended.signal });
    if (!document.hidden) this.open();
  }

  open() {
    this.close();
    this.stream = new EventSource("/data/live");
    this.stream.onmessage = ({ data }) => this.take(JSON.parse(data));
    this.stream.onerror = () => {
      this.lose();
      if (this.stream.readyState === EventSource.CLOSED) this.reopen();
    };
  }

  async reopen() {
    try {
      await fetchJson("/data/start", {}, this.ended.signal); // asks to log in, if that is the reason
    } catch {
      // The console is gone or busy: try again below.
    }
    this.again = setTimeout(() => { if (!this.ended.signal.aborted && !document.hidden) this.open(); }, REOPEN_MS);
  }

  close() {
    clearTimeout(this.again);
    this.stream?.close();
  }

  end() {
    this.ended.abort();
    this.close();
  }
}

/** The images that services kept last, below the numbers of each service. */
class LatestImages {
  constructor() {
    this.found = [];
    this.places = new Map();
    this.ended = new AbortController();
    this.timer = setInterval(() => this.load(), IMAGES_EVERY_MS);
    this.load();
  }

  async load() {
    if (document.hidden) return;
    try {
      const found = await fetchJson("/data/latest", {}, this.ended.signal);
      const isNew = found[0]?.request_id !== this.found[0]?.request_id;
      this.found = found;
      if (isNew) this.fill();
    } catch {
      // The numbers do not need images. The page Requests says what is wrong with the records.
    }
  }

  /** Return the place of a service's images, which stays when the numbers around it change. */
  placeOf(namespace) {
    if (!this.places.has(namespace)) {
      this.places.set(namespace, element("div", { class: "latest", "aria-label": t("The latest images"), role: "group", hidden: true }));
      this.fill();
    }
    return this.places.get(namespace);
  }

  fill() {
    for (const [namespace, place] of this.places) {
      const own = this.found.filter((row) => row.namespace === namespace).slice(0, MOST_IMAGES);
      place.hidden = !own.length;
      place.replaceChildren(...own.map((row) => {
        const text = `${row.instruction_type.replaceAll("_", " ")}, ${row.status_code}`;
        return element("a", { href: `/requests/${encodeURIComponent(row.request_id)}`, title: `${text}, ${moment(row.at).local}` },
          element("img", { src: `/data/requests/${encodeURIComponent(row.request_id)}/after`, alt: text, loading: "lazy", onerror: (event) => event.target.parentElement.remove() }));
      }));
    }
  }

  end() {
    this.ended.abort();
    clearInterval(this.timer);
  }
}

/** Return buttons that send a minute of traffic to the demo models; none for other models. */
function demo(services) {
  const place = element("div", { class: "actions demo" });
  const says = element("span", { class: "faint", role: "status" });
  fetchJson("/data/demo").then(
    (found) => place.replaceChildren(...found.map(({ service, model }) => trafficButton(service, model, services[service], says)), says),
    () => {}, // without buttons, the page is as useful
  );
  return place;
}

function trafficButton(number, name, address, says) {
  const button = element("button", { type: "button", title: address, onclick: send }, t("Send a minute of demo traffic to {name}", { name }));
  async function send() {
    button.disabled = true;
    try {
      const { requests, seconds } = await sendJson("/data/demo", { service: number });
      says.textContent = t("Up to {count} requests in {time} are on their way.", { count: requests, time: format(seconds, "s") });
      setTimeout(() => { button.disabled = false; says.textContent = ""; }, 1000 * seconds);
    } catch (error) {
      says.textContent = messageOf(error);
      button.disabled = false;
    }
  }
  return button;
}

function fill(body, overview, { pages, images }) {
  if (overview.absent) {
    body.replaceChildren(absentNotice(overview.absent, pages));
    return;
  }
  if (overview.problem) {
    body.replaceChildren(element("p", { class: "problem", role: "alert" }, told(overview.problem)));
    return;
  }
  const others = overview.alerts.filter((alert) => !overview.services.some((service) => service.job === alert.job));
  refill(body,
    ...overview.services.map((service) => serviceView(service, overview, images)),
    ...(others.length ? [element("section", { class: "card service" }, element("h2", {}, t("Other alerts")), alertList(others, overview.at))] : []),
  );
}

function serviceView(service, { alerts, at }, images) {
  const own = alerts.filter((alert) => alert.job === service.job);
  const firing = own.filter((alert) => alert.state === "firing");
  const isBad = firing.length > 0 || service.stats.some((stat) => stat.state === "bad");
  const label = service.job === service.namespace ? service.job : `${service.namespace} ${service.job}`;
  return element("section", { class: "card service", "aria-label": label },
    element("div", { class: "title" },
      element("span", { class: `dot ${isBad ? "bad" : "good"}`, "aria-hidden": "true" }),
      element("h2", {}, service.namespace),
      service.job === service.namespace ? null : element("span", { class: "faint", title: t("The job of Prometheus that scrapes it") }, service.job),
      element("span", { class: "faint" }, isBad ? t("needs attention") : t("all right"))),
    element("div", { class: "stats" }, service.stats.map((stat) => statView(stat, service))),
    finding(service, isBad),
    images.placeOf(service.namespace),
    own.length ? alertList(own, at) : null);
}

function statView(stat, service) {
  const [first, ...rest] = stat.values;
  const more = rest.map(([name, value]) => `${told(name)} ${format(value, stat.unit)}`);
  return element("a", { class: `stat ${stat.state}`, href: boardAddress(stat.onward, service), title: joined(told(stat.text), stat.trend.length ? t("The line shows the last half hour.") : "") },
    element("span", { class: "name" }, told(stat.title)),
    element("strong", {}, first ? format(first[1], stat.unit) : t("no data")),
    element("span", { class: "faint" }, first ? [told(first[0]), ...more].join(" · ") : ""),
    spark(stat.trend));
}

function finding(service, isBad) {
  const found = service.finding;
  if (!service.is_judged) return element("p", { class: "second" }, t("Looking for causes …"));
  if (!found && isBad && service.requests) return element("p", { class: "second" }, t("The diagnosis names no cause yet."));
  if (!found) return element("p", { class: "headline" }, service.requests ? t(service.requests > 1 ? "Healthy, with {count} requests." : "Healthy, with one request.", { count: service.requests }) : t("No findings, and no requests."));
  return element("div", { class: `finding ${found.severity}` },
    element("p", { class: "headline" }, told(found.title)),
    element("p", {}, sentence(found.verdict)),
    found.remedy.length ? element("p", {}, element("b", {}, t("Do:"), " "), prose(found.remedy[0])) : null,
    element("p", { class: "faint" }, t("Certainty {share}.", { share: format(found.confidence, "percentunit") }), " ", sentence(found.evidence[0]?.says ?? "")));
}

function alertList(alerts, at) {
  const order = (alert) => 10 * Number(alert.state !== "firing") + (ORDER.indexOf(alert.severity) + ORDER.length) % ORDER.length;
  const worstFirst = alerts.toSorted((one, other) => order(one) - order(other) || one.since.localeCompare(other.since));
  return element("ul", { class: "alerts" }, worstFirst.map((alert) => {
    const since = Date.parse(alert.since) / 1000;
    return element("li", {},
      element("span", { class: `badge ${alert.state} ${alert.severity}` }, alert.state === "firing" ? told(alert.severity) : `${told(alert.severity)} · ${told(alert.state)}`),
      element("a", { href: boardAddress(alert.dashboard, { job: alert.job }) }, alert.name),
      element("span", {}, prose(alert.summary)),
      element("time", { class: "faint", datetime: alert.since, title: moment(since).utc }, t("for {time}", { time: ago(at - since) })));
  }));
}

function boardAddress(uid, service) {
  const query = new URLSearchParams();
  if (service.namespace) query.set("namespace", service.namespace);
  if (service.job) query.set("job", service.job);
  return `/dashboards/${uid || "safelight-live"}?${query}`;
}
