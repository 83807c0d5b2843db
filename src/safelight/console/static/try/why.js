// Why a request took as long as it did: its stages and steps beside what is usual.

import { element, fetchJson, messageOf } from "../dom.js";
import { log, stages, traceOf } from "../record.js";
import { format } from "../units.js";
import { t } from "../words.js";
import { verdict } from "./verdict.js";

const TRIES = 6;
const PAUSE_MS = 1200; // a record is written about a second after its request
const MOST_BARS = 100;
const BUNCHED = 0.5; // of the average: several steps arrived at once

export class Why {
  constructor(run) {
    this.run = run;
    this.ended = new AbortController();
    this.body = element("div", { class: "try-why" });
    const title = t("Why did this take {time}?", { time: format(run.seconds, "s") });
    this.node = element("section", { class: "card block", "aria-label": title }, element("div", { class: "title" }, element("h2", {}, title)), this.body);
    if (run.found) this.fill(run.found);
    else {
      this.fill(null, t("Its record comes a moment later, and tells what is usual."));
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
          this.fill(null, messageOf(error));
          return;
        }
      }
    }
    this.fill(null, t("This console has no record of it: it reads other records than the service writes."));
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

/** Draw the time of each step as it was seen here. */
function steps({ intervals, steps: number }, total, usual) {
  if (intervals.length < 2) return "";
  const sorted = intervals.map(([, seconds]) => seconds).sort((one, other) => one - other);
  const median = sorted[Math.floor(sorted.length / 2)];
  const longest = intervals.reduce((most, each) => (each[1] > most[1] ? each : most));
  const isKnown = usual !== null;
  const values = { count: number, usual: isKnown ? format(usual, "s") : "" };
  if (total && median < (BUNCHED * total) / number) {
    const text = t(isKnown ? "{count} steps, {time} each on average; usually {usual}. Their events came together, so that single steps are unknown." : "{count} steps, {time} each on average. Their events came together, so that single steps are unknown.", { ...values, time: format(total / number, "s") });
    return element("p", { class: "faint" }, text);
  }
  const text = t(isKnown ? "{count} steps, {time} each (median); usually {usual}. The longest was step {step}: {longest}." : "{count} steps, {time} each (median). The longest was step {step}: {longest}.", { ...values, time: format(median, "s"), step: longest[0], longest: format(longest[1], "s") });
  const bars = intervals.slice(0, MOST_BARS).map(([step, seconds]) => {
    const bar = element("i", { title: t("step {step}: {time}", { step, time: format(seconds, "s") }) });
    bar.style.height = `${(100 * seconds) / longest[1]}%`;
    return bar;
  });
  return element("figure", { class: "try-steps" }, element("div", { class: "try-bars", role: "img", "aria-label": text }, bars), element("figcaption", { class: "faint" }, text));
}

function links(found) {
  const { record, trace } = found;
  const isOne = found.log.length === 1;
  return element("div", { class: "try-links" },
    element("a", { class: "button", href: `/requests/${encodeURIComponent(record.request_id)}` }, t("Everything about this request")),
    record.trace_id ? element("span", {}, element("span", { class: "faint" }, `${t("Trace")} `), traceOf(record, trace)) : element("span", { class: "faint" }, t("No trace: ordinary requests have none.")),
    found.log.length ? element("details", {}, element("summary", {}, t(isOne ? "{count} line of the log" : "{count} lines of the log", { count: found.log.length })), log(found)) : log(found));
}
