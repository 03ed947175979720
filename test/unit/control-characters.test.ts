import { PassThrough } from 'node:stream';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { writeJson, writeJsonLine } from '../../src/cli/report.ts';
import { outputOf } from '../../src/cli/output.ts';
import {
  escapeControls,
  isPlain,
  visibleLine,
  withoutControls,
} from '../../src/core/control-characters.ts';
import { toSnapshot, wireRunSchema } from '../../src/noxus/run.ts';
import { NOON } from '../support/builders.ts';
import { anyText } from '../support/any-text.ts';

const HARMFUL = /[\p{Cc}\p{Zl}\p{Zp}\u{202a}-\u{202e}\u{2066}-\u{2069}\u{e0000}-\u{e007f}]/u;

/** One of each kind: C0, DEL, C1, bidi, U+2028, U+2029, a tag. */
const NASTY = 'a\u001b[2J\u0007\r\u007f\u009b1m\u202e\u2066\u2028\u2029\u{e0041}b';

describe('text that came from elsewhere', () => {
  test('text from Noxus loses its control characters on arrival', () => {
    const run = toSnapshot(
      wireRunSchema.parse({ id: 'r', status: NASTY, workflow_id: NASTY, source: '\u202e' }),
      NOON,
    );
    expect(run).toMatchObject({ status: 'a[2J1mb', workflow_id: 'a[2J1mb', source: null });
    expect(wireRunSchema.safeParse({ id: 'r', status: '\u0000\u202e' }).success).toBe(false);
  });

  test('half of a surrogate pair from Noxus becomes U+FFFD on arrival, in an id percent-encoded', () => {
    const wire = { id: 'r', status: 'a\ud800', workflow_id: 'w\udc00f' };
    const run = toSnapshot(wireRunSchema.parse(wire), NOON);
    expect(run).toMatchObject({ status: 'a\ufffd', workflow_id: 'w%EF%BF%BDf' });
  });

  test('two halves of a pair that a control character parts become no character', () => {
    expect(withoutControls('a\udb40\u0001\udc41b')).toBe('a\ufffd\ufffdb');
  });

  test('joiners and the marks of Hebrew and Arabic texts are kept', () => {
    const texts = [
      '\u05e9\u05c1\u05dc\u05d5\u05dd\u200f!',
      '\u0627\u064e\u061c1\u06dd',
      'a\u200e',
      '👩\u200d💻',
      'می\u200cخواهم',
    ];
    expect(texts.map((text) => withoutControls(text))).toEqual(texts);
    expect(texts.every(isPlain)).toBe(true);
  });

  test('a text is plain exactly where nothing is taken out of it', () => {
    const nearby = fc.constantFrom(...Array.from(NASTY), '\ud800', '\u200d', 'x');
    fc.assert(
      fc.property(fc.string({ unit: fc.oneof(nearby, anyText({ maxLength: 1 })) }), (text) => {
        expect(isPlain(text)).toBe(!HARMFUL.test(text) && text.isWellFormed());
        expect(isPlain(withoutControls(text))).toBe(true);
      }),
    );
  });

  test('a visible line has no character that shows nothing, joiners aside', () => {
    const hidden = 'a\u00ad\u200b\u200f\u2060\ufeff\ufe0f\u{e0041}\u{e0101}\u3164b\n\t\u2028c';
    expect(visibleLine(hidden)).toBe('ab c');
    expect(visibleLine('👩\u200d💻 \u05e9\u05c1')).toBe('👩\u200d💻 \u05e9\u05c1');
  });

  test('text without control characters is kept unchanged', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (given) => {
        const kept = withoutControls(given);
        expect(kept).not.toMatch(HARMFUL);
        if (!HARMFUL.test(given)) expect(kept).toBe(given);
      }),
    );
  });

  test('control characters are escaped in JSON with the same meaning', () => {
    fc.assert(
      fc.property(anyText(), (given) => {
        const json = escapeControls(JSON.stringify({ given }, null, 2));
        expect(json.replaceAll('\n', '')).not.toMatch(HARMFUL);
        expect(JSON.parse(json)).toEqual({ given });
      }),
    );
  });

  test('--json escapes control characters on a terminal only', () => {
    const written = (isTTY: boolean) => {
      let out = '';
      const stream = Object.assign(new PassThrough(), { isTTY });
      const output = {
        ...outputOf(stream, { noColor: true }),
        write: (part: string) => void (out += part),
      };
      writeJson(output, { text: NASTY });
      writeJsonLine(output, { text: NASTY });
      return out;
    };
    expect(written(true).replaceAll('\n', '')).not.toMatch(HARMFUL);
    expect(written(false)).toContain('\u202e');
  });
});
