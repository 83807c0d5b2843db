// Which stages of a request were slow. Sentences and marks both come from here.

export const LONG = 1.5; // times the usual
const SHARE = 0.05; // of the whole
const LEAST_SECONDS = 0.05; // less is not noticed

/** Return whether a time is longer than usual, and the difference is noticed. `whole` is of the request; all in seconds. */
export function isLonger(seconds, usual, whole = seconds) {
  return usual !== undefined && seconds > LONG * usual && seconds - usual >= Math.max(LEAST_SECONDS, SHARE * whole);
}

/** Return the slow stages, the one that cost most first. `own` and `usual` have seconds by name. */
export function slowStages(own, usual) {
  const whole = Object.values(own).reduce((total, seconds) => total + seconds, 0);
  const extra = (name) => own[name] - usual[name];
  return Object.keys(own).filter((name) => isLonger(own[name], usual[name], whole)).sort((one, other) => extra(other) - extra(one));
}
