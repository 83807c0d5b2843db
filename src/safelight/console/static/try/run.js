// One request to a model: send it, follow its steps by events, cancel it.

import { ask, messageOf } from "../dom.js";

const TRIES = 40;
const PAUSE_MS = 500;
const CANCEL_MS = 3000;
const CANCELLED = "cancelled";
const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

/** Return an id with 122 random bits, also without https, where browsers have no randomUUID. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Run {
  /** `picture` is an image file or null. Set `change` to what is called after every change of the state. */
  constructor({ place, model, values, picture }) {
    Object.assign(this, { place, model, values, picture });
    this.change = () => {};
    this.id = newId();
    this.state = "waiting"; // then sent, queued, running, and done, failed or cancelled
    this.step = this.steps = this.ahead = 0;
    this.preview = this.problem = this.reason = "";
    this.intervals = []; // pairs of a step and its seconds
    this.answer = null;
    this.stopped = new AbortController();
  }

  get isOver() {
    return ["done", "failed", CANCELLED].includes(this.state);
  }

  get seconds() {
    return ((this.ended ?? performance.now()) - this.begun) / 1000;
  }

  /** Send the request; return when it has ended, whatever the end is. */
  async go() {
    if (this.isOver) return;
    this.begun = performance.now();
    this.become("sent");
    const following = new AbortController();
    this.follow(following.signal);
    try {
      const response = await ask(`/service/${this.place}${this.model.path}`, this.request());
      this.answer = await readAnswer(response);
      this.finish("done");
    } catch (error) {
      this.problem = messageOf(error);
      this.reason = error.reason ?? "";
      this.finish(error.name === "AbortError" || error.reason === CANCELLED ? CANCELLED : "failed");
    } finally {
      following.abort();
    }
  }

  /** Return the request; it is the same, with the same id, when it is sent again after a login. */
  request() {
    const headers = { accept: "application/json", "x-request-id": this.id };
    const shared = { method: "POST", signal: this.stopped.signal };
    if (!this.picture) return { ...shared, headers: { ...headers, "content-type": "application/json" }, body: JSON.stringify(this.values) };
    const body = new FormData();
    for (const [name, value] of Object.entries(this.values)) body.append(name, value);
    body.append("image", this.picture, "image"); // a file's own name is nobody's business
    return { ...shared, headers, body };
  }

  /** Ask the service to stop; a request that it does not know, or a service that hangs, is given up here. */
  async cancel() {
    if (this.state === "waiting") {
      this.finish(CANCELLED);
      return;
    }
    try {
      await ask(`/service/${this.place}/v1/requests/${this.id}`, { method: "DELETE", signal: AbortSignal.timeout(CANCEL_MS) });
    } catch {
      this.stopped.abort();
    }
  }

  /** Leave: the service stops the work when its caller has gone. */
  leave() {
    this.stopped.abort();
  }

  // ── Its events ─────────────────────────────────────────────────────────────────────────────────

  async follow(signal) {
    for (let number = 0; number < TRIES && !signal.aborted; number += 1) {
      try {
        const { body } = await ask(`/service/${this.place}/v1/requests/${this.id}/events`, { signal });
        for await (const event of eventsOf(body)) this.take(event);
        return;
      } catch (error) {
        if (error.status !== 404) return; // without events there is no progress, but an answer
      }
      await pause(PAUSE_MS); // a large image is still being received
    }
  }

  take({ name, data }) {
    if (this.isOver) return;
    if (name === "queued") {
      this.ahead = data.place;
      this.become("queued");
      return;
    }
    const now = performance.now();
    const passed = data.step - this.step;
    if (passed > 0 && this.step > 0) {
      const seconds = (now - this.steppedAt) / 1000 / passed;
      for (let step = this.step + 1; step <= data.step; step += 1) this.intervals.push([step, seconds]);
    }
    if (passed > 0) this.steppedAt = now;
    this.step = data.step;
    this.steps = data.steps;
    if (data.image?.startsWith("data:image/")) this.preview = data.image;
    this.become("running");
  }

  become(state) {
    this.state = state;
    this.change(this);
  }

  finish(state) {
    this.ended = performance.now();
    this.begun ??= this.ended;
    this.become(state);
  }
}

async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const name = /^event: (.*)$/m.exec(part)?.[1];
      const data = /^data: (.*)$/m.exec(part)?.[1];
      if (name && data) yield { name, data: JSON.parse(data) };
    }
  }
}

async function readAnswer(response) {
  const { headers } = response;
  const content = await response.json();
  const image = content.image && /^image\/[a-z]+$/.test(content.media_type) ? `data:${content.media_type};base64,${content.image}` : "";
  return {
    ...content,
    image,
    requestId: headers.get("x-safelight-request-id") ?? content.request_id,
    stages: stagesOf(headers.get("server-timing") ?? ""),
  };
}

/** Return the seconds of each stage of a Server-Timing header. */
function stagesOf(text) {
  const found = [...text.matchAll(/([a-z_]+);dur=([\d.]+)/g)];
  return Object.fromEntries(found.map(([, name, milliseconds]) => [name, Number(milliseconds) / 1000]));
}
