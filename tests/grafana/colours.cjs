// Prints the colours that Grafana gives to values: `node colours.cjs < request.json`.
//
// The request has, for each panel by title, its JSON and the values; the answer has their colours.

const fs = require('node:fs');

globalThis.navigator = { language: 'en', languages: ['en'] }; // Grafana's units need a language
const grafana = require('@grafana/data');
const scales = require('d3-scale-chromatic');

const theme = grafana.createTheme({ colors: { mode: 'dark' } });

function ofField(panel, value) {
  const config = { min: 0, max: 1, ...panel.fieldConfig.defaults };
  const steps = config.thresholds?.steps?.map((step) => ({ ...step, value: step.value ?? -Infinity }));
  if (steps) config.thresholds = { ...config.thresholds, steps };
  config.color ??= { mode: 'thresholds' };
  const field = { name: 'value', type: grafana.FieldType.number, config, values: [0, 1, value] };
  return grafana.getDisplayProcessor({ field, theme })(value).color;
}

// As in Grafana's heatmap/palettes.ts: RdYlGn is always inverted, then `reverse` applies.
function ofCell({ reverse }, value) {
  return scales.interpolateRdYlGn(reverse ? value : 1 - value);
}

function colour(panel, value) {
  const { color } = panel.options;
  return color?.scheme === 'RdYlGn' ? ofCell(color, value) : ofField(panel, value);
}

exports.colour = colour;

if (require.main === module) {
  const request = JSON.parse(fs.readFileSync(0, 'utf8'));
  const answer = Object.fromEntries(
    Object.entries(request).map(([title, { panel, values }]) => [
      title,
      values.map((value) => grafana.colorManipulator.asHexString(colour(panel, value))),
    ])
  );
  process.stdout.write(JSON.stringify(answer));
}
