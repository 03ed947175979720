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

test('a process gives the traits of a source by its name, and none of one that is not configured', () => {
  const process = testProcess({ config });
  expect(process.traitsOf('work')).toBe(traits);
  expect(process.traitsOf('gone')).toBeNull();
});
