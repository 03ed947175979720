import { runInvocation } from '../../../src/cli/invocation.ts';

/** What Node ends with where `main.ts` waits for something that nothing is left to do. */
const UNSETTLED = 13;

// `main.ts` awaits this, which a file of CommonJS cannot.
let isSettled = false;
process.on('beforeExit', () => {
  if (!isSettled) process.exit(UNSETTLED);
});
void runInvocation().then(() => {
  isSettled = true;
});
