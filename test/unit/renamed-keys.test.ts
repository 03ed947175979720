import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { configurationKeys } from '../../scripts/configuration-page.ts';
import { compareVersions, nextVersion } from '../../scripts/release/version.ts';
import { parseYaml, readSettings } from '../../src/config/document.ts';
import { openEnvironment } from '../../src/config/environment.ts';
import { formatProblem } from '../../src/config/problems.ts';
import { RENAMED_KEYS, type RenamedKey, withNewNames } from '../../src/config/renamed-keys.ts';

const ROOT = join(import.meta.dirname, '../..');
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  version: string;
};

test.each(RENAMED_KEYS)(
  '$map.$old is taken for at least one minor version, and not for ever',
  async ({ map, old, key, since, until }) => {
    expect(compareVersions(until, nextVersion(since, 'minor'))).toBeGreaterThanOrEqual(0);
    expect(compareVersions(until, version)).toBeGreaterThan(0);
    const paths = new Set((await configurationKeys()).map(({ path }) => path));
    expect([paths.has(`${map}.${key}`), paths.has(`${map}.${old}`)]).toEqual([true, false]);
  },
);

test.each(RENAMED_KEYS)(
  'the JSON Schema marks $map.$old as deprecated',
  ({ map, old, key, until }) => {
    const text = readFileSync(join(ROOT, 'config/runwatch.schema.json'), 'utf8');
    expect(text).toContain(
      `"The old name of ${map}.${key}, which version ${until} does not take."`,
    );
    const sections = (JSON.parse(text) as { properties: Record<string, { properties: object }> })
      .properties;
    expect(sections[map]?.properties).toMatchObject({ [old]: { deprecated: true } });
  },
);

const TABLE: readonly RenamedKey[] = [
  { map: 'endpoints.<name>', old: 'filter', key: 'when', since: '1.0.0', until: '1.2.0' },
  { map: 'rules[]', old: 'to', key: 'notify', since: '1.0.0', until: '1.2.0' },
];

function read(settings: unknown, table: readonly RenamedKey[]) {
  const yaml = parseYaml({ name: 'f.yaml', text: stringify(settings) });
  const environment = openEnvironment({ TEAM: 'ml' }, '/');
  return withNewNames(
    readSettings(yaml, environment, () => false),
    table,
  );
}

test('an old name is taken in each named entry and each item, with a warning that says the new one', () => {
  const { document, warnings } = read(
    {
      endpoints: { ops: { type: 'log', filter: { team: ['${TEAM}'] } }, audit: { type: 'log' } },
      rules: [{ name: 'a' }, { name: 'b', to: ['ops'] }],
    },
    TABLE,
  );
  expect(document.value).toEqual({
    endpoints: { ops: { type: 'log', when: { team: ['ml'] } }, audit: { type: 'log' } },
    rules: [{ name: 'a' }, { name: 'b', notify: ['ops'] }],
  });
  expect(warnings.map(formatProblem)).toEqual([
    'endpoints.ops.filter: it is called endpoints.ops.when now, and version 1.2.0 does not take the old name; rename it',
    'rules.1.to: it is called rules.1.notify now, and version 1.2.0 does not take the old name; rename it',
  ]);
  expect(document.references.get('endpoints\0ops\0when\0team\x000')).toMatchObject({
    variable: 'TEAM',
  });
});

test('a setting under both names is a problem, and the new name counts', () => {
  const { document, warnings } = read(
    { endpoints: { ops: { filter: { a: 1 }, when: { b: 2 } } } },
    TABLE,
  );
  expect(document.value).toEqual({ endpoints: { ops: { when: { b: 2 } } } });
  expect(warnings).toEqual([]);
  expect(document.problems.map(formatProblem)).toEqual([
    'endpoints.ops.filter: it is called endpoints.ops.when now, which is given, too; remove one of them',
  ]);
  expect(document.places.has('endpoints\0ops\0when\0a')).toBe(false);
});

/** Settings in which some keys have two names each. */
const settings = fc.record(
  {
    filter: fc.oneof(
      fc.constantFrom('x', '${TEAM}', '${UNSET}'),
      fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom('x', '${TEAM}', '${UNSET}')),
    ),
    type: fc.constantFrom('log', 'slack'),
  },
  { requiredKeys: [] },
);

test('a file with old names reads as one with the new names in the same places', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom('ops', 'audit', 'filter'), settings), (endpoints) => {
      // As long as the old name, so that places agree.
      const table = [{ ...TABLE[0]!, key: 'filtre' }];
      const fresh = Object.fromEntries(
        Object.entries(endpoints).map(([name, its]) => [
          name,
          Object.fromEntries(
            Object.entries(its).map(([key, value]) => [key === 'filter' ? 'filtre' : key, value]),
          ),
        ]),
      );
      const { document: renamed, warnings } = read({ endpoints }, table);
      const { document: direct } = read({ endpoints: fresh }, table);
      expect(renamed.value).toEqual(direct.value);
      expect(new Map([...renamed.places, ...direct.places])).toEqual(renamed.places);
      expect(new Map([...renamed.references, ...direct.references])).toEqual(renamed.references);
      expect(renamed.absent).toEqual(direct.absent);
      const old = Object.values(endpoints).filter((its) => 'filter' in its);
      expect(warnings).toHaveLength(old.length);
    }),
  );
});
