// The page Instructions: which types succeed, how good and how fast they are, and where people disagree.

import { colourOf } from "../charts.js";
import { element, fetchJson, messageOf } from "../dom.js";
import { resultOf } from "../results.js";
import { AXES, Chart, NAMES, radarOptions, says, settingOf, tradeoffOptions } from "../scores.js";
import { format, moment } from "../units.js";
import { capital, t } from "../words.js";

const TIMES = [["3600", t("Last hour")], ["86400", t("Last day")], ["604800", t("Last 7 days")], ["2592000", t("Last 30 days")]];
const QUALITIES = [["score", t("Score")], ["adherence", t("Adherence")], ["structure", t("Kept structure")], ["rating", t("Rating")]];
const STARS = [1, 2, 3, 4, 5];
const MOST_DRAWN = 3; // at first
const AGAIN_MS = 5000;

const spaced = (name) => name.replaceAll("_", " ");
const linkTo = (type, more = {}) => `/requests?${new URLSearchParams({ type, ...more })}`;

/** Show the page; return the function that leaves it. */
export function show(page, context) {
  document.title = `${t("Instructions")} · Safelight`;
  const view = new InstructionsView(page, context);
  view.load();
  return () => view.end();
}

class InstructionsView {
  constructor(page, { start }) {
    this.isOperator = start.viewer.scopes.includes("operate");
    this.chosen = { seconds: "604800", ...Object.fromEntries(new URLSearchParams(location.search)) };
    this.services = [];
    this.drawn = null;
    this.charts = [];
    this.ended = new AbortController();
    this.choices = element("div", { class: "choices filters" });
    this.status = element("span", { class: "faint clock", role: "status" });
    this.body = element("div", { class: "stack" }, element("p", { class: "faint" }, t("Reading the records …")));
    page.replaceChildren(element("div", { class: "head" }, element("h1", {}, t("Instructions")), this.status), this.choices, this.body);
    this.fillChoices();
  }

  fillChoices() {
    const several = this.services.length > 1;
    this.choices.replaceChildren(
      this.select(t("Time range"), "seconds", TIMES),
      ...(several ? [this.select(t("Service"), "service", this.services.map((name) => [name, name]))] : []));
  }

  select(label, name, pairs) {
    const value = this.chosen[name] ?? "";
    const shown = pairs.some(([each]) => each === value) || !value ? pairs : [...pairs, [value, value]];
    const control = element("select", { name, onchange: () => this.choose({ [name]: control.value }) },
      shown.map(([each, text]) => element("option", { value: each, selected: each === value }, text)));
    return element("label", {}, element("span", {}, label), control);
  }

  choose(changes) {
    this.chosen = { ...this.chosen, ...changes };
    const kept = Object.entries(this.chosen).filter(([, value]) => value !== "");
    history.pushState(null, "", `/instructions?${new URLSearchParams(kept)}`);
    this.load();
  }

  async load() {
    this.asking?.abort();
    this.asking = new AbortController();
    clearTimeout(this.again);
    this.body.setAttribute("aria-busy", "true");
    try {
      this.fill(await fetchJson("/data/instructions", this.chosen, this.asking.signal));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.fail(error);
    }
    this.body.removeAttribute("aria-busy");
  }

  fail(error) {
    const returns = error.status === undefined || error.status >= 500;
    this.drop();
    this.status.textContent = "";
    this.body.replaceChildren(element("div", { class: "card block stack" },
      element("p", { class: "problem", role: "alert" }, messageOf(error)),
      returns ? element("p", { class: "faint" }, t("This page tries again by itself.")) : null));
    if (returns) this.again = setTimeout(() => this.load(), AGAIN_MS);
  }

  fill(found) {
    this.drop();
    this.services = found.services;
    this.chosen.service = found.service;
    this.fillChoices();
    const since = moment(found.since);
    this.status.textContent = t(found.is_limited ? "The newest {count} requests, since {time}" : found.requests === 1 ? "One request since {time}" : "{count} requests since {time}", { count: found.requests, time: since.local });
    this.status.title = since.utc;
    if (!found.requests) {
      this.body.replaceChildren(element("p", { class: "card block faint" }, t("No request in this time has an instruction type. Choose a longer time.")));
      return;
    }
    this.body.replaceChildren(
      this.scores(found),
      card(t("Quality and time"), this.tradeoff(found.tradeoff)),
      card(t("Ratings"), this.ratings(found)),
      card(t("People and the score disagree"), this.disagreements(found.disagreements, found.rated)),
      card(t("The worst of each type"), this.worst(found.worst)));
    for (const chart of this.charts) chart.draw();
  }

  chart(name, label, options) {
    const made = new Chart(name, label, options);
    this.charts.push(made);
    return made;
  }

  // ── Scores ─────────────────────────────────────────────────────────────────────────────────────

  scores(found) {
    const place = new Map(found.leaders.map((name, rank) => [name, rank]));
    const types = [...found.types].sort((one, other) => (place.get(one.name) ?? 1e6) - (place.get(other.name) ?? 1e6));
    this.types = types;
    const axes = AXES.filter((axis) => types.some((each) => each.axes[axis]));
    const known = new Set(types.filter((each) => axes.every((axis) => each.axes[axis])).map((each) => each.name));
    this.drawn ??= new Set([...known].slice(0, MOST_DRAWN));
    const drawn = () => types.map((each, rank) => [each, rank]).filter(([each]) => known.has(each.name) && this.drawn.has(each.name));
    const radar = axes.length ? this.chart("radar", t("Scores of the chosen types on four axes, from 0 to 10. The table has the numbers."), () => radarOptions(drawn(), axes)) : null;
    const costs = new Map(found.costs.map((cost) => [cost.name, cost]));
    const has = { ratings: types.some((each) => each.rating), costs: found.costs.some((cost) => cost.seconds_per_good) };
    const head = ["", t("Type"), t("Success"), ...AXES.map((axis) => NAMES[axis]), has.ratings ? t("Rating") : null, has.costs ? t("Device time") : null, t("Requests")].filter((name) => name !== null);
    const table = element("table", { class: "scores" },
      element("caption", { class: "unseen" }, t("Instruction types, the best first")),
      element("thead", {}, element("tr", {}, head.map((name) => element("th", { scope: "col", title: name === t("Device time") ? t("Device time per good request") : null }, capital(name))))),
      element("tbody", {}, types.map((each, rank) => this.type(each, rank, { cost: costs.get(each.name), canDraw: radar !== null && known.has(each.name) }, has, radar))));
    return element("section", { class: "card block", "aria-label": t("Scores") },
      element("div", { class: "leaderboard" }, element("div", { class: "scroll" }, table), radar ? radar.node : null),
      element("p", { class: "faint" }, t("Ordered by the lower end of the 95 % interval of success. Axes go from 0 to 10; hover a number for its interval."), found.left_out ? ` ${t("{count} rarer types are not shown.", { count: found.left_out })}` : ""));
  }

  type(each, rank, { cost, canDraw }, has, radar) {
    const toggle = element("input", { type: "checkbox", checked: canDraw && this.drawn.has(each.name), disabled: !canDraw, title: canDraw ? null : t("Too few requests, or not measured"), "aria-label": t("Draw {type}", { type: spaced(each.name) }) });
    toggle.style.accentColor = colourOf(rank);
    toggle.addEventListener("change", () => {
      if (toggle.checked) this.drawn.add(each.name);
      else this.drawn.delete(each.name);
      radar.draw();
    });
    const rating = each.rating ? `${each.rating.value.toFixed(1)}` : "";
    return element("tr", {},
      element("td", { class: "toggle" }, toggle),
      element("th", { scope: "row" }, element("a", { href: linkTo(each.name) }, spaced(each.name))),
      element("td", { class: "success" }, success(each.success), each.success && each.success.value < 1 ? element("a", { class: "faint", href: linkTo(each.name, { result: "failed" }) }, t("failures")) : ""),
      AXES.map((axis) => score(each.axes[axis], NAMES[axis])),
      has.ratings ? element("td", { "data-name": t("Rating"), title: each.rating ? intervalOf(each.rating, "short") : null }, rating || "–") : null,
      has.costs ? element("td", { "data-name": t("Device time") }, cost?.seconds_per_good ? format(cost.seconds_per_good, "s") : "–") : null,
      element("td", { class: "second", "data-name": t("Requests") }, String(each.requests)));
  }

  // ── Quality and time ───────────────────────────────────────────────────────────────────────────

  tradeoff(found) {
    const chosen = element("div", { class: "choices" }, this.select(t("Quality"), "by", QUALITIES));
    if (!found.choices.length) return [chosen, element("p", { class: "faint" }, t("No setting has enough requests whose quality is known."))];
    const chart = this.chart("tradeoff", t("{quality} beside seconds for {count} settings. The list has the numbers.", { quality: NAMES[found.by], count: found.choices.length }), () => tradeoffOptions(found));
    const rows = found.choices.map((choice) => element("li", { class: choice.on_front ? "best" : "" },
      `${settingOf(choice)}: ${says(choice, found.by)}`,
      choice.on_front ? `, ${t("worth choosing")}` : choice.surely_worse ? `, ${t("slower and worse than another")}` : ""));
    return [chosen, chart.node,
      element("p", { class: "faint" }, t("The line joins the settings that no other one beats in both."), found.too_few ? ` ${t("{count} settings have too few requests.", { count: found.too_few })}` : ""),
      element("details", {}, element("summary", {}, t("Every setting")), element("ul", { class: "notes" }, rows))];
  }

  // ── Ratings ────────────────────────────────────────────────────────────────────────────────────

  ratings({ ratings, agreement }) {
    const names = Object.keys(ratings);
    if (!names.length) return element("p", { class: "faint" }, t("Nobody has rated a request in this time."));
    const key = element("p", { class: "faint key" }, STARS.map((stars) => element("span", {}, element("i", { class: `stars-${stars}` }), stars === 1 ? t("1, bad") : stars === 5 ? t("5, good") : String(stars))));
    const rows = names.map((name) => {
      const counts = ratings[name];
      const total = counts.reduce((sum, count) => sum + count, 0);
      const parts = counts.map((count, place) => {
        const part = element("i", { class: `stars-${place + 1}`, title: `${place + 1}: ${count}` });
        part.style.width = `${(100 * count) / total}%`;
        return part;
      });
      const label = STARS.map((stars, place) => `${stars}: ${counts[place]}`).join(", ");
      return element("tr", {},
        element("th", { scope: "row" }, element("a", { href: linkTo(name, { rating: "rated" }) }, spaced(name))),
        element("td", { class: "parts" }, element("div", { class: "track", role: "img", "aria-label": label }, parts)),
        element("td", { class: "second" }, String(total)));
    });
    const joined = agreement
      ? t("Rank correlation of ratings and scores: {value} ({low} to {high}, {count} requests).", { value: agreement.value.toFixed(2), low: agreement.low.toFixed(2), high: agreement.high.toFixed(2), count: agreement.count })
      : t("Too few requests have a rating and a score to compare the two.");
    return [key, element("table", { class: "ratings" }, element("tbody", {}, rows)), element("p", { class: "faint" }, joined)];
  }

  disagreements(found, rated) {
    if (!found.length) return element("p", { class: "faint" }, rated ? t("No request is rated high with a low score, or the other way round.") : t("No request has a rating and a score yet."));
    return element("ul", { class: "tiles" }, found.map((each) => this.tile(each, [
      each.gap > 0 ? t("people rate it higher") : t("people rate it lower"),
      t("{stars} of 5, score {score}", { stars: each.rating, score: format(each.score, "short") }),
    ], spaced(each.instruction_type))));
  }

  worst(found) {
    const names = Object.keys(found);
    if (!names.length) return element("p", { class: "faint" }, t("No images are kept: SAFELIGHT_SAMPLES=true keeps some of each type."));
    return element("div", { class: "worst" }, names.map((name) => element("div", {}, element("h3", {}, spaced(name)),
      element("ul", { class: "tiles" }, found[name].map((each) => this.tile({ ...each, error: each.error }, [
        resultOf(each),
        [each.score === undefined ? null : t("score {score}", { score: format(each.score, "short") }), each.rating === undefined ? null : t("{stars} of 5", { stars: each.rating })].filter(Boolean).join(", "),
      ]))))));
  }

  /** Return a link to a request with its images, if the viewer may see them. */
  tile({ request_id: name, at }, texts, title = "") {
    const address = encodeURIComponent(name);
    const image = (which) => element("img", { src: `/data/requests/${address}/${which}`, alt: which === "before" ? t("The image before the edit") : t("The image after the edit"), loading: "lazy", onerror: (event) => event.target.remove() });
    const { local, utc } = moment(at);
    return element("li", {}, element("a", { href: `/requests/${address}` },
      this.isOperator ? element("span", { class: "images" }, image("before"), image("after")) : null,
      title ? element("strong", {}, title) : null,
      texts.filter((text) => text !== "").map((text) => element("span", {}, text)),
      element("time", { class: "faint", title: utc }, local)));
  }

  drop() {
    for (const chart of this.charts) chart.end();
    this.charts = [];
  }

  end() {
    this.ended.abort();
    this.asking?.abort();
    clearTimeout(this.again);
    this.drop();
  }
}

function card(title, ...children) {
  return element("section", { class: "card block stack", "aria-label": title }, element("h2", {}, title), children.flat());
}

function intervalOf({ low, high, count }, unit) {
  return t("{low} to {high} (95 %), {count} requests", { low: format(low, unit), high: format(high, unit), count });
}

/** Draw a share with its interval: a range with a mark. */
function success(value) {
  if (!value) return element("span", { class: "faint" }, t("too few"));
  const range = element("i", { class: "range" });
  range.style.left = `${100 * value.low}%`;
  range.style.right = `${100 * (1 - value.high)}%`;
  const mark = element("i", { class: "mark" });
  mark.style.left = `${100 * value.value}%`;
  return element("span", { class: "share", title: intervalOf(value, "percentunit") },
    element("span", { class: "track", "aria-hidden": "true" }, range, mark), element("span", {}, format(value.value, "percentunit")));
}

function score(value, name) {
  if (!value) return element("td", { class: "second", "data-name": name, title: t("Too few requests, or not measured") }, "–");
  return element("td", { "data-name": name, title: intervalOf(value, "short") }, value.value.toFixed(1));
}
