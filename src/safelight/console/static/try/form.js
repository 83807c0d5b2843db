// The parameters of a model as a form: bounds, units, and words for each wrong value.

import { element } from "../dom.js";
import { t } from "../words.js";

const SLIDER_MOST = 10_000; // a longer range cannot be chosen with a slider
const FINE = 0.1;

export class ParameterForm {
  /** `written` has the texts of an earlier form, by name. */
  constructor(fields, written = {}) {
    this.controls = new Map(fields.map((field) => [field.name, new Control(field, written[field.name])]));
    this.node = element("div", { class: "try-fields" }, [...this.controls.values()].map((control) => control.node));
  }

  /** Return the values, or null if one is wrong; then its words are shown, and it has the focus. */
  values() {
    const controls = [...this.controls.values()];
    const wrong = controls.filter((control) => !control.check());
    wrong[0]?.input.focus();
    return wrong.length ? null : Object.fromEntries(controls.map((control) => [control.field.name, control.value()]).filter(([, value]) => value !== null));
  }

  set(name, value) {
    this.controls.get(name)?.set(value);
  }

  /** Return what is written now, also if it is wrong. */
  written() {
    return Object.fromEntries([...this.controls].map(([name, { input }]) => [name, input.value]));
  }
}

class Control {
  constructor(field, written) {
    this.field = field;
    const id = `try-${field.name}`;
    const shown = { id, name: field.name, "aria-describedby": `${id}-problem`, "aria-required": field.isRequired ? "true" : null };
    this.problem = element("span", { id: `${id}-problem`, class: "problem try-wrong", role: "alert" });
    this.input = field.isText
      ? element("textarea", { ...shown, rows: field.isRequired ? "3" : "1", dir: "auto", spellcheck: "false" })
      : element("input", { ...shown, type: "number", min: field.least, max: Number.isFinite(field.most) ? field.most : null, step: "any", inputmode: field.isWhole ? "numeric" : "decimal", placeholder: field.initial === null ? t("random") : null });
    this.input.value = written ?? field.initial ?? "";
    // Words appear when the form is sent: while somebody moves to a button, they would move it away.
    this.input.addEventListener("input", () => { this.follow(); if (this.problem.textContent) this.check(); });
    this.slider = this.makeSlider();
    const label = element("label", { for: id, title: field.hint }, element("span", {}, field.label, field.unit ? element("span", { class: "faint" }, ` ${field.unit}`) : null));
    this.node = element("div", { class: `try-field${field.isText ? " text" : ""}${field.isRequired ? " lead" : ""}` }, label, this.slider, this.input, this.problem);
    this.follow();
  }

  makeSlider() {
    const { isText, most, least, isWhole, multiple, label, initial } = this.field;
    if (isText || initial === null || most - least > SLIDER_MOST) return null;
    const slider = element("input", { type: "range", min: least, max: most, step: isWhole ? multiple : FINE, tabindex: "-1", "aria-hidden": "true", title: label });
    slider.addEventListener("input", () => { this.input.value = slider.value; this.check(); });
    return slider;
  }

  follow() {
    if (this.slider) this.slider.value = this.input.value || this.field.least;
  }

  set(value) {
    this.input.value = value;
    this.follow();
    this.check();
  }

  value() {
    const text = this.input.value.trim();
    if (this.field.isText) return text || (this.field.isRequired ? "" : null);
    return text === "" ? null : Number(text);
  }

  check() {
    this.problem.textContent = problemOf(this.field, this.input);
    if (this.problem.textContent) this.input.setAttribute("aria-invalid", "true");
    else this.input.removeAttribute("aria-invalid");
    return !this.problem.textContent;
  }
}

/** Return what is wrong with a value, empty if nothing is. */
export function problemOf(field, { value: text, validity }) {
  const value = text.trim();
  if (field.isText) return problemOfText(field, value);
  if (validity.badInput) return t("{label} must be a number.", field);
  if (value === "") return field.initial === null ? "" : needed(field);
  return problemOfNumber(field, Number(value));
}

function problemOfText({ label, isRequired, longest }, value) {
  if (isRequired && !value) return t("Write what to do: the {label} is empty.", { label: label.toLowerCase() });
  const count = [...value].length;
  return longest && count > longest ? t("{label} has {count} characters; the limit is {limit}.", { label, count, limit: longest }) : "";
}

function problemOfNumber(field, number) {
  const { label, isWhole, least, most, multiple } = field;
  if (isWhole && !Number.isInteger(number)) return whole(field);
  if (number < least || number > most) return bounded(field);
  const possible = Math.max(Math.floor(number / multiple) * multiple, Math.ceil(least / multiple) * multiple);
  return multiple > 1 && number % multiple ? t("{label} must be a multiple of {multiple}. Use {possible}.", { label, multiple, possible }) : "";
}

const hasMost = ({ most }) => Number.isFinite(most);

function needed(field) {
  return hasMost(field) ? t("{label} needs a number from {least} to {most}.", field) : t("{label} needs a number of at least {least}.", field);
}

function whole(field) {
  return hasMost(field) ? t("{label} must be a whole number from {least} to {most}.", field) : t("{label} must be a whole number of at least {least}.", field);
}

function bounded(field) {
  if (!hasMost(field)) return field.unit ? t("{label} must be of at least {least} {unit}.", field) : t("{label} must be of at least {least}.", field);
  return field.unit ? t("{label} must be from {least} to {most} {unit}.", field) : t("{label} must be from {least} to {most}.", field);
}
