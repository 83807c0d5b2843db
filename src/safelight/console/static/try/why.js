// Why a request took as long as it did: its stages and steps beside what is usual.

import { element, fetchJson } from "../dom.js";
import { log, stages, traceOf } from "../record.js";
import { format } from "../units.js";

const TRIES = 6;
const PAUSE_MS = 1200; // a record is written about a second after its request
const MOST_BARS = 100;
const LONG = 1.5; // times the usual
const BUNCHED = 0.5; // of the average: several steps arrived at once
const WORDS = {
  receive: "receiving the request", validate: "checking the request", queue: "waiting for its turn", decode: "reading the image",
  encode: "encoding the image", denoise: "the model's steps", check: "checking the image that was made", transfer: "moving it between processes",
  respond: "sending the answer", predict: "the model",
};
const sum = (values) => values.reduce((total, value) => total + value, 0);

export class Why {
  constructor(run) {
    this.run = run;
    this.ended = new AbortController();
    this.body = element("div", { class: "try-why" });
    const title = `Why did this take ${format(run.seconds, "s")}?`;
    this.node = element("section", { class: "card block", "aria-label": title }, element("div", { class: "title" }, element("h2", {}, title)), this.body);
    if (run.found) this.fill(run.found);
    else {
      this.fill(null, "Its record comes a moment later, and tells what is usual.");
      this.load();
    }
  }

  /** Read the record, which is written a moment after the answer. */
  async load() {
    const { signal } = this.ended;
    const address = `/data/requests/${encodeURIComponent(this.run.answer.requestId)}`;
    for (let number = 0; number < TRIES; number += 1) {
      await new Promise((resolve) => { setTimeout(resolve, PAUSE_MS); });
      if (signal.aborted) return;
      try {
        this.run.found = await fetchJson(address, {}, signal);
        this.fill(this.run.found);
        return;
      } catch (error) {
        if (error.name === "AbortError") return;
        if (error.status !== 404) {
          this.fill(null, error.message);
          return;
        }
      }
    }
    this.fill(null, "This console has no record of it: it reads other records than the service writes.");
  }

  fill(found, note = "") {
    const own = found?.record.stages ?? this.run.answer.stages;
    const usual = found?.usual ?? {};
    this.body.replaceChildren(
      element("p", {}, verdict(this.run, own, usual, found)),
      stages({ stages: own }, usual, Boolean(found)),
      steps(this.run, own.denoise, found?.usual_step ?? null),
      found ? links(found) : element("p", { class: "faint", role: "status" }, note));
  }

  end() {
    this.ended.abort();
  }
}

/** Say what took the time, and whether that is usual. */
function verdict(run, own, usual, found) {
  const longest = Object.entries(own).sort(([, one], [, other]) => other - one)[0];
  if (!longest) return "The service did not say how long its stages took.";
  const [name, most] = longest;
  const inService = found?.record.seconds ?? sum(Object.values(own));
  const parts = [`Most of it was ${WORDS[name] ?? name.replaceAll("_", " ")}: ${format(most, "s")} of ${format(inService, "s")} in the service.`];
  const typical = sum(Object.values(usual));
  if (typical > 0) {
    const times = inService / typical;
    parts.push(times > LONG ? ` That is ${times.toFixed(1)} times the usual ${format(typical, "s")}.` : times < 1 / LONG ? ` Usual is ${format(typical, "s")}.` : ` That is about usual: ${format(typical, "s")}.`, ofSteps(found, own));
  }
  const outside = run.seconds - inService;
  if (outside > 0.1 * run.seconds && outside > 0.02) parts.push(` The way to the service and back took ${format(outside, "s")}.`);
  return parts.join("");
}

/** Say whether the steps were slow, or just many or few. */
function ofSteps({ record, usual_step: usual }, own) {
  if (!usual || !record.steps || !own.denoise) return "";
  const times = own.denoise / record.steps / usual;
  if (times > LONG) return ` A step took ${times.toFixed(1)} times as long as usual.`;
  return times < 1 / LONG ? " Its steps were faster than usual." : " A step took about as long as usual.";
}

/** Draw the time of each step as it was seen here. */
function steps({ intervals, steps: number }, total, usual) {
  if (intervals.length < 2) return "";
  const beside = usual === null ? "" : `; usually ${format(usual, "s")}`;
  const sorted = intervals.map(([, seconds]) => seconds).sort((one, other) => one - other);
  const median = sorted[Math.floor(sorted.length / 2)];
  const longest = intervals.reduce((most, each) => (each[1] > most[1] ? each : most));
  if (total && median < (BUNCHED * total) / number) {
    return element("p", { class: "faint" }, `${number} steps, ${format(total / number, "s")} each on average${beside}. Their events came together, so that single steps are unknown.`);
  }
  const text = `${number} steps, ${format(median, "s")} each (median)${beside}. The longest was step ${longest[0]}: ${format(longest[1], "s")}.`;
  const bars = intervals.slice(0, MOST_BARS).map(([step, seconds]) => {
    const bar = element("i", { title: `step ${step}: ${format(seconds, "s")}` });
    bar.style.height = `${(100 * seconds) / longest[1]}%`;
    return bar;
  });
  return element("figure", { class: "try-steps" }, element("div", { class: "try-bars", role: "img", "aria-label": text }, bars), element("figcaption", { class: "faint" }, text));
}

function links(found) {
  const { record, trace } = found;
  return element("div", { class: "try-links" },
    element("a", { class: "button", href: `/requests/${encodeURIComponent(record.request_id)}` }, "Everything about this request"),
    record.trace_id ? element("span", {}, element("span", { class: "faint" }, "Trace "), traceOf(record, trace)) : element("span", { class: "faint" }, "No trace: ordinary requests have none."),
    found.log.length ? element("details", {}, element("summary", {}, found.log.length === 1 ? "1 line of the log" : `${found.log.length} lines of the log`), log(found)) : log(found));
}
