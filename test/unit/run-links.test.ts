import { expect, test } from '@jest/globals';
import { configSchema } from '../../src/config/schema.ts';
import { createLinksOf } from '../../src/core/run/links.ts';
import { newWatch, snapshot } from '../support/builders.ts';

const config = (settings: object) =>
  configSchema.parse({ data_dir: '/data', sources: {}, ...settings });

const source = (settings: object) => ({ sources: { default: { api_key: 'key', ...settings } } });

const RUN_URL = 'https://app.example/g/{group_id}/{workflow_id}/{run_id}';

const linksOf = (settings: object, learned: Record<string, string> = {}) =>
  createLinksOf({
    config: config(settings),
    learnedName: (workflow) => learned[`${workflow.source}/${workflow.workflowId}`] ?? null,
  });

const seen = newWatch({ run: snapshot({ id: 'RUN-1' }) });

test('a run has no links and no name where nothing is configured', () => {
  const none = { workflowName: null, runUrl: null, watchUrl: null };
  expect(linksOf(source({}))(seen)).toEqual(none);
  expect(linksOf(source({}))(newWatch())).toEqual(none);
});

test('the URL of a run is the template of its source with the ids of the run', () => {
  const links = linksOf(source({ run_url: RUN_URL }));
  expect(links(seen).runUrl).toBe('https://app.example/g/group-1/workflow-1/RUN-1');
  const odd = newWatch({ run: snapshot({ id: 'RUN-1', workflow_id: 'a/b ?' }) });
  expect(links(odd).runUrl).toBe('https://app.example/g/group-1/a%2Fb%20%3F/RUN-1');
});

test('a run has no URL while an id of its template is unknown', () => {
  expect(linksOf(source({ run_url: RUN_URL }))(newWatch()).runUrl).toBeNull();
  const short = linksOf(source({ run_url: 'https://app.example/?run={run_id}' }));
  expect(short(newWatch()).runUrl).toBe('https://app.example/?run=run-1');
  expect(short(newWatch({ source: 'other' })).runUrl).toBeNull();
});

test.each(['__proto__', 'constructor', 'toString'])(
  'a workflow with the id %s has no name and no template of its own',
  (workflow_id) => {
    const links = linksOf(source({ run_url: 'https://app.example/{workflow_id}' }));
    expect(links(newWatch({ run: snapshot({ workflow_id }) }))).toMatchObject({
      workflowName: null,
      runUrl: `https://app.example/${workflow_id}`,
    });
  },
);

test('the template of a workflow goes before that of its source', () => {
  const workflows = { 'workflow-1': { run_url: 'https://own.example/{run_id}' } };
  const links = linksOf({ ...source({ run_url: RUN_URL }), workflows });
  expect(links(seen).runUrl).toBe('https://own.example/RUN-1');
});

test('the configured name of a workflow goes before the one that Noxus gives', () => {
  const learned = { 'default/workflow-1': 'theirs' };
  const named = { workflows: { 'workflow-1': { name: 'ours' } } };
  expect(linksOf(source({}), learned)(seen).workflowName).toBe('theirs');
  expect(linksOf({ ...source({}), ...named }, learned)(seen).workflowName).toBe('ours');
});

test('the dashboard page of a run is under the public URL, whatever path that has', () => {
  const links = linksOf({ server: { public_url: 'https://ops.example/runwatch/' } });
  expect(links(seen).watchUrl).toBe('https://ops.example/runwatch/runs/default/run-1');
});

test.each([
  ['https://app.example/{run}', /expected only \{run_id\}, \{workflow_id\}, \{group_id\}/],
  ['app.example/{run_id}', /expected an http/],
  ['https://me:pass@app.example/{run_id}', /without a user name/],
])('the template %s of run URLs is refused', (template, message) => {
  const result = configSchema.safeParse({ data_dir: '/data', ...source({ run_url: template }) });
  expect(result.error?.issues[0]?.message).toMatch(message);
});
