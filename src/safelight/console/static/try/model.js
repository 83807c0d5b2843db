// What a service serves: the task of its model, and the parameters with their bounds and defaults.

import { fetchJson } from "../dom.js";
import { t, told } from "../words.js";

const LABELS = {
  instruction: t("Instruction"), prompt: t("Prompt"), negative_prompt: t("Must not show"), steps: t("Steps"),
  guidance_scale: t("Guidance"), image_guidance_scale: t("Image guidance"), width: t("Width"), height: t("Height"),
  seed: t("Seed"), top: t("Labels"),
};
const UNITS = { width: t("pixels"), height: t("pixels") };
const IMAGE_TYPES = new Set(["edit", "predict"]); // tasks that read an image

/** Return the model of a service. Throws an Error with words if it does not answer or loads still. */
export async function readModel(place, known, signal) {
  const [model] = await modelsOf(place, signal);
  if (!model.task) throw new Error(t("The service is loading its model."));
  const key = JSON.stringify([model.id, model.task, model.defaults, model.limits, model.created]);
  if (known?.key === key) return known;
  const schema = await fetchJson(`/service/${place}/openapi.json`, {}, signal);
  return {
    key,
    name: model.id,
    task: model.task,
    path: model.path,
    needsImage: IMAGE_TYPES.has(model.task),
    limits: model.limits ?? {},
    fields: fieldsOf(schema, model),
    reasons: reasonsOf(schema),
  };
}

/** Return what a service serves. Throws an Error with words for one that is only watched. */
async function modelsOf(place, signal) {
  try {
    const { data } = await fetchJson(`/service/${place}/v1/models`, {}, signal);
    if (data?.[0] && "task" in data[0]) return data;
  } catch (error) {
    if (error.status !== 404) throw error;
  }
  throw new Error(t("This service is watched, not served by Safelight. Try needs a service of safelight serve."));
}

/** Return the parameter that says what to do, such as the instruction; undefined if there is none. */
export function leadOf(model) {
  return model.fields.find((field) => field.isText && field.isRequired);
}

function fieldsOf(schema, model) {
  const bodies = schema.paths[model.path].post.requestBody.content;
  const { properties, required = [] } = (bodies["application/json"] ?? bodies["multipart/form-data"]).schema;
  return Object.entries(properties)
    .filter(([name]) => name !== "image")
    .map(([name, shape]) => fieldOf(name, shape, required.includes(name), model));
}

function fieldOf(name, shape, isRequired, { defaults = {}, limits = {} }) {
  const own = shape.anyOf?.find((each) => each.type !== "null") ?? shape;
  const isSide = name === "width" || name === "height";
  const most = name === "steps" ? limits.steps : isSide ? limits.side_pixels : undefined;
  const bounds = [own.maximum, own.exclusiveMaximum === undefined ? undefined : own.exclusiveMaximum - 1, most];
  return {
    name,
    label: LABELS[name] ?? name.replaceAll("_", " "),
    unit: UNITS[name] ?? "",
    hint: told(shape.description ?? ""),
    isText: own.type === "string",
    isWhole: own.type === "integer",
    isRequired,
    least: own.minimum ?? 0,
    most: Math.min(...bounds.filter((each) => each !== undefined)),
    multiple: isSide ? limits.side_multiple ?? own.multipleOf ?? 1 : 1,
    longest: limits.text_characters,
    initial: defaults[name] ?? shape.default ?? null,
  };
}

function reasonsOf(schema) {
  const rating = schema.paths["/v1/requests/{request_id}/rating"]?.post.requestBody.content["application/json"].schema;
  return rating?.properties.reason.enum ?? ["none"];
}
