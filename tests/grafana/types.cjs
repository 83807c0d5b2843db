// Checks panels with TypeScript against the types of @grafana/schema; unknown options are faults.

const fs = require('node:fs');
const path = require('node:path');
const typescript = require('typescript');

const CONFIGURATIONS = path.join(__dirname, 'node_modules/@grafana/schema/dist/types/raw/composable');
const WITH_FIELD_OPTIONS = new Set(['timeseries', 'heatmap', 'state-timeline', 'table']);
const FOLDERS = { 'state-timeline': 'statetimeline' };
const FILE = path.join(__dirname, `generated-${process.pid}.ts`);

// JSON has texts and numbers where the types have enums.
const HEAD = `
import type * as schema from '@grafana/schema';
type Json<T> = T extends string ? \`\${T}\` : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? Json<U>[] : unknown extends T ? T : { [K in keyof T]: Json<T[K]> };
type Panel<Options, Field> = Omit<Json<schema.Panel>, 'options' | 'fieldConfig' | 'targets' | 'datasource' | 'transformations'> & {
  options: Json<Options>; targets?: unknown; datasource?: unknown; transformations?: unknown;
  fieldConfig?: { defaults: Omit<Json<schema.FieldConfig>, 'custom' | 'mappings' | 'thresholds'> & { custom?: Json<Partial<Field>>; mappings?: unknown; thresholds?: unknown }; overrides: { matcher: Json<schema.MatcherConfig>; properties: { id: string; value?: unknown }[] }[] };
};
`;

function typeNames(type) {
  const folder = FOLDERS[type] ?? type.replace('-', '');
  const version = path.join(CONFIGURATIONS, folder, 'panelcfg/x');
  const file = fs.readdirSync(version).find((name) => name.endsWith('.d.ts'));
  const module = JSON.stringify(path.join(version, file.replace(/\.d\.ts$/, '')));
  const field = WITH_FIELD_OPTIONS.has(type) ? `import(${module}).FieldConfig` : 'object';
  return [`import(${module}).Options`, field];
}

function diagnose(settings) {
  try {
    const program = typescript.createProgram([FILE], settings);
    const source = program.getSourceFile(FILE);
    return { source, found: [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)] };
  } finally {
    fs.unlinkSync(FILE);
  }
}

// A closed row holds its panels.
function panelsOf(board) {
  return board.panels.flatMap((panel) => (panel.type === 'row' ? panel.panels ?? [] : [panel]));
}

exports.panelsOf = panelsOf;

exports.faults = function faults(boards) {
  const lines = HEAD.split('\n');
  const places = [];
  for (const board of boards) {
    for (const panel of panelsOf(board)) {
      const [options, field] = typeNames(panel.type);
      places[lines.length] = `${board.title} / ${panel.title ?? panel.type}`;
      lines.push(`const panel${lines.length}: Panel<${options}, ${field}> = ${JSON.stringify(panel)};`);
    }
  }
  fs.writeFileSync(FILE, lines.join('\n'));
  const settings = { noEmit: true, strict: true, skipLibCheck: true, moduleResolution: typescript.ModuleResolutionKind.Bundler, module: typescript.ModuleKind.ESNext, target: typescript.ScriptTarget.ES2022, types: [] };
  const { source, found } = diagnose(settings);
  return found.map((one) => {
    const { line } = source.getLineAndCharacterOfPosition(one.start);
    return [places[line] ?? 'types', typescript.flattenDiagnosticMessageText(one.messageText, ' ').slice(0, 400)];
  });
};
