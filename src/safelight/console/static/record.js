// One request in full: images, stages, every field, its log lines, and others of its type beside it.

import { askFor } from "./dialog.js";
import { ask, element, fetchJson, messageOf } from "./dom.js";
import { cellsOf, isFaultOfService, reasonOf, resultOf } from "./results.js";
import { slowStages } from "./slow.js";
import { format, inColumn, moment } from "./units.js";
import { locale, t, told } from "./words.js";

const AGAIN_MS = 5000;
const SETTLED_SECONDS = 50; // after the request, when Prometheus has its samples
const GROUPS = [
  [t("Made by"), { model: t("model"), pipeline: t("pipeline"), precision: t("precision") }],
  [t("Asked"), { steps_asked: t("steps"), guidance_asked: t("guidance"), image_guidance_asked: t("image guidance"), negative_prompt: t("negative prompt") }],
  [t("Done"), { steps: t("steps"), guidance_in_force: t("guidance"), image_guidance_in_force: t("image guidance"), seed: t("seed"), batch: t("images in the batch") }],
  [t("Changed"), { degraded: t("degraded"), overridden: t("overridden"), truncated: t("instruction truncated") }],
  [t("Image"), { width: t("width"), height: t("height"), background_entropy: t("background entropy") }],
  [t("Found"), { found_error: t("damage"), found_score: t("score"), found_structure: t("structure"), found_adherence: t("adherence"), found_sharpness: t("sharpness"), found_exposure: t("exposure"), found_colourfulness: t("colourfulness"), found_cleanness: t("cleanness"), found_edges: t("edges"), found_changed: t("changed") }],
  [t("Rating"), { rating: t("stars of 5"), rating_reason: t("reason") }],
];
const PAIR = { // the name, and how its value reads
  latency: [t("Latency"), "ratio"], memory: [t("Memory"), "ratio"],
  validity: [t("Valid output"), "gain"], structure: [t("Structure"), "gain"], score: [t("Score"), "gain"], adherence: [t("Adherence"), "gain"],
  image_difference: [t("Difference of the images"), "distance"], label_difference: [t("Difference of the labels"), "distance"], calibration: [t("Difference of the confidence"), "distance"],
};
const MEASURES = [
  [t("Took"), (row) => row.seconds, "s"],
  [t("Queue"), (row) => row.queue_seconds, "s"],
  [t("Steps"), (row) => row.steps, "short"],
  [t("Guidance"), (row) => row.guidance_in_force, "short"],
  [t("Image guidance"), (row) => row.image_guidance_in_force, "short"],
  [t("Background"), (row) => row.background_entropy, "short"],
  [t("Score"), (row) => row.found_score, "short"],
  [t("Structure"), (row) => row.found_structure, "short"],
  [t("Adherence"), (row) => row.found_adherence, "short"],
];
const ALTS = { before: t("The image before the edit"), after: t("The image after the edit"), second: t("The second model's image") };
const DIFFERENT = 1.5; // times the other median
const LEAST_COMPARED = 0.001; // seconds; many times nothing says nothing

const isShown = (value) => value !== undefined && value !== null && value !== "" && value !== false && value !== "none";
const textOf = (value) => (typeof value === "number" ? format(value, "short") : value === true ? t("yes") : String(value).replaceAll(",", ", "));

export class RecordView {
  constructor(page, name, { start, open, back }) {
    document.title = `${t("Request")} · Safelight`;
    this.page = page;
    this.name = name;
    this.start = start;
    this.open = open;
    this.back = back;
    this.isOperator = start.viewer.scopes.includes("operate");
    this.ended = new AbortController();
    page.replaceChildren(this.way(), element("p", { class: "faint" }, t("Reading the record …")));
  }

  way() {
    return element("p", { class: "way" }, element("a", { href: this.back }, t("← Requests")));
  }

  async load() {
    const address = `/data/requests/${encodeURIComponent(this.name)}`;
    try {
      const found = await fetchJson(address, {}, this.ended.signal);
      this.fill(found);
      this.compare(found.record);
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
    }
  }

  fail(error) {
    if (error.status === 404) {
      this.page.replaceChildren(this.way(), element("h1", {}, t("There is no such request")),
        element("p", { class: "question" }, t("It was deleted, or it is older than the records that are kept. One that ended a moment ago appears a second later.")));
      return;
    }
    const returns = error.status === undefined || error.status >= 500;
    this.page.replaceChildren(this.way(), element("p", { class: "problem", role: "alert" }, messageOf(error)),
      returns ? element("p", { class: "faint" }, t("This page tries again by itself.")) : "");
    if (returns) this.again = setTimeout(() => this.load(), AGAIN_MS);
  }

  end() {
    this.ended.abort();
    clearTimeout(this.again);
  }

  // ── The record ─────────────────────────────────────────────────────────────────────────────────

  fill(found) {
    const { record, usual, images } = found;
    const { local, utc } = moment(record.at);
    this.beside = element("div", {}, element("p", { class: "faint" }, t("Looking for others …")));
    this.page.replaceChildren(
      this.way(),
      element("div", { class: "head" }, element("h1", { class: isFaultOfService(record) ? "failed" : "" }, headline(record)), this.remove(record)),
      element("p", { class: "second" },
        element("time", { datetime: new Date(1000 * record.at).toISOString(), title: utc }, local), ` · ${record.namespace} · ${record.endpoint} · `,
        element("a", { href: `/requests?${new URLSearchParams({ type: record.instruction_type })}` }, record.instruction_type.replaceAll("_", " ")), " · ",
        element("a", { href: `/report?${new URLSearchParams({ namespace: record.namespace, at: Math.floor(record.at + SETTLED_SECONDS) })}` }, t("Health report of that time"))),
      element("p", { class: "faint mono" }, record.request_id, record.caller_key ? ` · ${t("caller's id {id}", { id: record.caller_key })}` : ""),
      found.namesakes ? element("p", { class: "notice" }, t("The newest of {count} requests with this id.", { count: found.namesakes + 1 })) : "",
      element("div", { class: "record" },
        images.before || images.after ? section(t("Images"), this.images(record, images)) : element("p", { class: "faint" }, t("No images are kept: SAFELIGHT_SAMPLES=true keeps some of each type.")),
        record.second_model ? section(t("Compared with the second model"), compared(record)) : "",
        section(t("Stages"), stages(record, usual)),
        section(t("Everything that is known"), facts(found)),
        section(t("Log"), log(found)),
        section(t("Failed and good ones of this type"), this.beside)));
  }

  images(record, { before, after, second }) {
    if (!this.isOperator) return element("p", { class: "faint" }, t("Images and instructions are shown to operators only."));
    const figure = (name, text, isThere) => isThere
      ? element("figure", {}, element("img", { src: `/data/requests/${encodeURIComponent(record.request_id)}/${name}`, alt: ALTS[name], onerror: (event) => event.target.replaceWith(element("p", { class: "faint" }, t("This image cannot be shown. It may have been deleted."))) }), element("figcaption", { class: "faint" }, text))
      : element("figure", {}, element("p", { class: "faint" }, name === "before" ? t("No image before: it was generated.") : t("No image after.")));
    return element("div", { class: "pair" }, figure("before", t("Before"), before), figure("after", second ? t("After, by the served model") : t("After"), after), second ? figure("second", t("After, by the second model"), second) : "");
  }

  remove(record) {
    const may = this.start.viewer.scopes.includes("rate") && this.start.services.length > 0;
    return element("button", { type: "button", class: "danger push", disabled: !may, title: may ? null : t("This needs a key with the scope rate."), onclick: () => this.askToRemove(record) }, t("Delete"));
  }

  async askToRemove(record) {
    const done = await askFor({
      title: t("Delete this request"),
      text: t("Its record, rating, images and what a second model made of it are deleted, now and for ever. Only the key that made the request can do this."),
      verb: t("Delete"), danger: true,
      act: () => this.forget(record),
    });
    if (done) this.open(this.back);
  }

  /** Ask each service: only one of them made the request. */
  async forget(record) {
    let last = null;
    for (const place of this.start.services.keys()) {
      try {
        await ask(`/service/${place}/v1/requests/${encodeURIComponent(record.request_id)}/record`, { method: "DELETE" });
        return;
      } catch (error) {
        if (last === null || error.status !== 404) last = error;
      }
    }
    throw last;
  }

  // ── Others of its type ─────────────────────────────────────────────────────────────────────────

  async compare(record) {
    try {
      const found = await fetchJson(`/data/requests/${encodeURIComponent(record.request_id)}/beside`, {}, this.ended.signal);
      this.beside.replaceChildren(besideTable(record, found, this.isOperator));
    } catch (error) {
      if (error.name !== "AbortError") this.beside.replaceChildren(element("p", { class: "problem" }, messageOf(error)));
    }
  }
}

function section(title, ...children) {
  return element("section", { class: "card block", "aria-label": title }, element("div", { class: "title" }, element("h2", {}, title)), children);
}

function headline(record) {
  const ending = `${record.status_code} ${reasonOf(record).replaceAll("_", " ")}`;
  const values = { ending, time: format(record.seconds, "s"), queue: format(record.queue_seconds, "s") };
  return t(record.queue_seconds > 0 ? "{ending} after {time}, {queue} of it in the queue" : "{ending} after {time}", values);
}

/** Draw each stage as a bar, with a mark where it usually ends. */
export function stages(record, usual, isKnown = true) {
  const own = Object.entries(record.stages);
  if (!own.length) return element("p", { class: "faint" }, t("No stages: the request ended before the first."));
  const longest = Math.max(1e-9, ...own.map(([name, seconds]) => Math.max(seconds, usual[name] ?? 0)));
  const share = (seconds) => `${(100 * seconds) / longest}%`;
  const slow = slowStages(record.stages, usual);
  const rows = own.map(([name, seconds]) => {
    const typical = usual[name];
    const isSlow = slow.includes(name);
    const bar = element("i", { class: `bar${isSlow ? " slow" : ""}` });
    bar.style.width = share(seconds);
    const mark = typical === undefined ? null : element("i", { class: "mark", title: t("usually {time}", { time: format(typical, "s") }) });
    if (mark) mark.style.left = share(typical);
    return element("tr", {},
      element("th", { scope: "row" }, name.replaceAll("_", " ")),
      element("td", { class: "stage" }, element("div", { class: "track" }, bar, mark)),
      element("td", {}, inColumn(seconds, "s")),
      element("td", { class: "second" }, typical === undefined ? "" : inColumn(typical, "s")),
      element("td", { class: "times" }, isSlow ? longerBy(seconds, typical) : ""));
  });
  const names = [t("Stage"), "", t("This"), t("Usual"), ""].map((name) => element("th", { scope: "col" }, name));
  return element("div", {},
    element("table", { class: "stages" }, element("thead", {}, element("tr", {}, names)), element("tbody", {}, rows)),
    Object.keys(usual).length ? element("p", { class: "faint" }, t("The mark is the median of good requests of this type before it.")) : isKnown ? element("p", { class: "faint" }, t("Too few earlier requests of this type to compare with.")) : "");
}

function longerBy(seconds, usual) {
  return usual > LEAST_COMPARED ? t("{count} times", { count: (seconds / usual).toFixed(1) }) : `+${format(seconds - usual, "s")}`;
}

/** Say what the second model made of a request, beside what the served one made. */
function compared(record) {
  const known = Object.entries(PAIR).filter(([name]) => typeof record.second_measures[name] === "number");
  const rows = known.map(([name, [title, kind]]) => [element("dt", {}, title), element("dd", {}, pairValue(record.second_measures[name], kind))]);
  return element("div", {},
    element("p", {}, record.second_model),
    element("dl", { class: "facts" }, rows.flat()),
    element("p", { class: "faint" }, t("Both models got the same input, seed and instruction. One pair proves nothing: safelight shadow shows all of them.")));
}

function pairValue(value, kind) {
  if (kind === "ratio") return t("{count} times that of the served model", { count: value.toFixed(2) });
  const points = (100 * value).toFixed(1);
  return t("{count} points of 100", { count: kind === "gain" && value > 0 ? `+${points}` : points });
}

function facts({ record, price, trace }) {
  const groups = GROUPS.map(([title, names]) => {
    const known = Object.entries(names).filter(([name]) => isShown(record[name]));
    return known.length ? [title, known.map(([name, text]) => element("span", { class: "fact" }, element("span", { class: "faint" }, text), " ", textOf(record[name])))] : null;
  }).filter(Boolean);
  const device = record.device_seconds === undefined ? t("the device time was not known at the end") : t("device time {time}", { time: format(record.device_seconds, "s") });
  groups.push([t("Cost"), [`${device}${price === null ? "" : `, ${t("price {price}", { price: price.toPrecision(3) })}`}`]]);
  groups.push([t("Trace"), [traceOf(record, trace)]]);
  if (record.prompt) groups.unshift([t("Instruction"), [element("q", { dir: "auto" }, record.prompt)]]);
  return element("dl", { class: "facts" }, groups.flatMap(([title, values]) => [element("dt", {}, title), element("dd", {}, values)]));
}

export function traceOf(record, address) {
  if (!record.trace_id) return t("none: this request was ordinary, or there is no receiver of traces");
  const name = element("span", { class: "mono" }, record.trace_id);
  if (!/^https?:\/\//.test(address)) return name;
  return element("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, name);
}

export function log({ log: lines, log_problem: problem }) {
  if (!lines.length) return element("p", { class: "faint" }, told(problem));
  return element("ol", { class: "log" }, lines.map((line) => {
    const level = String(valueOf(line, "log.level") ?? "");
    const rest = [valueOf(line, "message"), valueOf(line, "error.message") ?? valueOf(line, "safelight.reason")].filter(Boolean).join(": ");
    const seconds = Date.parse(line["@timestamp"]) / 1000;
    return element("li", {},
      element("time", { class: "faint", title: Number.isNaN(seconds) ? "" : moment(seconds).utc }, Number.isNaN(seconds) ? "" : new Date(1000 * seconds).toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" })),
      element("span", { class: /error|critical/i.test(level) ? "problem" : "faint" }, level),
      element("details", {}, element("summary", {}, rest || t("(no message)")), element("pre", {}, JSON.stringify(line, null, 2))));
  }));
}

/** Return the value of a dotted name, nested or not. */
function valueOf(line, name) {
  if (name in line) return line[name];
  return name.split(".").reduce((inner, part) => (inner && typeof inner === "object" ? inner[part] : undefined), line);
}

function medianOf(rows, measure) {
  const values = rows.map(measure).filter((value) => value !== undefined).sort((one, other) => one - other);
  if (!values.length) return undefined;
  const middle = (values.length - 1) / 2;
  return (values[Math.floor(middle)] + values[Math.ceil(middle)]) / 2;
}

function besideTable(record, { failed, good }, hasImages) {
  if (!failed.length && !good.length) return element("p", { class: "faint" }, t("There is no other request of this type near this one."));
  const known = MEASURES.filter(([, measure]) => [record, ...failed, ...good].some((row) => measure(row) !== undefined));
  const head = ["", t("Result"), t("Size"), ...known.map(([name]) => name)];
  const groups = [[t("This request"), [record]], [t("Failed"), failed], [t("Good"), good]];
  const medians = Object.fromEntries(known.map(([name, measure]) => [name, [medianOf(failed, measure), medianOf(good, measure)]]));
  const cell = (value, unit, isNoted = false) => element("td", { class: isNoted ? "noted" : "" }, value === undefined ? "" : inColumn(value, unit));
  const body = groups.flatMap(([title, rows]) => [
    element("tr", { class: "group" }, element("th", { colspan: String(head.length), scope: "rowgroup" }, rows.length ? title : t("{title}: none near this one", { title }))),
    ...rows.map((row) => element("tr", {},
      element("th", { scope: "row" }, row === record || !hasImages ? "" : thumbnail(row), row === record ? moment(row.at).local : element("a", { href: `/requests/${encodeURIComponent(row.request_id)}`, title: moment(row.at).utc }, moment(row.at).local)),
      element("td", {}, resultOf(row)), element("td", {}, cellsOf(row).size),
      known.map(([, measure, unit]) => cell(measure(row), unit)))),
    rows.length > 1 ? element("tr", { class: "median" }, element("th", { scope: "row" }, t("median")), element("td", {}), element("td", {}),
      known.map(([name, measure, unit]) => cell(medianOf(rows, measure), unit, title === t("Failed") && differs(medians[name])))) : null,
  ]);
  return element("div", { class: "scroll" }, element("table", { class: "beside" },
    element("thead", {}, element("tr", {}, head.map((name) => element("th", { scope: "col" }, name)))), element("tbody", {}, body.filter(Boolean))),
    element("p", { class: "faint" }, t("The nearest in time, those whose output was assessed first.")),
    Object.values(medians).some(differs) ? element("p", { class: "faint" }, t("Underlined: {times} times the median of the good ones, or less than {part} of it. A few requests prove nothing; look at the type's dashboard.", { times: DIFFERENT, part: format(1 / DIFFERENT, "short") })) : "");
}

function thumbnail(row) {
  if (row.sample === undefined) return "";
  return element("img", { class: "thumb", src: `/data/requests/${encodeURIComponent(row.request_id)}/after`, alt: "", loading: "lazy", onerror: (event) => event.target.remove() });
}

function differs([bad, good]) {
  if (!(bad > 0) || !(good > 0)) return false;
  return bad / good >= DIFFERENT || good / bad >= DIFFERENT;
}
