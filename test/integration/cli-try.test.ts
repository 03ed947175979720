import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { TryView } from '../../src/cli/local/try.ts';
import { isPlain } from '../../src/core/control-characters.ts';
import { runCli, startCli } from '../support/cli-harness.ts';

const FIXTURES = join(import.meta.dirname, '../fixtures/sources');

const CONFIG = `sources:
  github:
    type: http
    base_url: https://api.github.example/repos/
    headers: { authorization: 'Bearer \${RUNWATCH_TEST_UNSET}' }
    id: '{owner}/{repo}/{run}'
    run:
      get: '/{owner}/{repo}/actions/runs/{run}'
      id: $.id
      status: [$.conclusion, $.status]
      workflow_name: $.name
      created: $.created_at
      started: $.run_started_at
      finished: $.updated_at
      progress: { done: $.done, total: $.total }
    states: { queued: [queued], running: [in_progress], completed: [success], stopped: ['*'] }
    absent: awaiting_human_feedback
    run_url: https://github.example/{owner}/{repo}/actions/runs/{run}
  langgraph:
    type: http
    base_url: https://graph.example
    id: '{thread}/{run}'
    run: { get: '/threads/{thread}/runs/{run}', id: $.run_id, status: $.status }
    states: { running: [running], completed: [success] }
    also:
      when: [completed]
      get: '/threads/{thread}/state'
      id: $.metadata.run_id
      status: ['$.tasks[0].interrupts[0].id', '$.next[0]']
      states: { awaiting_human_feedback: [approve], stopped: [drop] }
    rate_limit: { requests: 2 }
  noxus: { base_url: https://noxus.example, api_key: k }
`;

let folder: string;
let config: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'runwatch-try-'));
  config = write('runwatch.yaml', CONFIG);
});

afterAll(() => rmSync(folder, { recursive: true }));

function write(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const run = (args: string[], options: Parameters<typeof runCli>[1] = {}) =>
  runCli(['try', ...args, '--config', config], options);

/** What an answer of github shows, as JSON. */
async function tryAnswer(answer: string | object, id = 'acme/shop/7') {
  const stdin = typeof answer === 'string' ? answer : JSON.stringify(answer);
  const args = [id, '--source', 'github', '--answer', '-', '--json'];
  const { stdout, exitCode } = await run(args, { stdin });
  return { ...(JSON.parse(stdout) as TryView), exitCode };
}

const GOOD = { id: 7, status: 'in_progress' };

describe('runwatch try --answer', () => {
  test('the status of a run and its reason are shown for a listed word, another one and none', async () => {
    expect(await tryAnswer(GOOD)).toMatchObject({
      exitCode: 0,
      run: { id: 'acme/shop/7', status: 'running', source_status: 'in_progress' },
      run_url: 'https://github.example/acme/shop/actions/runs/7',
      reasons: ['$.status has "in_progress", which states.running lists'],
      next: 'The run is polled on.',
      requests: [
        {
          of: 'run',
          url: 'https://api.github.example/repos/acme/shop/actions/runs/7',
          recorded: 'standard input',
          status: null,
          duration_ms: null,
        },
      ],
    });
    expect(await tryAnswer({ ...GOOD, conclusion: 'stale' })).toMatchObject({
      exitCode: 0,
      run: { status: 'stopped' },
      reasons: [
        `$.conclusion has "stale", which no status lists, and '*' stands in states.stopped`,
      ],
      next: 'run.stopped is sent, and the watch ends.',
    });
    expect(await tryAnswer({ id: 7 })).toMatchObject({
      exitCode: 0,
      run: { status: 'awaiting_human_feedback' },
      reasons: ['no path of run.status finds a value, and absent is awaiting_human_feedback'],
      next: 'run.awaiting_human_feedback is sent, and the run is polled on.',
    });
  });

  test('each path is shown by its key, with its value or none', async () => {
    const { requests } = await tryAnswer({ ...GOOD, name: true, done: 1, updated_at: {} });
    expect(requests[0]?.values).toEqual([
      { key: 'run.id', path: '$.id', value: '7' },
      { key: 'run.status.0', path: '$.conclusion', value: null },
      { key: 'run.status.1', path: '$.status', value: 'in_progress' },
      { key: 'run.workflow_name', path: '$.name', value: 'true' },
      { key: 'run.created', path: '$.created_at', value: null },
      { key: 'run.started', path: '$.run_started_at', value: null },
      { key: 'run.finished', path: '$.updated_at', value: null },
      { key: 'run.progress.done', path: '$.done', value: '1' },
      { key: 'run.progress.total', path: '$.total', value: null },
    ]);
  });

  test('times and progress that cannot be read are named, and an end before its time is not', async () => {
    const odd = { created_at: 'yesterday', updated_at: 'soon', done: 3, total: 0 };
    const { hints, exitCode } = await tryAnswer({ ...GOOD, ...odd });
    expect(exitCode).toBe(0);
    expect(hints).toEqual([
      expect.stringMatching(/^sources\.github\.run\.created finds "yesterday", which is no time/),
      expect.stringMatching(/^sources\.github\.run\.progress finds "3" and "0": expected a number/),
    ]);
    const ended = await tryAnswer({ ...GOOD, conclusion: 'success', updated_at: 'soon' });
    expect(ended.hints).toEqual([expect.stringContaining('run.finished finds "soon"')]);
  });

  test.each([
    ['HTML', '<html><body>Sign in</body></html>', 'the body is HTML, not JSON'],
    ['nothing', '', 'the body is empty'],
    ['a part of JSON', '{"id": 7, "status": ', 'the JSON is cut off after'],
    ['other text', 'id,status\n1,done\n', 'the body is not valid JSON'],
  ])('an answer with %s ends with 1 and says so', async (_, text, message) => {
    expect(await tryAnswer(text)).toMatchObject({
      exitCode: 1,
      result: 'invalid_response',
      run: null,
      message: expect.stringContaining(message),
      hints: [expect.stringContaining('sources.github.run.get')],
    });
  });

  test('an answer about another run names the id that it has', async () => {
    const view = await tryAnswer(GOOD, 'acme/shop/8');
    expect(view).toMatchObject({ exitCode: 1, message: expect.stringContaining('another run') });
    expect(view.hints).toEqual([expect.stringMatching(/it finds "7"/)]);
  });

  test('an answer without the declared attempt names its key', async () => {
    const text = CONFIG.replace('id: $.id\n', 'id: $.id\n      attempt: $.attempt\n');
    const file = write('attempts.yaml', text);
    const args = ['try', 'acme/shop/7', '--source', 'github', '--config', file];
    const flags = ['--answer', '-', '--json'];
    const { stdout, exitCode } = await runCli([...args, ...flags], { stdin: JSON.stringify(GOOD) });
    expect(exitCode).toBe(1);
    expect((JSON.parse(stdout) as TryView).hints).toEqual([
      expect.stringMatching(/^correct sources\.github\.run\.attempt/),
    ]);
    const stdin = JSON.stringify({ ...GOOD, attempt: 2 });
    const shown = await runCli([...args, ...flags], { stdin });
    expect(JSON.parse(shown.stdout)).toMatchObject({ run: { status: 'running', attempt: 2 } });
    const inWords = await runCli([...args, '--answer', '-'], { stdin });
    expect(inWords.stdout).toMatch(/^attempt +2$/m);
    const fromNought = await runCli([...args, ...flags], {
      stdin: JSON.stringify({ ...GOOD, attempt: 0 }),
    });
    expect((JSON.parse(fromNought.stdout) as TryView).hints).toEqual([
      expect.stringMatching(/^correct sources\.github\.run\.attempt/),
    ]);
  });

  test('an answer without a word names the key to correct', async () => {
    const args = ['a/b', '--source', 'langgraph', '--answer', '-', '--json'];
    const { stdout, exitCode } = await run(args, { stdin: '{"run_id":"b"}' });
    expect(exitCode).toBe(1);
    expect((JSON.parse(stdout) as TryView).hints).toEqual([
      expect.stringMatching(/^correct sources\.langgraph\.run\.status, or set .*absent/),
    ]);
  });

  test('control characters of an answer reach no terminal, and a long value is cut', async () => {
    const name = `\u{1b}[31m\u{202e}${'n'.repeat(900)}`;
    const stdin = JSON.stringify({ ...GOOD, status: `\u{7}${'w'.repeat(900)}`, name });
    const args = ['acme/shop/7', '--source', 'github', '--answer', '-'];
    const { stdout } = await run(args, { stdin });
    const lines = stdout.split('\n');
    expect(lines.filter((line) => !isPlain(line))).toEqual([]);
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThan(250);
    const colours = await run(args, { stdin, terminal: 200 });
    expect(colours.stdout).toContain('\u{fffd}[31m\u{fffd}nnn');
    const json = await run([...args, '--json'], { stdin, terminal: 200 });
    expect(json.stdout.split('\n').filter((line) => !isPlain(line))).toEqual([]);
  });
});

describe('runwatch try --also-answer', () => {
  const id = '8a3c7d0e-91f4-4c2b-b6a5-3d7e0f1c2b4a/1ef5b2c4-0a6d-6f38-9c1e-5b7a2d4f6e80';
  const own = '1ef5b2c4-0a6d-6f38-9c1e-5b7a2d4f6e80';
  const fixture = (name: string) => join(FIXTURES, `langgraph/${name}.json`);

  async function tryBoth(first: string, second?: object) {
    const also = second && ['--also-answer', write('also.json', JSON.stringify(second))];
    const args = [id, '--source', 'langgraph', '--answer', fixture(first), ...(also ?? [])];
    const { stdout, exitCode } = await run([...args, '--json']);
    return { ...(JSON.parse(stdout) as TryView), exitCode };
  }

  test('the second answer is asked for where it is needed', async () => {
    expect(await tryBoth('success')).toMatchObject({
      exitCode: 1,
      run: null,
      message: 'also: no recorded answer was given',
      requests: [{ of: 'run' }, { of: 'also', recorded: null, status: null }],
      hints: [
        'keep the answer to GET https://graph.example/threads/8a3c7d0e-91f4-4c2b-b6a5-3d7e0f1c2b4a/state, and give it by --also-answer',
      ],
    });
  });

  test.each([
    [
      { metadata: { run_id: own }, next: ['approve'] },
      'awaiting_human_feedback',
      /^also: \$\.next\[0\] has "approve", which also\.states\.awaiting_human_feedback lists$/,
    ],
    [
      { metadata: { run_id: own }, next: ['other'] },
      'completed',
      /has "other", which no status of also\.states lists, and changes nothing$/,
    ],
    [{ metadata: { run_id: own } }, 'completed', /no path of also\.status finds a value/],
    [{ metadata: { run_id: 'b' }, next: ['approve'] }, 'completed', /about another run/],
    [{ next: ['approve'] }, 'completed', /also\.id finds nothing/],
  ])('%j makes the run %s, and it is said why', async (second, status, reason) => {
    const view = await tryBoth('success', second);
    expect(view).toMatchObject({ exitCode: 0, run: { status } });
    expect(view.reasons).toEqual([
      '$.status has "success", which states.completed lists',
      expect.stringMatching(reason),
    ]);
  });

  test('a second answer that is not asked for is named', async () => {
    const view = await tryBoth('running', {});
    expect(view).toMatchObject({ exitCode: 0, run: { status: 'running' } });
    expect(view.hints).toEqual([
      '--also-answer was not read: also is asked only while the first answer gives completed',
    ]);
  });
});

describe('runwatch try, called wrongly', () => {
  const of = (id: string, source: string, ...more: string[]) => [id, '--source', source, ...more];

  test.each<[string, string[], string]>([
    ['an id of no source', ['a b'], 'is not a run id'],
    ['an id of another form', of('shop', 'github'), 'expected owner/repo/run'],
    [
      'a source that is not there',
      of('x', 'githb'),
      'no source is named "githb"; there are: github, langgraph, noxus (did you mean github?)',
    ],
    [
      'an id that several sources take',
      ['acme/shop/1', '--answer', 'none.json'],
      'several sources can have this run: name one by --source (github, langgraph)',
    ],
    [
      'a URL of no source',
      of('https://elsewhere.example/7', 'github', '--answer', 'none.json'),
      'no source has a run with the URL https://elsewhere.example/7 (tried github)',
    ],
    [
      'a file that is not there',
      of('acme/shop/1', 'github', '--answer', 'none.json'),
      'cannot read none.json (ENOENT)',
    ],
    ['a folder', of('acme/shop/1', 'github', '--answer', '.'), 'EISDIR'],
    [
      'the second answer alone',
      of('acme/shop/1', 'github', '--also-answer', 'x'),
      '--also-answer needs --answer beside it',
    ],
    [
      'a second answer that nothing reads',
      of('acme/shop/1', 'github', '--answer', 'x', '--also-answer', 'x'),
      'source github has no also',
    ],
    [
      'standard input for both answers',
      of('a/b', 'langgraph', '--answer', '-', '--also-answer', '-'),
      'standard input holds one answer',
    ],
    ['a recorded answer of Noxus', of('r1', 'noxus', '--answer', 'x'), 'is of type noxus'],
  ])('%s ends with 2 and a sentence', async (_, args, message) => {
    const isRecorded = args.includes('--answer') || args.includes('--also-answer');
    const given = isRecorded ? args : [...args, '--answer', '-'];
    const { stderr, stdout, exitCode } = await run(given);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toContain(message);
  });

  test('of several sources that take an id, the one named default is meant', async () => {
    const text = CONFIG.replace('  langgraph:', '  default:');
    const file = write('default.yaml', text);
    const args = ['try', 'acme/shop/7', '--config', file, '--answer', '-', '--json'];
    const { stdout } = await runCli(args, { stdin: '{}' });
    expect(JSON.parse(stdout)).toMatchObject({ source: 'default' });
  });

  test('try that reads an answer from standard input ends on Ctrl-C with 130', async () => {
    const args = ['try', 'acme/shop/7', '--source', 'github', '--config', config, '--answer', '-'];
    const shown = startCli(args, { terminalInput: 'silent' });
    shown.interrupt();
    expect(await shown.exitCode).toBe(130);
    expect([shown.stdout(), shown.stderr()]).toEqual(['', '']);
  });
});
