// The images: what is chosen, what is being made, and before and after beside one slider.

import { element } from "../dom.js";
import { format } from "../units.js";
import { t, told } from "../words.js";

const SLOW_SECONDS = 15;
const TIME = " · ";
const ENDS = { failed: t("failed"), cancelled: t("cancelled") };
const percent = (share) => `${(100 * share).toFixed(1)}%`;

export class Stage {
  /** `choose` is called with the number of a variant, `take` with a dropped file. */
  constructor({ choose, take, task }) {
    this.choose = choose;
    this.cells = [];
    this.grid = element("div", { class: "try-cells" });
    this.slider = element("input", { type: "range", min: "0", max: "100", value: "50", "aria-label": t("Before and after"), oninput: () => this.cut() });
    this.sliding = element("div", { class: "try-slider", hidden: task !== "edit" }, element("span", { "aria-hidden": "true" }, t("Before")), this.slider, element("span", { "aria-hidden": "true" }, t("After")));
    this.said = element("p", { class: "unseen", role: "status" });
    this.node = element("section", { class: `try-stage ${task}`, "aria-label": t("Images") }, this.grid, this.sliding, this.said);
    this.node.addEventListener("dragover", (event) => { event.preventDefault(); this.node.classList.add("over-drop"); });
    this.node.addEventListener("dragleave", () => this.node.classList.remove("over-drop"));
    this.node.addEventListener("drop", (event) => { event.preventDefault(); this.node.classList.remove("over-drop"); take(event.dataTransfer.files[0]); });
  }

  /** Show the chosen image, or a place for one with the buttons that choose. */
  showInput({ url, ratio, buttons, text }) {
    const cell = new Cell({ before: url, ratio, caption: null });
    cell.invite(url ? null : element("div", { class: "try-drop" }, element("p", {}, text), element("div", { class: "actions" }, buttons)));
    this.fill([cell], false);
  }

  /** Show a cell for each request; with one, the image is large. */
  showRuns(runs, { before, ratio, titleOf }) {
    const isAlone = runs.length === 1;
    const cells = runs.map((run, number) => new Cell({ before, ratio, run, caption: isAlone ? null : titleOf(run), choose: () => this.choose(number) }));
    this.fill(cells, Boolean(before) && !this.sliding.hidden);
    cells.forEach((cell) => this.update(cell.run));
  }

  fill(cells, canSlide) {
    this.cells = cells;
    this.canSlide = canSlide;
    this.grid.dataset.number = String(cells.length);
    this.grid.replaceChildren(...cells.map((cell) => cell.node));
    this.cells.forEach((cell) => this.drag(cell.frame));
    this.cut();
    this.enable();
  }

  /** Show the state of a request. */
  update(run) {
    this.cells.find((cell) => cell.run === run)?.update();
    this.enable();
    const said = run.state === "running" ? "" : textOf(run).split(TIME)[0]; // a time that runs is not read out
    if (said && said !== this.said.textContent) this.said.textContent = said;
  }

  mark(number) {
    this.cells.forEach((cell, place) => cell.mark(place === number));
  }

  tick() {
    this.cells.filter(({ run }) => run && !run.isOver).forEach((cell) => cell.update());
  }

  enable() {
    const can = this.canSlide && this.cells.some((cell) => cell.hasBoth);
    this.slider.disabled = !can;
    this.sliding.classList.toggle("off", !can);
    this.cells.forEach((cell) => cell.node.classList.toggle("cut", this.canSlide && cell.hasBoth));
  }

  cut() {
    this.grid.style.setProperty("--cut", `${this.slider.value}%`);
    this.slider.setAttribute("aria-valuetext", t("{share} % of the image after the edit", { share: 100 - Number(this.slider.value) }));
  }

  /** Move the slider by dragging over an image. */
  drag(frame) {
    const move = ({ clientX }) => {
      const { left, width } = frame.getBoundingClientRect();
      this.slider.value = (100 * (clientX - left)) / width;
      this.cut();
    };
    frame.addEventListener("pointerdown", (event) => {
      if (this.slider.disabled || event.button !== 0) return;
      frame.setPointerCapture(event.pointerId);
      move(event);
    });
    frame.addEventListener("pointermove", (event) => { if (frame.hasPointerCapture(event.pointerId)) move(event); });
  }
}

class Cell {
  constructor({ before, ratio, run = null, caption, choose }) {
    this.run = run;
    this.before = before ? picture(before, t("Before")) : null;
    this.after = element("img", { class: "after", alt: t("After"), hidden: true, draggable: "false" });
    this.bar = element("i", {});
    this.text = element("p", {});
    this.progress = element("div", { class: "try-progress", hidden: true }, this.text, element("div", { class: "track" }, this.bar));
    this.frame = element("div", { class: "try-frame" }, this.before, this.after, element("i", { class: "handle", "aria-hidden": "true" }), this.progress);
    this.result = element("span", { class: "faint" });
    this.button = caption === null ? null : element("button", { type: "button", class: "try-variant", "aria-pressed": "false", onclick: choose }, element("strong", {}, caption), this.result);
    this.node = element("figure", { class: "try-cell" }, this.frame, this.button);
    this.node.style.setProperty("--ratio", String(Math.min(4, Math.max(0.25, ratio))));
  }

  invite(node) {
    if (node) this.frame.append(node);
  }

  get hasBoth() {
    return Boolean(this.before && this.run?.state === "done" && this.run.answer.image);
  }

  mark(isChosen) {
    this.button?.setAttribute("aria-pressed", String(isChosen));
  }

  update() {
    const { run } = this;
    const image = run.answer?.image || (run.isOver ? "" : run.preview);
    if (image && this.after.src !== image) this.after.src = image;
    this.after.hidden = !image;
    const isQuiet = run.state === "done";
    this.progress.hidden = isQuiet;
    this.node.dataset.state = run.state;
    this.text.textContent = textOf(run);
    this.bar.style.width = run.steps && !run.isOver ? percent(run.step / run.steps) : "0";
    this.result.textContent = isQuiet ? format(run.seconds, "s") : run.isOver ? ENDS[run.state] : "";
  }
}

function picture(url, alt) {
  const image = element("img", { class: "before", src: url, alt, draggable: "false" });
  image.addEventListener("error", () => image.replaceWith(element("p", { class: "faint try-unseen" }, t("This browser cannot show the image. The service may read it."))));
  return image;
}

/** Return the state of a request in words. */
function textOf(run) {
  const time = run.begun === undefined ? "" : `${TIME}${run.seconds.toFixed(1)} s`;
  if (run.state === "waiting") return t("Waits for the one before it");
  if (run.state === "queued") return `${run.ahead === 0 ? t("Next in the queue") : t("{count} before it in the queue", { count: run.ahead })}${time}`;
  if (run.state === "running") return `${t("Step {step} of {steps}", run)}${time}`;
  if (run.state === "cancelled") return t("Cancelled");
  if (run.state === "failed") return told(run.problem);
  if (run.state === "done") return t("Done in {time}", { time: format(run.seconds, "s") });
  return run.seconds > SLOW_SECONDS ? t("The service has not begun{time}. Wait, or cancel.", { time }) : `${t("Sent")}${time}`;
}
