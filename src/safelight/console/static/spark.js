// Draw the last half hour of a number as a small line over its area, without axes.

const SVG = "http://www.w3.org/2000/svg";

/** Return a line through values of equal distance in time; null is a gap. Null if there is too little to draw. */
export function spark(values) {
  const known = values.filter((value) => value !== null);
  if (known.length < 2) return null;
  const least = Math.min(0, ...known);
  const range = Math.max(...known) - least || 1;
  const pointAt = (place) => `${place} ${(1 - (values[place] - least) / range).toFixed(3)}`;
  const made = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ class: "spark", viewBox: `0 0 ${values.length - 1} 1`, preserveAspectRatio: "none", "aria-hidden": "true" })) made.setAttribute(name, value);
  for (const [first, last] of stretches(values)) {
    const line = Array.from({ length: last - first + 1 }, (_, step) => pointAt(first + step)).join("L");
    made.append(path("area", `M${first} 1L${line}L${last} 1Z`), path("line", `M${line}`));
  }
  return made;
}

/** Return the first and the last place of each stretch without a gap. */
function stretches(values) {
  const found = [];
  values.forEach((value, place) => {
    if (value === null) return;
    if (place > 0 && values[place - 1] !== null) found.at(-1)[1] = place;
    else found.push([place, place]);
  });
  return found;
}

function path(name, drawn) {
  const made = document.createElementNS(SVG, "path");
  made.setAttribute("class", name);
  made.setAttribute("d", drawn);
  return made;
}
