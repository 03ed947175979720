/** No file takes as long on the busiest machine; the waits in tests end by themselves before. */
const BOUND_MS = 600_000;

/** Ends the suite where a file hangs, since the runner has no bound for a test. */
export default class HangReporter {
  #timers = new Map();

  onTestFileStart({ path }) {
    const timer = setTimeout(() => {
      process.stderr.write(`${path} did not end within ${BOUND_MS / 1_000} s\n`);
      process.exit(1);
    }, BOUND_MS);
    this.#timers.set(path, timer.unref());
  }

  onTestFileResult({ path }) {
    clearTimeout(this.#timers.get(path));
  }
}
