// The page Try: one request to a model, with every parameter, followed step by step and explained.

import { choice } from "../dialog.js";
import { element, messageOf } from "../dom.js";
import { nameOf, readNames } from "../services.js";
import { ParameterForm } from "../try/form.js";
import { leadOf, readModel } from "../try/model.js";
import { Picture } from "../try/picture.js";
import { rating, result } from "../try/result.js";
import { Run } from "../try/run.js";
import { sameRequest } from "../try/same.js";
import { Stage } from "../try/stage.js";
import { Variation } from "../try/variation.js";
import { Why } from "../try/why.js";
import { joined, t } from "../words.js";

const AGAIN_MS = 5000;
const TICK_MS = 200;
const VERBS = { edit: t("Edit"), generate: t("Generate"), predict: t("Recognise") };
const QUESTIONS = { edit: t("What does this model make of a portrait?"), generate: t("What does this model draw?"), predict: t("What does this model see?") };
const IDEAS = { // as models read them: in English
  edit: ["make him old", "add sunglasses", "turn the hair red", "change the background to a beach"],
  generate: ["an old person with short grey hair and glasses, plain background", "a young person with long red hair, smiling, in the forest"],
};
const kept = { place: 0, services: new Map() }; // what was typed and made, while this tab is open

/** Show the page; return the function that leaves it. */
export function show(page, context) {
  const view = new TryView(page, context);
  view.connect();
  return () => view.end();
}

class TryView {
  constructor(page, { start }) {
    document.title = `${t("Try")} · Safelight`;
    this.start = start;
    this.ended = new AbortController();
    this.place = Math.min(kept.place, start.services.length - 1);
    this.model = null;
    this.sent = null; // the requests that are shown, and when they end
    this.runs = [];
    this.isBusy = false;
    this.state = element("span", { class: "faint clock" });
    this.notice = element("p", { class: "notice", role: "alert", hidden: true });
    this.work = element("div", {}, element("p", { class: "faint" }, t("Asking the service what it serves …")));
    page.replaceChildren(element("div", { class: "head" }, element("h1", {}, t("Try")), this.services(), this.state), this.notice, this.work);
    const { signal } = this.ended;
    document.addEventListener("paste", (event) => this.paste(event), { signal });
    this.ticker = setInterval(() => this.stage?.tick(), TICK_MS);
  }

  services() {
    const { services } = this.start;
    if (services.length < 2) return "";
    const select = choice("service", services.map((address, place) => [String(place), nameOf(services, place)]), String(this.place));
    select.addEventListener("change", () => this.move(Number(select.value)));
    this.select = select;
    this.rename();
    return element("label", { class: "inline" }, t("Service"), select);
  }

  /** Write the names of the services; their addresses are what one sees when pointing at them. */
  rename() {
    const { services } = this.start;
    if (this.select) {
      [...this.select.options].forEach((option, place) => {
        option.textContent = nameOf(services, place);
        option.title = services[place];
      });
      this.select.title = services[this.place];
    }
    this.state.title = services[this.place];
    if (this.model) this.state.textContent = this.select ? this.model.name : `${nameOf(services, this.place)} · ${this.model.name}`;
  }

  move(place) {
    this.keep();
    this.leave();
    this.place = kept.place = place;
    this.model = null;
    this.submit = null;
    this.isBusy = false;
    this.state.textContent = "";
    this.rename();
    this.work.replaceChildren(element("p", { class: "faint" }, t("Asking the service what it serves …")));
    this.connect();
  }

  /** Ask what is served, now and again: a service may stop, come back, or serve another model. */
  async connect() {
    clearTimeout(this.again);
    const { place } = this;
    readNames(this.ended.signal).then((isNew) => { if (isNew) this.rename(); });
    try {
      const model = document.hidden && this.model ? this.model : await readModel(place, this.model, this.ended.signal);
      if (place !== this.place) return;
      this.isThere(true);
      if (model !== this.model && !this.isBusy) this.build(model);
    } catch (error) {
      if (error.name === "AbortError" || place !== this.place) return;
      this.isThere(false, messageOf(error));
    }
    if (!this.ended.signal.aborted) this.again = setTimeout(() => this.connect(), AGAIN_MS);
  }

  isThere(isThere, problem = "") {
    const text = isThere ? "" : joined(problem, t("This page tries again by itself."));
    if (this.notice.textContent !== text) this.notice.textContent = text;
    this.notice.hidden = isThere;
    if (!isThere && !this.model) this.work.replaceChildren();
    if (this.submit) this.submit.disabled = !isThere || !this.maySend;
  }

  // ── The form ───────────────────────────────────────────────────────────────────────────────────

  build(model) {
    if (this.model) this.keep();
    const { written, variation, picture, sent } = kept.services.get(this.place) ?? {};
    this.model = model;
    this.maySend = this.start.viewer.scopes.includes("infer");
    this.rename();
    this.form = new ParameterForm(model.fields, written);
    this.variation = new Variation(model.fields, variation);
    this.stage = new Stage({ choose: (number) => this.choose(number), take: (file) => this.takeFile(file), task: model.task });
    this.picture = model.needsImage ? new Picture({ start: this.start, change: () => this.showInput(), advise: (text) => this.advise(text) }) : null;
    this.made = element("div", { class: "try-made" });
    this.more = element("div", { class: "record try-more" });
    this.work.replaceChildren(
      element("p", { class: "question" }, QUESTIONS[model.task] ?? ""),
      element("div", { class: "try" }, element("div", { class: "try-main" }, this.stage.node, this.picture?.node ?? "", this.made), this.controls()),
      this.more);
    this.setBusy(false);
    this.restore(picture, sent);
  }

  /** Show again what was chosen and sent before somebody left the page; it went on meanwhile. */
  async restore(picture, sent) {
    const { model } = this;
    if (this.picture) this.picture.use(this.place, this.model);
    if (picture && this.picture) await this.picture.take(picture);
    if (model !== this.model || this.ended.signal.aborted) return;
    if (sent?.runs[0]?.model.key === model.key) this.watch(sent);
    else this.showInput();
  }

  controls() {
    const lead = leadOf(this.model);
    const ideas = (lead && IDEAS[this.model.task]) ?? [];
    this.submit = element("button", { class: "primary try-go", disabled: !this.maySend, title: this.maySend ? null : t("This needs a key with the scope infer.") }, VERBS[this.model.task] ?? t("Send"));
    this.cancel = element("button", { type: "button", class: "try-go", onclick: () => this.stop() }, t("Cancel"));
    const form = element("form", { class: "card try-form", novalidate: true, "aria-label": t("Request"), onsubmit: (event) => { event.preventDefault(); this.go(); } },
      this.form.node, this.variation.node, element("div", { class: "try-act" }, this.submit, this.cancel));
    form.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.go(); });
    const chips = element("div", { class: "try-ideas", role: "group", "aria-label": t("Ideas") }, ideas.map((text) => element("button", { type: "button", onclick: () => this.form.set(lead.name, text) }, text)));
    if (lead && ideas.length) this.form.controls.get(lead.name).node.after(chips);
    return form;
  }

  advise(text) {
    const lead = leadOf(this.model);
    this.form.set(lead.name, text);
    this.form.controls.get(lead.name).input.focus();
  }

  takeFile(file) {
    if (this.picture && !this.isBusy) this.picture.take(file);
  }

  paste(event) {
    const file = event.clipboardData?.files[0];
    if (file) this.takeFile(file);
  }

  /** Show what will be sent: the image, or a place for one. */
  showInput() {
    this.sent?.runs.forEach((run) => run.leave());
    this.sent = null;
    this.runs = [];
    this.setBusy(false);
    this.clear();
    const { picture } = this;
    if (!picture) {
      this.stage.showInput({ url: "", ratio: this.ratio(), buttons: [], text: t("The image appears here.") });
      return;
    }
    this.stage.showInput({ url: picture.url, ratio: picture.ratio, buttons: picture.buttons(), text: t("Drop a portrait here, or paste it.") });
  }

  ratio() {
    if (this.picture) return this.picture.ratio;
    const { width, height } = this.runs[0]?.values ?? this.form.written();
    return Number(width) / Number(height) || 1;
  }

  // ── Requests ───────────────────────────────────────────────────────────────────────────────────

  async go() {
    if (this.isBusy || this.submit.disabled) return;
    const values = this.form.values();
    const variants = values && this.variation.variants(values);
    if (!variants) return;
    if (this.picture && !this.picture.file) {
      this.picture.problem.textContent ||= t("Choose an image first, or use a sample portrait.");
      return;
    }
    const shared = { place: this.place, model: this.model, picture: this.picture?.file ?? null };
    const runs = variants.map((own) => new Run({ ...shared, values: own }));
    for (const run of runs) run.title = this.variation.titleOf(run);
    const watching = this.watch({ runs, ended: goAll(runs) });
    this.stage.node.scrollIntoView({ block: "nearest" }); // on a telephone the form is below the images
    await watching;
  }

  /** Show requests until they end. They go on if the page is left. */
  async watch(sent) {
    const { runs, ended } = sent;
    this.sent = sent;
    for (const run of runs) run.change = () => this.update(run);
    this.setBusy(runs.some(({ isOver }) => !isOver));
    this.showRuns(runs);
    if (!this.isBusy) return;
    await ended;
    if (this.sent !== sent) return;
    this.setBusy(false);
    if (!runs.some(({ state }) => state === "done") && runs.some(({ reason }) => reason === "")) this.connect();
  }

  async stop() {
    this.cancel.disabled = true;
    const open = this.runs.filter((run) => !run.isOver).reverse(); // those that wait first
    for (const run of open) await run.cancel();
  }

  setBusy(isBusy) {
    const hadFocus = document.activeElement === this.submit || document.activeElement === this.cancel;
    this.isBusy = isBusy;
    this.submit.hidden = isBusy;
    this.cancel.hidden = !isBusy;
    this.cancel.disabled = false;
    if (this.picture) this.picture.node.inert = isBusy; // another image would end the request
    if (hadFocus) (isBusy ? this.cancel : this.submit).focus();
  }

  showRuns(runs) {
    this.runs = runs;
    this.clear();
    this.stage.showRuns(runs, { before: this.picture?.url ?? "", ratio: this.ratio(), titleOf: (run) => run.title });
    const first = runs.findIndex(({ state }) => state === "done");
    if (first >= 0) this.choose(first);
  }

  update(run) {
    if (!this.runs.includes(run)) return;
    this.stage.update(run);
    if (run.state === "done" && this.chosen === null) this.choose(this.runs.indexOf(run));
  }

  clear() {
    this.why?.end();
    this.why = null;
    this.chosen = null;
    this.made.replaceChildren();
    this.more.replaceChildren();
  }

  /** Show everything about one of the requests. */
  choose(number) {
    const run = this.runs[number];
    if (run?.state !== "done") return;
    this.clear();
    this.chosen = number;
    this.stage.mark(number);
    const { viewer, services } = this.start;
    this.why = new Why(run);
    this.made.replaceChildren(
      result(run, { again: (seed) => this.form.set("seed", seed), advise: (text) => this.advise(text), known: this.picture?.advice ?? [] }),
      rating(run, { reasons: this.model.reasons, mayRate: viewer.scopes.includes("rate") }));
    const values = run.answer.seed === undefined ? run.values : { ...run.values, seed: run.answer.seed };
    this.more.replaceChildren(this.why.node,
      element("section", { class: "card block", "aria-label": t("The same request") }, element("div", { class: "title" }, element("h2", {}, t("The same request as"))),
        sameRequest({ address: services[this.place], model: this.model, values, picture: run.picture, needsKey: Boolean(viewer.name) })));
  }

  // ── Leaving ────────────────────────────────────────────────────────────────────────────────────

  keep() {
    if (!this.model) return;
    kept.services.set(this.place, { written: this.form.written(), variation: this.variation.written(), picture: this.picture?.file, sent: this.sent });
  }

  leave() {
    this.sent = null;
    this.runs = [];
    this.why?.end();
    if (this.picture) URL.revokeObjectURL(this.picture.url);
  }

  end() {
    this.keep();
    this.leave();
    this.ended.abort();
    clearInterval(this.ticker);
    clearTimeout(this.again);
  }
}

/** Send requests one after another, so that their times can be compared. */
async function goAll(runs) {
  for (const run of runs) await run.go();
}
