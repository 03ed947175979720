import { signal } from '@preact/signals';
import { messageOf } from '../api/request.ts';

interface Toast {
  id: number;
  text: string;
  isError: boolean;
}

const toasts = signal<readonly Toast[]>([]);

const SHOWN_MS = 5_000;

let last = 0;

/** Shows the outcome of an action for some seconds. */
export function say(text: string, { isError = false } = {}): void {
  last += 1;
  const id = last;
  toasts.value = [...toasts.peek().slice(-3), { id, text, isError }];
  window.setTimeout(
    () => {
      toasts.value = toasts.peek().filter((toast) => toast.id !== id);
    },
    isError ? 2 * SHOWN_MS : SHOWN_MS,
  );
}

/** Does something and says how it went. @returns whether it was done */
export async function act(done: string | null, action: () => Promise<unknown>): Promise<boolean> {
  try {
    await action();
    if (done !== null) say(done);
    return true;
  } catch (error) {
    say(messageOf(error), { isError: true });
    return false;
  }
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map(({ id, text, isError }) => (
        <div key={id} class={isError ? 'toast bad' : 'toast'}>
          {text}
        </div>
      ))}
    </div>
  );
}
