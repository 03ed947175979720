import { effect, signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { sum } from '../../core/arrays.ts';
import { api } from '../api/calls.ts';
import { session } from '../api/session.ts';
import type { AttentionView } from '../../client/types.ts';
import { useLoaded, type Loaded } from '../parts/hooks.ts';

/** What needs a person now; the title and the icon of the page carry it. */
export const attentionCount = signal(0);

/** The newest answer, and how it stands. */
export const attention = signal<Loaded<AttentionView> | null>(null);

const CHANGES = /^run\.(failed|awaiting|stalled|recovered|resumed|gone|completed|stopped)|^watch\./;

/** Keeps the count up to date, whatever screen is shown. */
export function useAttentionCount(): void {
  const loaded = useLoaded('attention', (stop) => api.attention(stop), {
    on: ({ type }) => CHANGES.test(type),
    everyMs: 10_000,
  });
  useEffect(() => {
    attention.value = loaded;
    if (loaded.value !== null) attentionCount.value = countOf(loaded.value);
  }, [loaded.value, loaded.error]);
}

function countOf({ data, counts }: AttentionView): number {
  const all = Object.values(counts);
  return all.length === 0 ? data.length : sum(all);
}

effect(() => {
  if (session.value.state !== 'signed_out') return;
  attention.value = null;
  attentionCount.value = 0;
});

/** The name of the screen, for the page's title. */
export const screenName = signal('');

effect(() => {
  const count = attentionCount.value;
  const name = screenName.value;
  document.title = `${count > 0 ? `(${count}) ` : ''}${name === '' ? '' : `${name} · `}runwatch`;
  const icon = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
  if (icon !== null) icon.href = iconOf(count);
});

/** The eye, with a number beside it where something needs a person. */
function iconOf(count: number): string {
  const mark =
    count === 0
      ? ''
      : `<circle cx="22" cy="10" r="10" fill="#d92d20"/><text x="22" y="14.5" font-family="sans-serif" font-size="13" font-weight="700" text-anchor="middle" fill="#fff">${count > 99 ? '99' : count}</text>`;
  const eye =
    '<path d="M1 17s5.500-10 15-10 15 10 15 10-5.500 10-15 10S1 17 1 17Z" fill="#fff" stroke="#4f46e5" stroke-width="2.800"/><path d="M12.500 11.500 21.500 17l-9 5.500Z" fill="#4f46e5"/>';
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">${eye}${mark}</svg>`;
  return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}
