/**
 * Makes a value at most once in an interval, however many ask for it: those that come meanwhile share
 * what is being made, or was made last. A failure is shared only while it is in the making.
 */
export function onceEvery<Value>(
  intervalMs: number,
  make: () => Promise<Value>,
): () => Promise<Value> {
  let last: { value: Promise<Value>; until: number } | null = null;
  return () => {
    if (last !== null && performance.now() < last.until) return last.value;
    const made = { value: make(), until: Infinity };
    last = made;
    made.value.then(
      () => (made.until = performance.now() + intervalMs),
      () => (made.until = -Infinity),
    );
    return made.value;
  };
}
