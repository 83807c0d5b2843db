// Why a request took as long as it did, in sentences.

import { LONG, isLonger, slowStages } from "../slow.js";
import { format } from "../units.js";
import { joined, t } from "../words.js";

const MOST_NAMED = 2;
const WORDS = {
  receive: t("receiving the request"), validate: t("checking the request"), queue: t("waiting for its turn"), decode: t("reading the image"),
  encode: t("encoding the image"), denoise: t("the model's steps"), check: t("checking the image that was made"), transfer: t("moving it between processes"),
  respond: t("sending the answer"), predict: t("the model"),
};
const sum = (values) => values.reduce((total, value) => total + value, 0);
const wordsOf = (name) => WORDS[name] ?? name.replaceAll("_", " ");

/** Say what took the time, and whether that is usual. `own` and `usual` have seconds by stage; `found` is the record, or null. */
export function verdict(run, own, usual, found) {
  const longest = Object.entries(own).sort(([, one], [, other]) => other - one)[0];
  if (!longest) return t("The service did not say how long its stages took.");
  const [name, most] = longest;
  const inService = found?.record.seconds ?? sum(Object.values(own));
  const parts = [t("Most of it was {stage}: {time} of {whole} in the service.", { stage: wordsOf(name), time: format(most, "s"), whole: format(inService, "s") })];
  const typical = sum(Object.values(usual));
  if (typical > 0) parts.push(...besideUsual(inService, typical, { own, usual, found }));
  const outside = run.seconds - inService;
  if (outside > 0.1 * run.seconds && outside > 0.02) parts.push(t("The way to the service and back took {time}.", { time: format(outside, "s") }));
  return joined(...parts);
}

/** Return sentences about the usual: each slow stage, or that none is. */
function besideUsual(whole, typical, { own, usual, found }) {
  const slow = slowStages(own, usual);
  const time = format(typical, "s");
  const isLong = isLonger(whole, typical);
  const first = isLong
    ? t("That is {times} times the usual {time}.", { times: (whole / typical).toFixed(1), time })
    : t(whole < typical / LONG || whole > LONG * typical || slow.length ? "Usual is {time}." : "That is about usual: {time}.", { time });
  const named = slow.slice(0, MOST_NAMED).map((name) => t("Longer than usual was {stage}: {time} instead of {usual}.", { stage: wordsOf(name), time: format(own[name], "s"), usual: format(usual[name], "s") }));
  if (isLong && !slow.length) named.push(t("No single stage is the reason."));
  return [first, ...named, slow.includes("denoise") ? ofSteps(found, own) : ""];
}

/** Say whether the steps were slow, or just more than usual. */
function ofSteps({ record, usual_step: usual }, own) {
  if (!usual || !record.steps) return "";
  const times = own.denoise / record.steps / usual;
  if (times > LONG) return t("A step took {times} times as long as usual.", { times: times.toFixed(1) });
  return t("A step took no longer than usual: there were more of them.");
}
