import * as fc from 'fast-check';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { notesOn } from '../../src/config/advice.ts';
import { loadConfig, type LoadedConfig } from '../../src/config/load.ts';
import { formatProblem } from '../../src/config/problems.ts';
import { redactConfig } from '../../src/config/redact.ts';

let cwd: string;

beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'runwatch-http-source-'));
});

afterAll(() => rmSync(cwd, { recursive: true }));

function load(yaml: string, env: NodeJS.ProcessEnv = {}) {
  writeFileSync(join(cwd, 'f.yaml'), yaml);
  return loadConfig({ purpose: 'serve', env, cwd, configPath: 'f.yaml' });
}

function loaded(yaml: string, env?: NodeJS.ProcessEnv): LoadedConfig {
  const result = load(yaml, env);
  if (result.kind === 'loaded') return result;
  throw new Error(result.problems.map(formatProblem).join('\n'));
}

function problemsOf(yaml: string, env?: NodeJS.ProcessEnv): string[] {
  const result = load(yaml, env);
  return result.kind === 'invalid' ? result.problems.map(formatProblem) : [];
}

const GITHUB = `sources:
  gh:
    type: http
    base_url: https://api.github.com/repos
    headers: { authorization: 'Bearer \${GH_TOKEN}', accept: application/vnd.github+json }
    id: '{owner}/{repo}/{run}'
    run:
      get: '/{owner}/{repo}/actions/runs/{run}?exclude_pull_requests=true'
      id: $.id
      status: [$.conclusion, $.status]
      workflow: $.workflow_id
      workflow_name: $.name
      created: $.created_at
      started: $.run_started_at
      finished: $.updated_at
      progress: { done: $.done, total: $.total }
    states: { queued: queued, running: [in_progress, false], completed: ['*'] }
    absent: running
    also: { when: completed, get: '/{owner}', id: $.id, status: $.next, states: { stopped: ['*'] } }
    errors: { rate_limit_remaining: x-ratelimit-remaining, rate_limit_reset: x-ratelimit-reset }
    conditional: true
    probe: /acme
    run_url: https://github.com/{owner}/{repo}/actions/runs/{run}
    rate_limit: { requests: 4000, per: 1h }
`;

/** The least source, with some lines changed, and further ones. */
function source(changes: Record<string, string> = {}, more = ''): string {
  const lines = {
    type: 'http',
    base_url: 'https://api.example',
    run: "{ get: '/runs/{run}', id: $.id, status: $.status }",
    states: '{ completed: [done] }',
    ...changes,
  };
  const text = Object.entries(lines).map(([key, value]) => `    ${key}: ${value}\n`);
  return `sources:\n  api:\n${text.join('')}${more}`;
}

describe('sources of type http', () => {
  test('every key is taken, and lists of one may be written without brackets', () => {
    const { config, warnings } = loaded(GITHUB, { GH_TOKEN: 'ghp_secret' });
    expect(warnings).toEqual([]);
    expect(config.sources['gh']).toMatchObject({
      type: 'http',
      headers: { authorization: 'Bearer ghp_secret' },
      run: { status: ['$.conclusion', '$.status'], progress: { done: '$.done', total: '$.total' } },
      states: { queued: ['queued'], running: ['in_progress', 'false'], completed: ['*'] },
      absent: 'running',
      also: { when: ['completed'], status: ['$.next'] },
      errors: { gone: [404, 410], rate_limited: [429], rate_limit_reset: 'x-ratelimit-reset' },
      conditional: true,
      rate_limit: { requests: 4_000, per: 3_600_000 },
      timeout: 10_000,
    });
  });

  test('the least source has the defaults', () => {
    expect(loaded(source()).config.sources['api']).toMatchObject({
      id: '{run}',
      headers: {},
      errors: { gone: [404, 410], rate_limited: [429] },
      conditional: false,
      rate_limit: { requests: 10, per: 1_000 },
    });
  });

  test('headers are secret: what is shown of the configuration does not have them', () => {
    const { config } = loaded(GITHUB, { GH_TOKEN: 'ghp_secret' });
    const shown = redactConfig(config);
    expect(JSON.stringify(shown)).not.toMatch(/ghp_secret|vnd.github/);
    expect(shown['sources']).toMatchObject({
      gh: {
        headers: { authorization: '[redacted]', accept: '[redacted]' },
        run: { id: '$.id', progress: { done: '$.done' } },
        states: { running: ['in_progress', 'false'] },
      },
    });
  });

  test.each<[Record<string, string>, string]>([
    [
      { type: 'htp' },
      '3:5 sources.api.type: expected noxus or http, got "htp" (did you mean http?)',
    ],
    [
      { run: "{ get: 'runs/{run}', id: $.id, status: $.status }" },
      'sources.api.run.get: expected a path that begins with /',
    ],
    [
      { run: "{ get: '/runs/{run}', id: id, status: $.status }" },
      'sources.api.run.id: expected a path such as $.status, $.items[0].state or $[\'run-id\'], got "id"',
    ],
    [
      { run: "{ get: '/runs/{run}', id: $.id, status: [$..status] }" },
      'sources.api.run.status.0: expected a path such as $.status',
    ],
    [
      { run: "{ get: '/runs/{run}', id: $.id, status: $.s, progress: 7 }" },
      'sources.api.run.progress: expected a path to a number up to 100, or { done: path, total: path }',
    ],
    [
      { run: "{ get: '/runs/{id}', id: $.id, status: $.status }" },
      'sources.api.run.get: expected only {run} in braces',
    ],
    [
      { run: "{ get: '/runs/../{run}', id: $.id, status: $.status }" },
      'sources.api.run.get: expected a path without . and ..',
    ],
    [
      { run: '{ get: /runs, id: $.id, status: $.status }' },
      'sources.api.run.get: expected {run} in it, which names the run',
    ],
    [
      { run: "{ get: '/runs/{run}', id: $.id }" },
      'sources.api.run.status: expected a path such as',
    ],
    [
      { run: "{ get: '/runs/{run}', id: $.id, status: $.s, attempt: n }" },
      'sources.api.run.attempt: expected a path such as',
    ],
    [{ id: "'{owner}/'" }, 'sources.api.id: expected parts in braces between slashes'],
    [{ id: "'{run}/{run}'" }, 'sources.api.id: expected parts in braces between slashes'],
    [{ probe: "'/{run}'" }, 'sources.api.probe: expected no braces'],
    [{ probe: 'https://other.example/' }, 'sources.api.probe: expected a path that begins with /'],
    [{ states: '{}' }, 'sources.api.states: expected at least one status with its words'],
    [
      { states: '{ done: [done] }' },
      'sources.api.states.done: unknown key, expected queued, running',
    ],
    [{ states: '{ completed: [] }' }, 'sources.api.states.completed: expected a list of words'],
    [
      { states: '{ completed: [done, ok], failed: [done] }' },
      'sources.api.states.failed.0: expected each word once, and this one stands under completed already',
    ],
    [
      { states: "{ completed: ['*'], failed: ['*'] }" },
      'sources.api.states.failed.0: expected each word once, and this one stands under completed already',
    ],
    [{ absent: 'done' }, 'sources.api.absent: expected one of queued, running'],
    [
      { also: "{ when: [failed], get: '/{run}', status: $.s, states: { stopped: [x] } }" },
      'sources.api.also.when.0: expected a status that has words in states',
    ],
    [
      {
        also: "{ when: completed, get: '/{run}', status: $.s, states: { stopped: [x] } }",
        rate_limit: '{ requests: 1 }',
      },
      'sources.api.rate_limit.requests: expected at least 2, since also takes two requests at once',
    ],
    [{ list: '{ get: /runs }' }, 'sources.api.list.items: expected a path such as $.status'],
    [
      { list: '{ get: /runs, items: runs, created: $.at }' },
      "sources.api.list.items: expected a path such as $.status, $.items[0].state or $['run-id'] that leads to a list, or $, got",
    ],
    [
      { list: '{ get: /runs, items: $.runs }' },
      'sources.api.list.created: expected a path, here or in run: a list is read by when',
    ],
    [
      { list: "{ get: '/runs?n={limit}', items: $, created: $.at }" },
      'sources.api.list.get: expected only {size}, {page}, {offset} in braces',
    ],
    [
      { list: "{ get: '/runs?p={page}&o={offset}', items: $, created: $.at }" },
      'sources.api.list.get: expected {page} or {offset}, not both',
    ],
    [
      { list: '{ get: /runs, items: $, created: $.at, size: 2000 }' },
      'sources.api.list.size: expected a whole number from 1 to 1000',
    ],
    [
      { list: '{ get: /runs, items: $, created: $.at, first_page: 2 }' },
      'sources.api.list.first_page: expected a whole number from 0 to 1',
    ],
    [
      { list: '{ get: /runs, items: $, created: $.at, id: { job: $.id } }' },
      'sources.api.list.id.job: expected a path for each part of the id: { run: $.… }',
    ],
    [
      { list: '{ get: /runs, items: $, created: $.at, attempt: $.n }' },
      'sources.api.list.attempt: expected run.attempt beside it',
    ],
    [
      { list: '{ get: /runs, items: $, created: $.at, finished: $.end }' },
      'sources.api.list.finished: unknown key',
    ],
    [
      { discover: '{ workflows: all }' },
      'sources.api.discover: expected list beside it, in which runs are discovered',
    ],
    [
      { list: '{ get: /runs, items: $, created: $.at }', discover: '{ workflows: [w] }' },
      'sources.api.discover.workflows.0: expected all: the list of such a source is one of the runs of all workflows',
    ],
    [{ headers: "{ 'a b': x }" }, 'sources.api.headers.a…: expected the name of a header'],
    [{ headers: '{ Host: x }' }, 'sources.api.headers.Host: this header is reserved'],
    [
      { headers: '{ X-Key: x, x-key: y }' },
      'sources.api.headers.x-key: this header is given twice',
    ],
    [
      { headers: '{ x-key: "a\\nb" }' },
      'sources.api.headers.x-key: expected the value of a header: one line of printable characters, got [redacted]',
    ],
    [{ errors: '{ gone: [200] }' }, 'sources.api.errors.gone.0: expected a whole number from 400'],
    [{ errors: '{ gone: [401] }' }, 'sources.api.errors.gone.0: expected no 401'],
    [
      { errors: '{ gone: [404, 429] }' },
      'sources.api.errors.rate_limited.0: expected a status that errors.gone does not have',
    ],
    [
      { errors: '{ rate_limit_reset: x-reset }' },
      'sources.api.errors.rate_limit_reset: expected rate_limit_remaining beside it',
    ],
    [
      { base_url: 'https://api.example/?key=1' },
      'sources.api.base_url: expected a URL without ? and #',
    ],
    [{ run_url: "'https://app.example/{owner}'" }, 'sources.api.run_url: expected only {run}'],
    [{ api_key: 'k' }, 'sources.api.api_key: unknown key'],
  ])('what is wrong is said with its place and what was expected: %j', (changes, problem) => {
    const [first = '', ...others] = problemsOf(source(changes));
    expect(first).toContain(problem);
    expect(first).toMatch(/^f\.yaml:\d+:\d+ /);
    expect(others).toEqual([]);
  });

  test('a source that declares an API without type: http has one problem, and those of its own keys', () => {
    const untyped = GITHUB.replace('    type: http\n', '');
    const problem =
      'f.yaml:2:3 sources.gh: expected type: http beside run and states, but type is missing';
    expect(problemsOf(untyped, { GH_TOKEN: 'ghp_secret' })).toEqual([problem]);
    expect(problemsOf(untyped.replace('$.id\n', 'id\n'), { GH_TOKEN: 'ghp_secret' })).toEqual([
      problem,
      expect.stringContaining('sources.gh.run.id: expected a path such as'),
    ]);
  });

  test.each<[get: string, changes: Record<string, string>, hint: string]>([
    ['/runs/{id}', {}, ", unless id declares others, as id: '{id}' does"],
    ['/{a}/{run}/{b}', {}, ", unless id declares others, as id: '{a}/{b}/{run}' does"],
    ['/runs/{Run}', {}, ''],
    ['/{a}/{run}', { id: "'{b}/{run}'" }, ', the parts that id declares'],
  ])(
    'a request %s with other parts than those of the id, which is %j, is said with them',
    (get, changes, hint) => {
      const run = `{ get: '${get}', id: $.id, status: $.status }`;
      const known = changes['id'] === undefined ? '{run}' : '{b}, {run}';
      expect(problemsOf(source({ run, ...changes }))[0]).toContain(
        `sources.api.run.get: expected only ${known} in braces${hint}, got ${JSON.stringify(get)}`,
      );
    },
  );

  test('a second request with another part is said with the id that both would need', () => {
    const also =
      "{ when: completed, get: '/{thread}/state', status: $.s, states: { stopped: [x] } }";
    expect(problemsOf(source({ also }))).toEqual([
      expect.stringContaining(
        'sources.api.also.get: expected only {run} in braces, unless id declares others, as id: \'{thread}/{run}\' does, got "/{thread}/state"',
      ),
    ]);
  });

  test.each<[Record<string, string>, string]>([
    [{ run: "{ get: 'runs/{run}', id: $.id, status: $.status }" }, '"runs/{run}"'],
    [{ run: "{ get: '/runs/{run}', id: $.id, status: $..status }" }, '"$..status"'],
    [{ run: "{ get: '/runs/{run}', id: $.id, status: [$.a, '$.b[*]'] }" }, '"$.b[*]"'],
    [{ run: "{ get: '/runs/{run}', id: $.id, status: $.s, progress: $..p }" }, '"$..p"'],
    [
      {
        run: "{ get: '/runs/{run}', id: $.id, status: $.s, progress: { done: $..d, total: $.t } }",
      },
      '"$..d"',
    ],
    [{ id: "'{run}/'" }, '"{run}/"'],
    [{ probe: "'/{run}'" }, '"/{run}"'],
    [{ probe: "'/runs?limit={n}&key=canary'" }, '"/runs?limit={n}&key=…"'],
    [{ list: "{ get: '/runs?limit={n}', items: $, created: $.at }" }, '"/runs?limit={n}"'],
    [{ list: '{ get: /runs, items: $..runs, created: $.at }' }, '"$..runs"'],
    [{ list: '{ get: /runs, items: $, created: $.at, id: $..id }' }, '"$..id"'],
    [{ list: '{ get: /runs, items: $, created: $.at, id: { run: $..id } }' }, '"$..id"'],
    [{ run_url: "'https://app.example/{id}'" }, '"https://app.example/{id}"'],
    [{ run_url: "'https://u:canary@app.example/{id}'" }, 'text with a URL in it'],
    [{ probe: 'https://app.example/?key=canary' }, 'text with a URL in it'],
    [{ probe: "'/runs\n     headers: canary'" }, 'text that is no single word'],
    [{ probe: `'/${'x'.repeat(300)}#'` }, `"/${'x'.repeat(199)}…"`],
  ])('a path or template that is wrong is shown, and no more than that: %j', (changes, shown) => {
    const problems = problemsOf(source(changes));
    expect(problems).toEqual([expect.stringMatching(/: expected .*, got /s)]);
    expect(problems[0]?.split(', got ').at(-1)).toBe(shown);
  });

  test('of a line in which colons are missing, the key ends at the first word', () => {
    const yaml = GITHUB.replace('headers: { authorization: ', 'headers { authorization ');
    expect(yaml).not.toBe(GITHUB);
    expect(problemsOf(yaml)).toEqual(['f.yaml:5:5 sources.gh.headers…: unknown key']);
  });

  test('no mistake in a declared source makes one of its headers appear in a problem', () => {
    const yaml = GITHUB.replace('${GH_TOKEN}', 'canary');
    const noise = fc.stringMatching(/^[^:?]{0,3}$/);
    const edit = fc.record({ at: fc.nat(yaml.length), remove: fc.nat(4), insert: noise });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
        let text = yaml;
        for (const { at, remove, insert } of edits) {
          text = text.slice(0, at) + insert + text.slice(at + remove);
        }
        expect(problemsOf(text).join('\n')).not.toContain('canary');
      }),
      { numRuns: 300 },
    );
  });

  test('no variable may make up a URL, since a secret would stand in it', () => {
    const yaml = source({ run: "{ get: '/runs/{run}?key=${KEY}', id: $.id, status: $.status }" });
    const problem =
      'f.yaml:5:12 sources.api.run.get: expected text without ${…}: no variable may make up a URL or its answer';
    expect(problemsOf(yaml, { KEY: 'secret' })).toEqual([problem]);
    expect(problemsOf(source({ probe: "'${PROBE}'" }), {})).toEqual([
      'f.yaml:7:5 sources.api.probe: expected text without ${…}: no variable may make up a URL or its answer',
    ]);
  });

  test('a header from a variable that is not set is an error', () => {
    expect(problemsOf(source({ headers: "{ x-key: '${API_KEY}' }" }))).toEqual([
      'f.yaml:7:16 sources.api.headers.x-key: API_KEY is not set; give it a value, or write ${API_KEY:-} where it may be absent',
    ]);
    expect(problemsOf(source({ headers: "{ x-key: 'Bearer ${API_KEY}' }" }))).toEqual([
      expect.stringContaining('API_KEY is not set'),
    ]);
  });

  test('a source without a probe, and headers over plain http, are warned of', () => {
    const yaml = source({ base_url: 'http://api.example', headers: '{ x-key: k }' });
    expect(loaded(yaml).warnings.map(formatProblem)).toEqual([
      expect.stringMatching(/^f\.yaml:2:3 sources\.api: it has no list and no probe/),
      expect.stringMatching(/^f\.yaml:4:5 sources\.api\.base_url: the headers travel in clear/),
    ]);
  });

  const LIST = "{ get: '/runs?limit={size}', items: $.runs, created: $.at }";

  test('a list has the defaults, and shows whether the source answers in place of a probe', () => {
    const { config, warnings } = loaded(source({ list: LIST, discover: '{}' }));
    expect(warnings).toEqual([]);
    expect(config.sources['api']).toMatchObject({
      list: { get: '/runs?limit={size}', items: '$.runs', size: 100, first_page: 1 },
      discover: { workflows: ['all'], since: 'registration', every: 10_000 },
    });
  });

  test('the paths of the ids in a list are shown as they are configured', () => {
    const list = '{ get: /runs, items: $, created: $.at, id: { run: $.key } }';
    const { sources } = redactConfig(loaded(source({ list })).config);
    expect(sources).toMatchObject({ api: { list: { id: { run: '$.key' } } } });
  });

  test.each([
    ['$.id', false],
    ['{ run: $.id }', false],
    ['{ owner: $.o, repo: $.r }', true],
    ['{ owner: $.o, repo: $.r, run: $.id }', true],
  ])('of an id of several parts, a list wants the path of each but the last: %s', (id, isRight) => {
    const list = `{ get: /runs, items: $, created: $.at, id: ${id} }`;
    const run = "{ get: '/{owner}/{repo}/{run}', id: $.id, status: $.status }";
    const expected = 'expected a path for each part of the id: { owner: $.…, repo: $.…, run: $.… }';
    expect(problemsOf(source({ id: "'{owner}/{repo}/{run}'", run, list }))).toEqual(
      isRight ? [] : [expect.stringContaining(`sources.api.list.id: ${expected}`)],
    );
  });

  test('a list that nothing is read from is warned of', () => {
    const also = "{ when: completed, get: '/{run}', status: $.s, states: { stopped: [x] } }";
    expect(loaded(source({ list: LIST, also })).warnings.map(formatProblem)).toEqual([
      expect.stringMatching(
        /^f\.yaml:\d+:5 sources\.api\.list: beside also a list serves discovery/,
      ),
    ]);
    expect(loaded(source({ list: LIST, also, discover: '{}' })).warnings).toEqual([]);
  });

  test('no variable may make up the request for a list', () => {
    const list = "{ get: '/runs?key=${KEY}', items: $, created: $.at }";
    expect(problemsOf(source({ list }), { KEY: 'secret' })).toEqual([
      expect.stringContaining('sources.api.list.get: expected text without ${…}'),
    ]);
  });

  test('a source without a word for completed is warned of', () => {
    const yaml = source({ states: '{ running: [busy] }', probe: '/status' });
    expect(loaded(yaml).warnings.map(formatProblem)).toEqual([
      expect.stringMatching(/^f\.yaml:6:5 sources\.api\.states: no word .* means completed/),
    ]);
    const by = (more: object) =>
      loaded(source({ states: '{ running: [busy] }', probe: '/status', ...more })).warnings;
    expect(by({ absent: 'completed' })).toEqual([]);
    const also = "{ when: running, get: '/{run}', status: $.s, states: { completed: [x] } }";
    expect(by({ also })).toEqual([]);
  });

  test('two sources with one base_url and the same headers are warned of, since limits are not shared', () => {
    const one = (name: string, key: string) =>
      source({ headers: `{ X-Key: ${key} }`, probe: '/status' })
        .replace('sources:\n', '')
        .replace('  api:', `  ${name}:`);
    const both = (first: string, second: string) =>
      loaded(`sources:\n${one('a', first)}${one('b', second).replace('X-Key', 'x-key')}`).warnings;
    expect(both('k', 'k').map(formatProblem)).toEqual([
      expect.stringMatching(/sources\.b\.headers: it asks with the headers and base_url of a,/),
    ]);
    expect(both('k', 'l')).toEqual([]);
  });

  test('the default rate limit, and runs that never fail, are worth a note', () => {
    const notes = notesOn(loaded(source()).config);
    expect(notes).toEqual([
      expect.stringMatching(/^sources\.api is asked up to ten times a second/),
      'no word of sources.api means failed, so that no run of it ever fails',
    ]);
    const good = { states: '{ completed: [done], failed: [bad] }', rate_limit: '{ requests: 5 }' };
    expect(notesOn(loaded(source(good)).config)).toEqual([]);
  });

  test('headers that come from files are read again, and others are kept', () => {
    const file = join(cwd, 'token');
    writeFileSync(file, 'first\n');
    const yaml = source({ headers: "{ authorization: 'Bearer ${TOKEN}', x-team: a }" });
    const { config, rereadHeaders } = loaded(yaml, { TOKEN_FILE: 'token' });
    expect(config.sources['api']).toMatchObject({ headers: { authorization: 'Bearer first' } });
    writeFileSync(file, 'second\n');
    const headers = { authorization: 'Bearer second', 'x-team': 'a' };
    expect(rereadHeaders('api')).toEqual({ headers });
    writeFileSync(file, 'two\nlines\n');
    expect(rereadHeaders('api')).toEqual({
      problem: 'the file of the header authorization holds no value of a header',
    });
    rmSync(file);
    expect(rereadHeaders('api')).toEqual({ problem: expect.stringContaining('token') });
    expect(loaded(yaml, { TOKEN: 'set' }).rereadHeaders('api')).toBeNull();
  });

  test('a workspace of Noxus is still what a source without a type is', () => {
    const yaml = 'sources: { eu: { api_key: k }, us: { type: noxus, api_key: k } }\n';
    const { config } = loaded(yaml);
    expect(config.sources['eu']).not.toHaveProperty('type');
    expect(config.sources['us']).toMatchObject({ type: 'noxus', api_key: 'k' });
    expect(problemsOf('sources: { eu: { api_kee: k } }\n')).toEqual([
      expect.stringContaining('sources.eu.api_key: expected the API key'),
      expect.stringContaining('sources.eu.api_kee: unknown key (did you mean api_key?)'),
    ]);
  });
});
