// The image that is edited or read: chosen, dropped, pasted, or a sample; with advice before the edit.

import { ask, element, messageOf } from "../dom.js";
import { format } from "../units.js";
import { joined, t } from "../words.js";

const SAMPLES = 64;
const ENVELOPE_BYTES = 4096; // what a form adds to the image
const REFUSED = 400;
const LEAST_EDITS = 10; // fewer say nothing about the next one
const LATER = new Set([401, 403, 408, 429, 499]); // the image may be good

export class Picture {
  /** `change` is called when there is another image, `advise` with an instruction to try. */
  constructor({ start, change, advise }) {
    this.start = start;
    this.change = change;
    this.advise = advise;
    this.file = null;
    this.url = "";
    this.ratio = 1;
    this.input = element("input", { type: "file", accept: "image/*", class: "unseen", tabindex: "-1", "aria-label": t("Choose an image"), onchange: () => this.take(this.input.files[0]) });
    this.problem = element("p", { class: "problem", role: "alert" });
    this.advice = []; // what is advised already, by its reason
    this.words = element("div", { class: "try-advice", role: "status" });
    this.others = element("div", { class: "actions" });
    this.node = element("div", { class: "try-picture" }, this.input, this.problem, element("div", { class: "try-chosen" }, this.words, this.others));
  }

  /** Serve another model: its service has other limits. */
  use(place, model) {
    this.place = place;
    this.model = model;
    this.limit = Math.min(this.start.body_limit_bytes, model.limits.body_bytes ?? Infinity);
    this.check();
  }

  buttons() {
    return [
      element("button", { type: "button", class: this.file ? "" : "primary", onclick: () => this.input.click() }, t(this.file ? "Choose another image" : "Choose an image")),
      element("button", { type: "button", onclick: () => this.sample() }, t(this.file ? "Another sample" : "Use a sample portrait")),
    ];
  }

  async sample() {
    const number = crypto.getRandomValues(new Uint8Array(1))[0] % SAMPLES;
    try {
      const answer = await ask("/data/sample", { query: { number } });
      await this.take(await answer.blob());
    } catch (error) {
      this.problem.textContent = messageOf(error);
    }
  }

  /** Take an image file, or say why not. */
  async take(file) {
    this.input.value = ""; // so that the same file can be chosen again
    if (!file) return;
    this.problem.textContent = "";
    this.words.replaceChildren();
    this.advice = [];
    if (file.type && !file.type.startsWith("image/")) {
      this.problem.textContent = t("This file is not an image. Choose a JPEG, PNG or WebP file.");
    } else if (file.size > this.limit - ENVELOPE_BYTES) {
      this.problem.textContent = t("This image has {size}; the limit is {limit}. Choose a smaller one.", { size: format(file.size, "bytes"), limit: format(this.limit, "bytes") });
    } else {
      await this.set(file);
      this.check();
    }
  }

  async set(file) {
    URL.revokeObjectURL(this.url);
    this.file = file;
    this.url = URL.createObjectURL(file);
    this.ratio = (await ratioOf(this.url)) ?? 1;
    this.others.replaceChildren(...this.buttons());
    this.change();
  }

  clear() {
    URL.revokeObjectURL(this.url);
    this.file = null;
    this.url = "";
    this.others.replaceChildren();
    this.change();
  }

  /** Ask the service what it thinks of the image. Only edits have advice. */
  async check() {
    const { file } = this;
    if (!file || this.model.task !== "edit" || !this.start.viewer.scopes.includes("infer")) return;
    try {
      const answer = await ask(`/service/${this.place}/api/edit/check`, { method: "POST", body: file, headers: { "content-type": file.type || "application/octet-stream" } });
      const found = await answer.json();
      if (file === this.file) this.show(found);
    } catch (error) {
      if (file !== this.file || !(error.status >= REFUSED && error.status < 500) || LATER.has(error.status)) return;
      this.clear();
      this.problem.textContent = messageOf(error);
    }
  }

  show({ advice, background, image }) {
    const isSame = image.width === image.working_width && image.height === image.working_height;
    const facts = t(isSame ? "{width} × {height} pixels." : "{width} × {height} pixels, edited at {working_width} × {working_height}.", image);
    this.advice = advice.map(({ because }) => because);
    const past = background.edits < LEAST_EDITS ? "" : t("Of {count} edits with such a background, {share} succeeded.", { count: background.edits, share: format(background.success_ratio, "percentunit") });
    this.words.replaceChildren(
      element("p", { class: "faint" }, advice.length ? facts : joined(facts, t("Its background is calm."), past)),
      ...advice.map((each) => adviceLine(each, past, this.advise)));
  }
}

/** Return advice in words, with a button that follows it. */
export function adviceLine({ because, try: instruction }, past, follow) {
  const why = because === "busy-background" ? t("The background is busy: edits of such images often fail.") : `${because.replaceAll("-", " ")}.`;
  const first = t("First try “{instruction}”.", { instruction });
  return element("p", { class: "notice try-note" }, element("span", {}, joined(why, past, first)),
    element("button", { type: "button", onclick: () => follow(instruction) }, t("Use this instruction")));
}

/** Return width / height of an image, or null if the browser cannot show it. */
async function ratioOf(url) {
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
    return image.naturalWidth / image.naturalHeight;
  } catch {
    return null;
  }
}
