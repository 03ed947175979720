import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parsePath } from '../../src/core/source/json-path.ts';

describe('paths of JSON documents', () => {
  test.each([
    ['$.status', ['status']],
    ['$.run.state_2', ['run', 'state_2']],
    ['$.tasks[0].interrupts[12].id', ['tasks', 0, 'interrupts', 12, 'id']],
    ["$['run-id']", ['run-id']],
    ['$["run-id"]', ['run-id']],
    ["$['it\\'s'].x", ["it's", 'x']],
    ["$['a\\u00e9\\n']", ['aé\n']],
    [`$['say "hi"']`, ['say "hi"']],
    [`$["it's"]`, ["it's"]],
    ['$[ 0 ] .a', [0, 'a']],
    ['$.été', ['été']],
    ["$['']", ['']],
  ])('a path is read: %s', (text, path) => {
    expect(parsePath(text)).toEqual(path);
  });

  test.each([
    'status',
    '$',
    '',
    '$.',
    '$..status',
    '$.*',
    '$[*]',
    '$[0:2]',
    '$[?@.a]',
    '$[-1]',
    '$[01]',
    '$.0a',
    '$.run-id',
    "$['a'",
    "$['a",
    `$['a"]`,
    `$["a\\'"]`,
    `$['a\\"']`,
    "$['\\x']",
    '$.a b',
    '$.a[0]]',
    `$${'.a'.repeat(17)}`,
  ])('what is no path to one value is none: %s', (text) => {
    expect(parsePath(text)).toBeNull();
  });

  test('any name between quotes leads to that name', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (name) => {
        expect(parsePath(`$[${JSON.stringify(name)}]`)).toEqual([name]);
      }),
    );
  });

  test('no text is too strange to be read', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void parsePath(`$${text}`)));
  });
});
