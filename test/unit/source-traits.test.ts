import { describe, expect, test } from '@jest/globals';
import { configSchema } from '../../src/config/schema.ts';
import { kindOf } from '../../src/source/kinds.ts';
import { testProcess } from '../support/daemon.ts';

const config = configSchema.parse({
  data_dir: '/nowhere',
  sources: { work: { api_key: 'key' } },
});

const { traits } = kindOf('work', config.sources['work']!);

describe('the traits of a Noxus workspace', () => {
  test.each(['5B0F2F5E-8C1F-4A53-9A39-0F6F0A3F7F11', 'r', '_run.1-a', '...', 'x'.repeat(128)])(
    'Noxus can have the run id %j',
    (id) => {
      expect(traits.idProblem(id)).toBeNull();
    },
  );

  test.each(['', '.', '..', 'a/b', 'a b', 'é', 'a:b', 'x'.repeat(129), 'a\n'])(
    'the problem of the run id %j says what an id of Noxus looks like',
    (id) => {
      expect(traits.idProblem(id)).toBe(`expected ${traits.idShape}`);
    },
  );
});

describe('the lists of a declared source', () => {
  const listsOf = (more: object) => {
    const { sources } = configSchema.parse({
      data_dir: '/nowhere',
      sources: {
        ci: {
          type: 'http',
          base_url: 'https://api.example',
          run: { get: '/{run}', id: '$.id', status: '$.status', created: '$.at' },
          states: { completed: ['done'] },
          ...more,
        },
      },
    });
    return kindOf('ci', sources['ci']!).traits.lists;
  };
  const also = { when: ['completed'], get: '/{run}', status: '$.s', states: { stopped: ['x'] } };

  test.each([
    ['no list', {}, null],
    [
      'page numbers',
      { list: { get: '/runs?page={page}&n={size}', items: '$' } },
      { pages: Infinity, pageSize: 100, standIn: true },
    ],
    [
      'offsets, and a second read',
      { list: { get: '/runs?from={offset}&n={size}', items: '$', size: 30 }, also },
      { pages: Infinity, pageSize: 30, standIn: false },
    ],
    ['neither', { list: { get: '/runs?n={size}', items: '$' } }, { pages: 1, standIn: true }],
  ])('they follow from its request: %s', (_, more, lists) => {
    const whole = { byWorkflow: false, endsAreFinal: false };
    const expected: unknown = lists && expect.objectContaining({ ...whole, ...lists });
    expect(listsOf(more)).toEqual(expected);
  });
});

test('a process gives the traits of a source by its name, and none of one that is not configured', () => {
  const process = testProcess({ config });
  expect(process.traitsOf('work')).toBe(traits);
  expect(process.traitsOf('gone')).toBeNull();
});
