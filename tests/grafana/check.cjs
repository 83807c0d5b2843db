// Checks generated dashboards with Grafana's own code: `node check.cjs FOLDER`.
//
// FOLDER has the dashboards as *.json, and expectations.json: for each panel whether high or low
// values are good, and its limit. Prints what was checked, then each fault; exits with 1 if any.

const fs = require('node:fs');
const path = require('node:path');

// Grafana's code reads the browser's language when it loads the units.
globalThis.navigator = { language: 'en', languages: ['en'] };

const grafana = require('@grafana/data');
const { firstValueFrom } = require('rxjs');
const { colour } = require('./colours.cjs');
const types = require('./types.cjs');

globalThis.window = {}; // only now: while they load, libraries would take it for a browser

const folder = path.resolve(process.argv[2]);
const expectations = JSON.parse(fs.readFileSync(path.join(folder, 'expectations.json')));
const boards = fs
  .readdirSync(folder)
  .filter((name) => name.endsWith('.json') && name !== 'expectations.json')
  .map((name) => JSON.parse(fs.readFileSync(path.join(folder, name))));
const units = new Set(grafana.getValueFormats().flatMap((group) => group.formats ?? group.submenu).flatMap((unit) => [unit.id ?? unit.value]));
// Two of Grafana's names are the same transformation.
const transformations = new Map(Object.values(grafana.standardTransformers).map((one) => [one.id, one]));
grafana.standardTransformersRegistry.setInit(() =>
  [...transformations].map(([id, one]) => ({ id, name: one.name, transformation: async () => one }))
);
const faults = [];
const counts = {};

function check(what, where, holds, detail = '') {
  counts[what] = (counts[what] ?? 0) + 1;
  if (!holds) faults.push(`${where}: ${what} ${detail}`.trim());
}

// Red and green as they look: the stronger channel decides.
function hue(colour) {
  const { r, g } = grafana.colorManipulator.decomposeColor(grafana.colorManipulator.asRgbString(colour)).values.reduce(
    (sum, value, place) => ({ ...sum, ['rgb'[place]]: value }),
    {}
  );
  return r > g ? 'red' : 'green';
}

function checkColours(panel, where, expected) {
  if (expected.limit !== null && ['bargauge', 'stat'].includes(panel.type)) {
    const [below, above] = expected.better === 'high' ? ['red', 'green'] : ['green', 'red'];
    const margin = Math.max(Math.abs(expected.limit) * 0.01, 0.001);
    check('colour below the limit', where, hue(colour(panel, expected.limit - margin)) === below);
    check('colour above the limit', where, hue(colour(panel, expected.limit + margin)) === above);
  } else if (expected.better && panel.type === 'bargauge') {
    const [low, high] = expected.better === 'high' ? ['red', 'green'] : ['green', 'red'];
    const { max = 1 } = panel.fieldConfig.defaults;
    check('colour of 0', where, hue(colour(panel, 0.02 * max)) === low);
    check('colour of 1', where, hue(colour(panel, 0.98 * max)) === high);
  }
  if (panel.type === 'stat' && expected.limit === null) {
    const { color, thresholds } = panel.fieldConfig.defaults;
    check('colour of a number without a limit', where, color?.mode === 'fixed' || Boolean(thresholds));
  }
  if (panel.type === 'state-timeline') {
    check('colour of 0', where, hue(colour(panel, 0)) === 'green');
    check('colour of 1', where, hue(colour(panel, 1)) === 'red');
  }
  if (panel.options.color?.scheme === 'RdYlGn') {
    check('colour of 0', where, hue(colour(panel, 0)) === 'red');
    check('colour of 1', where, hue(colour(panel, 1)) === 'green');
  }
}

function checkUnits(panel, where) {
  const { yAxis, cellValues } = panel.options;
  for (const unit of [panel.fieldConfig.defaults.unit, yAxis?.unit, cellValues?.unit]) {
    if (unit) check('unit', where, units.has(unit), unit);
  }
}

function checkReducers(panel, where) {
  for (const name of [...(panel.options.legend?.calcs ?? []), ...(panel.options.reduceOptions?.calcs ?? [])]) {
    check('calculation', where, grafana.fieldReducers.getIfExists(name) !== undefined, name);
  }
  if (panel.type === 'timeseries') {
    check('legend is shown', where, panel.options.legend.showLegend === true);
    check('tooltip shows all series', where, panel.options.tooltip.mode === 'multi');
  }
}

async function checkTransformations(panel, where) {
  for (const { id, options } of panel.transformations ?? []) {
    check('transformation', where, transformations.has(id), id);
    if (id !== 'organize') continue;
    const frame = grafana.toDataFrame({
      fields: ['Time', '__name__', 'job', 'Value'].map((name) => ({ name, values: [1], type: grafana.FieldType.string })),
    });
    const [shown] = await firstValueFrom(grafana.transformDataFrame([{ id, options }], [frame]));
    const names = shown.fields.map((field) => field.name).join();
    check('columns', where, names === 'job', names);
  }
}

async function main() {
  for (const board of boards) {
    const panels = types.panelsOf(board).filter((panel) => panel.type !== 'text');
    const ids = new Set(panels.map((panel) => panel.id));
    check('panel ids are unique', board.title, ids.size === panels.length);
    for (const panel of panels) {
      const where = `${board.title} / ${panel.title}`;
      checkColours(panel, where, expectations[board.uid][panel.title]);
      checkUnits(panel, where);
      checkReducers(panel, where);
      await checkTransformations(panel, where);
    }
  }
  for (const [where, message] of types.faults(boards)) faults.push(`${where}: ${message}`);
  counts['panels against the types of their options'] = boards.flatMap(types.panelsOf).length;
  for (const [what, number] of Object.entries(counts)) console.log(`${String(number).padStart(5)}  ${what}`);
  for (const fault of faults) console.error(`fault: ${fault}`);
  const { version } = require('@grafana/data/package.json');
  console.log(`${boards.length} dashboards checked with Grafana ${version}: ${faults.length} faults.`);
  process.exitCode = faults.length ? 1 : 0;
}

main();
