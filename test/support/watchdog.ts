/** No test takes as long on the busiest machine; the waits in tests end by themselves before. */
const BOUND_MS = 300_000;
const EVERY_MS = 5_000;

let name: string | undefined;
let since = Date.now();

/** A bound for a hang, which the runner has none for: the process ends, and the suite with it. */
setInterval(() => {
  const { testPath, currentTestName } = expect.getState();
  const now = `${testPath} ${currentTestName}`;
  if (now !== name) [name, since] = [now, Date.now()];
  if (Date.now() - since < BOUND_MS) return;
  process.stderr.write(`no progress for ${BOUND_MS} ms in or after: ${name}\n`);
  process.exit(1);
}, EVERY_MS).unref();

/** What nobody catches fails the test that is at work, not the whole suite. */
process.on('uncaughtException', (error) => {
  const state = expect.getState();
  process.stderr.write(`not caught in ${state.testPath}: ${error.stack ?? String(error)}\n`);
  state.suppressedErrors.push(error);
});
