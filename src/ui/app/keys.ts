import { useLayoutEffect, useRef } from 'preact/hooks';

/** What a screen does on a key. @returns nothing; the key goes no further */
export type Keys = Record<string, () => void>;

const stack: { current: Keys }[] = [];

/** Gives keys a meaning while a component is shown; the newest component's come first. */
export function useKeys(keys: Keys): void {
  const held = useRef(keys);
  held.current = keys;
  // Before it can be seen: a quick user presses a key at once.
  useLayoutEffect(() => {
    stack.push(held);
    return () => {
      stack.splice(stack.indexOf(held), 1);
    };
  }, []);
}

/** A key that waits for a second one is forgotten after this, ms. */
const CHORD_MS = 3_000;

let chord: { key: string; at: number } | null = null;

export function startKeys(): void {
  document.addEventListener('keydown', (event) => {
    const name = nameOf(event);
    if (name === null) return;
    const isChord = chord !== null && event.timeStamp - chord.at < CHORD_MS;
    const chorded = isChord ? `${chord?.key} ${name}` : name;
    chord = null;
    const action = find(chorded) ?? find(name);
    if (action !== null) {
      event.preventDefault();
      action();
    } else if (name === 'g') {
      chord = { key: name, at: event.timeStamp };
    }
  });
}

/** Whether a key has a meaning on the page that is shown. */
export function hasKey(name: string): boolean {
  return find(name) !== null;
}

function find(name: string): (() => void) | null {
  const keys = stack.findLast(({ current }) => Object.hasOwn(current, name));
  return keys?.current[name] ?? null;
}

/** The name by which keys are listed; null for keys that belong to a field, a dialog or the browser. */
function nameOf(event: KeyboardEvent): string | null {
  const { key, metaKey, ctrlKey, altKey, isComposing } = event;
  if (isComposing || altKey) return null;
  if (metaKey || ctrlKey) return key.toLowerCase() === 'k' ? 'Mod k' : null;
  if (document.querySelector('dialog[open]') !== null) return null;
  const target = event.target as HTMLElement;
  const isField = /^(input|textarea|select)$/i.test(target.tagName);
  if (isField && key !== 'Escape') return null;
  const isControl = /^(a|button|summary)$/i.test(target.tagName);
  if (isControl && (key === 'Enter' || key === ' ')) return null;
  return key;
}
