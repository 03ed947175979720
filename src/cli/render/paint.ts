import type { Colors } from '../context.ts';

const COLOR_OF: Record<string, 'green' | 'red' | 'yellow' | 'magenta' | 'cyan' | 'gray'> = {
  completed: 'green',
  delivered: 'green',
  active: 'green',
  failed: 'red',
  failing: 'red',
  disabled: 'red',
  dead: 'red',
  gone: 'red',
  unreachable: 'red',
  cannot_tell: 'red',
  stopped: 'yellow',
  expired: 'yellow',
  timed_out: 'yellow',
  parked: 'yellow',
  paused: 'yellow',
  status_unknown: 'yellow',
  stalled: 'yellow',
  awaiting_human_feedback: 'magenta',
  running: 'cyan',
  started: 'cyan',
  resumed: 'cyan',
  recovered: 'cyan',
  pending: 'cyan',
  queued: 'gray',
  progress: 'gray',
  cancelled: 'gray',
  skipped: 'gray',
  superseded: 'gray',
};

/**
 * Colours a word by what it means. The text stays as it is.
 * @param word a status, a state, or an event type whose last part is one
 */
export function paint(text: string, word: string, colors: Colors): string {
  const color = COLOR_OF[word.slice(word.lastIndexOf('.') + 1)];
  return color === undefined ? text : colors[color](text);
}
