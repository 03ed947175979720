/** A signal that fires after a time, or when an outer signal does. Release it when it is over. */
export interface Deadline {
  readonly signal: AbortSignal;
  release(): void;
}

/**
 * Not `AbortSignal.any`: an outer signal that lives as long as the process would hold on to what it
 * was combined with.
 * @param ms milliseconds from now
 */
export function startDeadline(ms: number, outer?: AbortSignal): Deadline {
  const controller = new AbortController();
  const cut = () => controller.abort();
  const timer = setTimeout(cut, ms);
  outer?.addEventListener('abort', cut, { once: true });
  if (outer?.aborted === true) cut();
  return {
    signal: controller.signal,
    release() {
      clearTimeout(timer);
      outer?.removeEventListener('abort', cut);
    },
  };
}
