// What pages show while Prometheus does not answer: one notice, and a quiet word in each place of a number.

import { element } from "./dom.js";
import { t } from "./words.js";

const ABSENT = "prometheus_absent";
const WITHOUT = ["try", "requests", "act"]; // pages that do not ask Prometheus

/** Return the address where no Prometheus answers; empty if an error says something else. */
export function absentOf(error) {
  return error.reason === ABSENT ? error.content.address : "";
}

/** Return a notice: Prometheus does not answer, what to do, and which pages work without it. */
export function absentNotice(address, pages) {
  const others = pages.filter(({ name }) => WITHOUT.includes(name));
  return element("div", { class: "notice absent", role: "alert" },
    element("p", { class: "headline" }, t("Prometheus does not answer: {address}", { address })),
    element("p", {}, t("Start it, or start the console with the address of another one: --prometheus. This page goes on by itself.")),
    element("p", {}, t("These pages work without it:"), " ", others.flatMap(({ path, title }, place) => [place ? ", " : "", element("a", { href: path }, t(title))])));
}

/** Return what stands in the place of a number or a curve that cannot be read. */
export function unknown(why) {
  return element("p", { class: "faint empty", title: why }, t("unknown"));
}
