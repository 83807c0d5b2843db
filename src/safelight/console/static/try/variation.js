// Several variants side by side: one parameter with up to four values, everything else the same.

import { choice, field as labelled } from "../dialog.js";
import { element } from "../dom.js";
import { t } from "../words.js";
import { problemOf } from "./form.js";

const MOST = 4;
const SHARES = [0.5, 1, 1.5, 2];
const FROM_ZERO = [0, 1, 3, 7];
const VARIED = ["steps", "guidance_scale", "image_guidance_scale"];

export class Variation {
  constructor(fields, written = {}) {
    this.fields = fields.filter(({ name }) => VARIED.includes(name));
    this.select = choice("vary", [["", t("nothing: one image")], ...this.fields.map(({ name, label }) => [name, label.toLowerCase()])], written.vary ?? "");
    this.select.addEventListener("change", () => this.suggest());
    this.inputs = Array.from({ length: MOST }, (_, place) => element("input", { type: "number", step: "any", "aria-label": t("Variant {number}", { number: place + 1 }), "aria-describedby": "try-vary-problem" }));
    this.inputs.forEach((input, place) => { input.value = written.values?.[place] ?? ""; });
    this.row = element("div", { class: "try-values", role: "group", "aria-label": t("Its values") }, this.inputs);
    this.problem = element("span", { class: "problem try-wrong", id: "try-vary-problem", role: "alert" });
    this.node = this.fields.length ? element("div", { class: "try-field text try-vary" }, labelled(t("Compare"), this.select), this.row, this.problem) : "";
    this.row.hidden = !this.field;
  }

  get field() {
    return this.fields.find(({ name }) => name === this.select.value);
  }

  suggest() {
    const { field } = this;
    this.row.hidden = !field;
    this.problem.textContent = "";
    if (!field) return;
    const fit = (value) => Math.min(field.most, Math.max(field.least, field.isWhole ? Math.round(value) : Math.round(10 * value) / 10));
    const values = [...new Set((field.initial ? SHARES.map((share) => share * field.initial) : FROM_ZERO).map(fit))];
    this.inputs.forEach((input, place) => { input.value = values[place] ?? ""; });
  }

  /** Return a list of values to set, one a variant; null if one is wrong. `values` are the others. */
  variants(values) {
    const { field } = this;
    this.problem.textContent = "";
    if (!field) return [values];
    const used = this.inputs.filter(({ value, validity }) => value.trim() || validity.badInput);
    const wrong = used.map((input) => problemOf(field, input)).find(Boolean) ?? (used.length ? "" : t("Write at least one value to compare."));
    this.problem.textContent = wrong;
    if (wrong) {
      this.inputs[0].focus();
      return null;
    }
    const seed = values.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]; // the same for all
    return [...new Set(used.map(({ value }) => Number(value)))].map((value) => ({ ...values, seed, [field.name]: value }));
  }

  titleOf(run) {
    const { field } = this;
    return field ? `${field.label} ${run.values[field.name]}` : "";
  }

  written() {
    return { vary: this.select.value, values: this.inputs.map(({ value }) => value) };
  }
}
