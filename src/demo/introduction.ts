import { CAST, countExpected } from './cast.ts';
import { BLANK, bold, text, type Line } from './line.ts';

/** What the demo is about to show. */
export function introduction(version: string): Line[] {
  return [
    [
      bold(`runwatch ${version}`),
      text(': a simulated Noxus, the real daemon with a Redis of its own, and'),
    ],
    [text('a receiver that verifies every webhook. Nothing leaves this machine.')],
    BLANK,
    [text(`${CAST.length} runs, ${countExpected(CAST)} webhooks to come, in about 15 seconds:`)],
    BLANK,
  ];
}
