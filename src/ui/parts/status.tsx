import { deliveryText } from '../../core/delivery/state.ts';
import { statusText } from './format.ts';
import { valueOf } from '../../core/records.ts';

/** What a state means to a person, whatever its name. */
export type Tone = 'ok' | 'bad' | 'warn' | 'live' | 'idle' | 'off';

const TONES: Readonly<Record<string, Tone>> = {
  completed: 'ok',
  delivered: 'ok',
  resolved: 'ok',
  ok: 'ok',
  ready: 'ok',
  answering: 'ok',
  active: 'ok',
  finished: 'ok',
  failed: 'bad',
  dead: 'bad',
  gone: 'bad',
  firing: 'bad',
  disabled: 'bad',
  unreachable: 'bad',
  unauthorized: 'bad',
  unready: 'bad',
  awaiting_human_feedback: 'warn',
  parked: 'warn',
  failing: 'warn',
  expired: 'warn',
  degraded: 'warn',
  stalled: 'warn',
  throttled: 'warn',
  inconsistent: 'warn',
  unknown: 'idle',
  acknowledged: 'idle',
  running: 'live',
  queued: 'idle',
  pending: 'idle',
  unseen: 'idle',
  stopped: 'off',
  cancelled: 'off',
  skipped: 'off',
  superseded: 'off',
  paused: 'off',
  unconfigured: 'off',
};

export function toneOf(state: string): Tone {
  return valueOf(TONES, state) ?? (state.startsWith('awaiting_') ? 'warn' : 'idle');
}

/** What an event means, by its name without the family. */
export function toneOfEvent({ type }: { type: string }): Tone {
  const name = type.split('.')[1] ?? type;
  if (/^(started|resumed|progress)$/.test(name)) return 'live';
  if (name === 'recovered' || name === 'consistent') return 'ok';
  return name === 'status_unknown' ? 'warn' : toneOf(name);
}

/** Each tone has a shape of its own, so that colour is never all there is. */
const SHAPES: Readonly<Record<Tone, string>> = {
  ok: 'M6 .5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11Zm2.9 4.1L5.4 8.4a.7.7 0 0 1-1 0L3 7a.7.7 0 1 1 1-1l.9.9 3-3.2a.7.7 0 0 1 1 .9Z',
  bad: 'M3.6.5h4.8l3.1 3.1v4.8l-3.1 3.1H3.6L.5 8.4V3.6L3.6.5Zm.9 3.1-.9.9L5.1 6 3.6 7.5l.9.9L6 6.9l1.5 1.5.9-.9L6.9 6l1.5-1.5-.9-.9L6 5.1 4.5 3.6Z',
  warn: 'M6 .7 11.6 11H.4L6 .7Zm-.6 3.6.2 3.2h.8l.2-3.2H5.4ZM6 8.3a.7.7 0 1 0 0 1.4.7.7 0 0 0 0-1.4Z',
  live: 'M6 .5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11ZM4.7 3.6 8.6 6 4.7 8.4V3.6Z',
  idle: 'M6 .5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11ZM6 2a4 4 0 1 1 0 8 4 4 0 0 1 0-8Z',
  off: 'M1.2 1.2h9.6v9.6H1.2V1.2Zm2.3 4v1.6h5V5.2h-5Z',
};

export function Glyph({ tone }: { tone: Tone }) {
  return (
    <svg class={`glyph tone-${tone}`} viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
      <path d={SHAPES[tone]} fill="currentColor" fill-rule="evenodd" />
    </svg>
  );
}

export const glyphPath = (tone: Tone) => SHAPES[tone];

/** A state by shape, colour and word. */
export function Status({ state, text }: { state: string; text?: string | undefined }) {
  const tone = toneOf(state);
  return (
    <span class={`status tone-${tone}`}>
      <Glyph tone={tone} />
      <span>{text ?? statusText(state)}</span>
    </span>
  );
}

/** The state of a delivery; with its endpoint, unless that stands beside. */
export function DeliveryStatus({ state, endpoint }: { state: string; endpoint?: string }) {
  return <Status state={state} text={deliveryText(state, endpoint)} />;
}
