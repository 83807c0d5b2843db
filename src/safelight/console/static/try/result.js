// What came of a request: its time, seed, labels, warnings in words, and its rating.

import { ask, element, messageOf } from "../dom.js";
import { format } from "../units.js";
import { t } from "../words.js";
import { adviceLine } from "./picture.js";

const STARS = [1, 2, 3, 4, 5];
const MEANINGS = { 1: t("1, bad"), 5: t("5, good") };
const REASONS = {
  none: t("no reason"), wrong_edit: t("wrong edit"), not_followed: t("not followed"), artefacts: t("artefacts"), identity_lost: t("identity lost"),
  slow: t("too slow"), other: t("another reason"),
};
const WARNINGS = { structure_corruption: t("The edit damaged parts of the image that had to stay. Try another seed, more image guidance, or an image with a calm background.") };
const DEGRADED = { fewer_steps: t("The service is busy and made fewer steps than you asked for."), smaller_size: t("The service is busy and made a smaller image than you asked for.") };

/** Return what a request made, in words. `again` sets a seed, `advise` an instruction; `known` advice is shown already. */
export function result(run, { again, advise, known }) {
  const { answer } = run;
  const seed = answer.seed === undefined ? [] : [
    element("span", {}, `${t("seed")} `, element("span", { class: "mono" }, String(answer.seed))),
    element("button", { type: "button", onclick: () => again(answer.seed) }, t("Use this seed again")),
    element("a", { class: "button", href: answer.image, download: `image.${answer.media_type.split("/")[1]}` }, t("Download")),
  ];
  const size = answer.width ? t("{width} × {height} pixels", answer) : "";
  const facts = [element("strong", {}, format(run.seconds, "s")), size ? element("span", {}, size) : null, ...seed];
  return element("div", { class: "try-result" }, element("div", { class: "actions" }, facts), notes(answer, advise, known), labels(answer.labels));
}

/** Say what the caller should know: advice, warnings, and what was not done as asked. */
function notes({ warnings = [], advice = [], degraded = [], prompt_truncated: isCut }, advise, known) {
  const texts = [
    ...warnings.map((name) => WARNINGS[name] ?? name.replaceAll("_", " ")),
    ...degraded.map((name) => DEGRADED[name] ?? name.replaceAll("_", " ")),
    ...(isCut ? [t("The text is longer than the model reads; its end had no effect.")] : []),
  ];
  return [...texts.map((text) => element("p", { class: "notice" }, text)), ...advice.filter(({ because }) => !known.includes(because)).map((each) => adviceLine(each, "", advise))];
}

function labels(found) {
  if (!found) return null;
  const best = Math.max(1e-9, ...found.map(({ score }) => score));
  const rows = found.map(({ label, score }) => {
    const bar = element("i", { class: "bar" });
    bar.style.width = `${(100 * score) / Math.max(1, best)}%`;
    return element("tr", {}, element("th", { scope: "row" }, label), element("td", { class: "stage" }, element("div", { class: "track" }, bar)), element("td", {}, format(score, "percentunit")));
  });
  return element("table", { class: "stages try-labels" }, element("caption", { class: "unseen" }, t("Labels with their scores")), element("tbody", {}, rows));
}

/** Return five buttons that rate, and a reason. A second rating replaces the first. */
export function rating(run, { reasons, mayRate }) {
  const said = element("span", { class: "faint", role: "status" });
  const buttons = STARS.map((number) => element("button", { type: "button", "aria-pressed": String(run.rating === number), disabled: !mayRate, title: mayRate ? null : t("This needs a key with the scope rate."), "aria-label": MEANINGS[number] ?? String(number), onclick: () => rate(number) }, String(number)));
  const reason = element("select", { disabled: !run.rating, onchange: () => rate(run.rating) }, reasons.map((name) => element("option", { value: name, selected: name === run.ratingReason }, REASONS[name] ?? name.replaceAll("_", " "))));
  return element("div", { class: "try-rating", role: "group", "aria-label": t("Rating") },
    element("span", { class: "second" }, t("How good is it?")), element("div", { class: "try-stars" }, element("span", { class: "faint" }, t("bad")), buttons, element("span", { class: "faint" }, t("very good"))),
    element("label", { class: "inline" }, t("Because"), reason), said);

  async function rate(number) {
    const content = { rating: number, reason: reason.value };
    try {
      await ask(`/service/${run.place}/v1/requests/${encodeURIComponent(run.answer.requestId)}/rating`, { method: "POST", body: JSON.stringify(content), headers: { "content-type": "application/json" } });
    } catch (error) {
      said.textContent = messageOf(error);
      said.className = "problem";
      return;
    }
    run.rating = number;
    run.ratingReason = reason.value;
    reason.disabled = false;
    buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(STARS[place] === number)));
    said.className = "faint";
    said.textContent = t("Rated {stars} of 5.", { stars: number });
  }
}
