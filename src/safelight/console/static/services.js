// What people call a service: its namespace; with its address if another one has the same.

import { fetchJson } from "./dom.js";

const AGAIN_MS = 30_000;
let names = [];
let askedAt = -Infinity;

/** Read the names, unless they were read a moment ago. Return whether one changed. */
export async function readNames(signal) {
  const now = performance.now();
  if (now - askedAt < AGAIN_MS && names.length && names.every(Boolean)) return false;
  try {
    const found = await fetchJson("/data/names", {}, signal);
    const isNew = JSON.stringify(found) !== JSON.stringify(names);
    names = found;
    askedAt = now;
    return isNew;
  } catch {
    return false; // then services have their addresses
  }
}

/** Return an address without its scheme. */
export const shortOf = (address) => address.replace(/^https?:\/\//, "");

/** Return the name of a service, by its number among the addresses. */
export function nameOf(addresses, number) {
  const name = names[number];
  if (!name) return shortOf(addresses[number]);
  const isAlone = names.filter((each) => each === name).length === 1;
  return isAlone ? name : `${name} · ${shortOf(addresses[number])}`;
}
