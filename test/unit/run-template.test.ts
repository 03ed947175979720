import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  fillTemplate,
  idProblemOf,
  parseIdTemplate,
  parseRequestTemplate,
  splitId,
  type IdTemplate,
  type RequestTemplate,
} from '../../src/core/source/run-template.ts';

function idTemplate(text: string): IdTemplate {
  const template = parseIdTemplate(text);
  if (template === null) throw new Error(`no template: ${text}`);
  return template;
}

function request(text: string, parts: readonly string[]): RequestTemplate {
  const parsed = parseRequestTemplate(text, parts);
  if ('expected' in parsed) throw new Error(`expected ${parsed.expected}`);
  return parsed.template;
}

const GITHUB = idTemplate('{owner}/{repo}/{run}');

describe('ids made up of parts', () => {
  test('the last part of an id takes what is left', () => {
    expect(splitId(GITHUB, 'acme/shop/123')).toEqual({ owner: 'acme', repo: 'shop', run: '123' });
    expect(splitId(GITHUB, 'a/b/c/d')).toEqual({ owner: 'a', repo: 'b', run: 'c/d' });
    expect(splitId(idTemplate('{run}'), 'operations/x/y')).toEqual({ run: 'operations/x/y' });
  });

  test.each([
    'acme/shop',
    'acme//123',
    '/acme/shop/1',
    'acme/shop/',
    'acme/../123',
    'a/./b',
    'a/b/c/..',
    'a/b/c%2fd',
    'a/b/c%2Fd',
    'a/b/c%5Cd',
    'a/b/c\\d',
    'a/b/c d',
    'a/b/ü',
    '',
    'a/b/'.padEnd(256, 'x'),
  ])('an id that no run can have is refused with its form: %j', (id) => {
    expect(splitId(GITHUB, id)).toBeNull();
    expect(idProblemOf(GITHUB, id)).toMatch(/^expected owner\/repo\/run: 1 to 255 printable/);
  });

  test.each([
    '',
    'run',
    '{run',
    '{owner}/',
    '{owner}{run}',
    '/{run}',
    '{run}/{run}',
    '{Run}',
    '{a}-{b}',
    'x/{run}',
    '{}',
  ])('what is no template of ids is none: %j', (text) => {
    expect(parseIdTemplate(text)).toBeNull();
  });
});

describe('templates of requests', () => {
  test('each segment of a part is encoded by itself, and its slashes are kept in the path', () => {
    const template = request('/dags/{dag}/runs/{run}?of={run}&n=1', ['dag', 'run']);
    const parts = { dag: 'daily.report', run: 'manual__2026-11-28T00:00:00+00:00/a?b#c' };
    expect(fillTemplate(template, parts)).toBe(
      'dags/daily.report/runs/manual__2026-11-28T00%3A00%3A00%2B00%3A00/a%3Fb%23c' +
        '?of=manual__2026-11-28T00%3A00%3A00%2B00%3A00%2Fa%3Fb%23c&n=1',
    );
  });

  test.each([
    ['v1/runs/{run}', 'a path that begins with /, below base_url'],
    ['https://other.example/{run}', 'a path that begins with /, below base_url'],
    ['//other.example/{run}', 'a path without . and ..'],
    ['/a/../{run}', 'a path without . and ..'],
    ['/a/%2E./{run}', 'a path without . and ..'],
    ['/a/./{run}', 'a path without . and ..'],
    ['/a//{run}', 'a path without . and ..'],
    ['/..', 'a path without . and ..'],
    ['/a%2f..%2fb/{run}', 'a path without . and ..'],
    ['/a\\..\\{run}', 'a path and query of a URL'],
    ['/a b/{run}', 'a path and query of a URL'],
    ['/{run}#x', 'a path and query of a URL'],
    ['/a%zz/{run}', 'a path and query of a URL'],
    ['/{owner}/{run}', 'only {run} in braces'],
    ['/{run', 'a path and query of a URL'],
    ['/{}', 'only {run} in braces'],
  ])('a template that could lead elsewhere is refused: %s', (text, expected) => {
    expect(parseRequestTemplate(text, ['run'])).toEqual({
      expected: expect.stringContaining(expected),
    });
  });

  test('a request leads below the base URL, whatever the id', () => {
    const base = new URL('https://api.example/v1/');
    const template = request('/{owner}/{repo}/runs/{run}?q={run}', GITHUB);
    const piece = fc.constantFrom('.', '..', '/', '\\', '%2e', '%2f', '%', '?', '#', '@', ':', 'a');
    const id = fc.oneof(
      fc.array(piece, { minLength: 3, maxLength: 9 }).map((pieces) => pieces.join('')),
      fc.string({ maxLength: 20 }).map((text) => `o/r/${text}`),
    );
    fc.assert(
      fc.property(id, (runId) => {
        const parts = splitId(GITHUB, runId);
        if (parts === null) return;
        const path = fillTemplate(template, parts);
        const url = new URL(base.href + path);
        expect(url.origin).toBe(base.origin);
        // Nothing of the path was taken for a way up.
        expect(url.pathname).toBe(`/v1/${path.split('?')[0]}`);
        expect([url.searchParams.get('q'), url.hash]).toEqual([parts['run'], '']);
        const [owner = '', repo = '', , run = ''] = path.split('?')[0]?.split('/') ?? [];
        expect([owner, repo].map(decodeURIComponent)).toEqual([parts['owner'], parts['repo']]);
        expect(parts['run']?.startsWith(decodeURIComponent(run))).toBe(true);
      }),
      { numRuns: 3_000 },
    );
  });
});
