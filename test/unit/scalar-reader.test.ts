import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { JsonPath } from '../../src/core/source/json-path.ts';
import { PathTree, ScalarReader } from '../../src/declared/scalar-reader.ts';

function treeOf(paths: readonly JsonPath[]): PathTree {
  const tree = new PathTree();
  for (const path of paths) tree.add(path);
  return tree;
}

function pushAll(reader: ScalarReader, bytes: Buffer, pieceBytes: number): void {
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    reader.push(bytes.subarray(at, at + pieceBytes));
  }
}

/** Reads a document that comes in pieces of this many bytes. */
function readBytes(bytes: Buffer, paths: readonly JsonPath[], pieceBytes = 65_536) {
  const reader = new ScalarReader(treeOf(paths));
  pushAll(reader, bytes, pieceBytes);
  const end = reader.end();
  return end.is === 'json' ? { is: end.is, values: end.values } : end;
}

function read(text: string, paths: readonly JsonPath[], pieceBytes?: number) {
  return readBytes(Buffer.from(text), paths, pieceBytes);
}

/** A reader of a list in a document. */
function listReader(list: JsonPath, paths: readonly JsonPath[], mostItems?: number): ScalarReader {
  const tree = new PathTree();
  tree.addList(list, treeOf(paths));
  return new ScalarReader(tree, mostItems);
}

/** Reads the items of a list in a document that comes in pieces. */
function readList(text: string, list: JsonPath, paths: readonly JsonPath[], pieceBytes = 65_536) {
  const reader = listReader(list, paths);
  pushAll(reader, Buffer.from(text), pieceBytes);
  return reader.end();
}

/** Names that a document has often, so that paths lead somewhere. */
const NAMES = ['id', 'status', 'a"b\\', '', '__proto__', 'é', '0', 'x'.repeat(40)];

const name = fc.constantFrom(...NAMES);
const scalar = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 90 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
);

const { document } = fc.letrec<{ document: unknown }>((tie) => ({
  document: fc.oneof(
    { depthSize: 'small' },
    scalar,
    fc.array(tie('document'), { maxLength: 4 }),
    fc.dictionary(name, tie('document'), { maxKeys: 6, noNullPrototype: true }),
  ),
}));

const path = fc.array(fc.oneof(name, fc.nat({ max: 3 })), { minLength: 1, maxLength: 4 });
const somePaths = fc.uniqueArray(path, {
  minLength: 1,
  maxLength: 8,
  selector: (one) => JSON.stringify(one),
});

/** What stands at a path by JSON.parse; undefined for nothing. */
function valueAt(value: unknown, way: JsonPath): unknown {
  let here: unknown = value;
  for (const key of way) {
    const isIndex = typeof key === 'number';
    if (typeof here !== 'object' || here === null || Array.isArray(here) !== isIndex) return;
    if (!Object.hasOwn(here, key)) return;
    here = (here as Record<string | number, unknown>)[key];
  }
  return here;
}

/** The same as a text; null where that is no scalar. */
function scalarAt(value: unknown, way: JsonPath): string | null {
  const here = valueAt(value, way);
  if (typeof here === 'string') return here;
  return typeof here === 'number' || typeof here === 'boolean' ? JSON.stringify(here) : null;
}

/** The items of a list by JSON.parse; null where none stands there. */
function itemsAt(value: unknown, list: JsonPath, paths: readonly JsonPath[]) {
  const found = valueAt(value, list);
  if (!Array.isArray(found)) return null;
  return found.map((item: unknown) => paths.map((way) => scalarAt(item, way)));
}

function parsedOrNull(text: string): { value: unknown } | null {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return null;
  }
}

describe('reading scalars off the wire', () => {
  test('scalars at paths are those that JSON.parse gives, wherever the bytes are split', () => {
    fc.assert(
      fc.property(
        document,
        somePaths,
        fc.integer({ min: 1, max: 30 }),
        fc.constantFrom(0, 2),
        (given, paths, pieceBytes, indent) => {
          const text = JSON.stringify(given, null, indent);
          const parsed = JSON.parse(text) as unknown;
          expect(read(text, paths, pieceBytes)).toEqual({
            is: 'json',
            values: paths.map((way) => scalarAt(parsed, way)),
          });
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test('of a name that occurs twice the last one counts, as for JSON.parse', () => {
    const member = fc.tuple(name, document);
    const twice = fc.array(member, { minLength: 2, maxLength: 6 });
    fc.assert(
      fc.property(twice, somePaths, (members, paths) => {
        const inside = members.map(([key, one]) => `${JSON.stringify(key)}:${JSON.stringify(one)}`);
        const text = `{"run":{${inside.join()}}}`;
        const ways = paths.map((way): JsonPath => ['run', ...way]);
        const parsed = JSON.parse(text) as unknown;
        expect(read(text, ways)).toEqual({
          is: 'json',
          values: ways.map((way) => scalarAt(parsed, way)),
        });
      }),
      { numRuns: 1_000 },
    );
  });

  test('a document that is cut at any byte is none', () => {
    const text = JSON.stringify({ run: { id: 'a"é\\', steps: [1, { x: 'y' }], ok: true }, n: 12 });
    const bytes = Buffer.from(text);
    const paths = [
      ['run', 'id'],
      ['run', 'steps', 0],
    ];
    for (let length = 0; length < bytes.length; length += 1) {
      const { is } = readBytes(bytes.subarray(0, length), paths, 3);
      expect([length, is]).toEqual([length, length === 0 ? 'empty' : 'cut']);
    }
    expect(readBytes(bytes, paths, 3)).toEqual({ is: 'json', values: ['a"é\\', '1'] });
  });

  test('whatever bytes come, what JSON.parse takes gives the same, and nothing throws', () => {
    const valid = JSON.stringify({ id: 'run', steps: [1, 2, { status: 'ok' }], n: null });
    const paths = [['id'], ['steps', 2, 'status'], ['n']];
    const change = fc.record({
      at: fc.nat({ max: valid.length - 1 }),
      byte: fc.constantFrom(...Buffer.from('{}[]:,"\\ \n0-.etrufalsn\u0000')),
    });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
        const bytes = Buffer.from(valid);
        for (const { at, byte } of changes) bytes[at] = byte;
        const result = readBytes(bytes, paths);
        const parsed = parsedOrNull(bytes.toString());
        if (parsed === null) return;
        expect(result).toEqual({
          is: 'json',
          values: paths.map((way) => scalarAt(parsed.value, way)),
        });
      }),
      { numRuns: 2_000 },
    );
  });

  test.each([
    '{"id":"a"',
    '{"id":"a",}',
    '{"id" "a"}',
    '{id:"a"}',
    '{"id":"a"}}',
    '{"id":"a"} x',
    '{"id":01}',
    '{"id":1.}',
    '{"id":nul}',
    '{"id":"a\n"}',
    '{"id":"\\x"}',
    '{"id":"a"]',
    '[,]',
    '\u0001{}',
    '<html></html>',
    'ï{}',
  ])('what is no JSON is refused: %j', (text) => {
    expect(['invalid', 'cut']).toContain(read(text, [['id'], [0]]).is);
  });

  test('numbers keep all their digits', () => {
    const text = '{"id":12345678901234567890123,"at":1.50,"n":-0,"big":1E400}';
    expect(read(text, [['id'], ['at'], ['n'], ['big']])).toEqual({
      is: 'json',
      values: ['12345678901234567890123', '1.50', '-0', '1E400'],
    });
  });

  test('a byte order mark before the document is passed over, also where it is split', () => {
    expect(read('\uFEFF{"id":"a"}', [['id']], 1)).toEqual({ is: 'json', values: ['a'] });
    expect(read(' \uFEFF{"id":"a"}', [['id']]).is).toBe('invalid');
  });

  test('a text of more than 1,024 characters, and a number as long, count as nothing', () => {
    const text = JSON.stringify({ long: 'x'.repeat(1_025), fits: 'é'.repeat(1_024) });
    expect(read(text, [['long'], ['fits']], 100)).toEqual({
      is: 'json',
      values: [null, 'é'.repeat(1_024)],
    });
    expect(read(`{"n":${'1'.repeat(9_000)},"m":2}`, [['n'], ['m']])).toEqual({
      is: 'json',
      values: [null, '2'],
    });
  });

  test('a document of any depth, and names of any length, are passed over', () => {
    const depth = 200_000;
    const deep = `${'['.repeat(depth)}${']'.repeat(depth)}`;
    const text = `{"${'n'.repeat(100_000)}":${deep},"a":[${deep},7]}`;
    expect(read(text, [['a', 1]], 4_096)).toEqual({ is: 'json', values: ['7'] });
  });
});

describe('reading the items of a list off the wire', () => {
  const somePath = fc.array(fc.oneof(name, fc.nat({ max: 3 })), { maxLength: 2 });
  const someItems = fc.array(
    fc.oneof(document, fc.dictionary(name, scalar, { noNullPrototype: true })),
    {
      maxLength: 8,
    },
  );
  /** A list within a document, and the path that should lead there. */
  const listed = fc
    .tuple(someItems, somePath, document)
    .map(([list, way, beside]): { text: string; way: JsonPath } => ({
      way,
      text: way.reduceRight<string>(
        (inside, key) =>
          typeof key === 'number'
            ? `[${'7,'.repeat(key)}${inside},${JSON.stringify(beside)}]`
            : `{"beside":${JSON.stringify(beside)},${JSON.stringify(key)}:${inside},"after":[]}`,
        JSON.stringify(list),
      ),
    }));

  test('scalars of each item are those that JSON.parse gives, wherever the bytes are split', () => {
    fc.assert(
      fc.property(
        listed,
        somePaths,
        fc.integer({ min: 1, max: 30 }),
        ({ text, way }, paths, pieceBytes) => {
          const items = itemsAt(JSON.parse(text), way, paths);
          expect(items).not.toBeNull();
          expect(readList(text, way, paths, pieceBytes)).toEqual({ is: 'json', values: [], items });
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test('in any document, a list is where JSON.parse has one', () => {
    fc.assert(
      fc.property(document, somePath, somePaths, (given, way, paths) => {
        const text = JSON.stringify(given);
        const items = itemsAt(JSON.parse(text), way, paths);
        expect(readList(text, way, paths, 5)).toEqual({ is: 'json', values: [], items });
      }),
      { numRuns: 2_000 },
    );
  });

  test('of a list whose name occurs twice the last one counts, also where that is no list', () => {
    const member = fc.tuple(fc.constantFrom('runs', 'data', 'x'), fc.oneof(someItems, scalar));
    fc.assert(
      fc.property(fc.array(member, { minLength: 1, maxLength: 6 }), somePaths, (members, paths) => {
        const inside = members.map(([key, one]) => `"${key}":${JSON.stringify(one)}`);
        const text = `{"data":{"runs":[{"id":1}]},"data":{${inside.join()}}}`;
        const way = ['data', 'runs'];
        const items = itemsAt(JSON.parse(text), way, paths);
        expect(readList(text, way, paths, 3)).toEqual({ is: 'json', values: [], items });
      }),
      { numRuns: 1_000 },
    );
  });

  test('of a list that is cut at any byte, the items that have ended are whole', () => {
    fc.assert(
      fc.property(someItems, somePaths, (list, paths) => {
        const bytes = Buffer.from(`{"n":[{"id":0}],"runs":${JSON.stringify(list, null, 1)},"m":2}`);
        const all = itemsAt(JSON.parse(bytes.toString()), ['runs'], paths) ?? [];
        let before = 0;
        for (let length = 0; length < bytes.length; length += 1) {
          const reader = listReader(['runs'], paths);
          pushAll(reader, bytes.subarray(0, length), 7);
          const whole = reader.wholeItems();
          expect(whole).toEqual(all.slice(0, whole.length));
          expect(whole.length).toBeGreaterThanOrEqual(before);
          before = whole.length;
        }
        expect(before).toBe(all.length);
      }),
      { numRuns: 10 },
    );
  });

  test('scalars beside a list are those of the document, before it and after it', () => {
    const tree = treeOf([['id'], ['after']]);
    tree.addList(['runs'], treeOf([['id'], ['after']]));
    const reader = new ScalarReader(tree);
    reader.push(Buffer.from('{"id":"d","runs":[{"id":1,"after":2},{"id":3}],"after":4}'));
    const items = [
      ['1', '2'],
      ['3', null],
    ];
    expect(reader.end()).toEqual({ is: 'json', values: ['d', '4'], items });
  });

  test('of a list that never ends, no more than the first items are taken in', () => {
    const reader = listReader(['runs'], [['id']], 3);
    reader.push(Buffer.from('{"runs":['));
    let pieces = 0;
    while (!reader.isFull && pieces < 100) {
      reader.push(Buffer.from(`{"id":${pieces},"private":"${'x'.repeat(500)}"},`));
      pieces += 1;
    }
    expect(pieces).toBe(4);
    expect(reader.wholeItems()).toEqual([['0'], ['1'], ['2']]);
  });

  test('a list of as many items as are taken in is whole', () => {
    const reader = listReader([], [['id']], 3);
    reader.push(Buffer.from('[{"id":1},{"id":2},3]'));
    expect(reader.isFull).toBe(false);
    expect(reader.end()).toEqual({ is: 'json', values: [], items: [['1'], ['2'], [null]] });
  });
});
