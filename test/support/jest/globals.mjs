import { jestExpect } from '@jest/expect';
import { ModernFakeTimers } from '@jest/fake-timers';
import { ModuleMocker } from 'jest-mock';

export { afterAll, afterEach, beforeAll, beforeEach, describe, it, test } from 'jest-circus';

/** These call what they are given, or write: they are asked once. */
const ONCE = /^toThrow|Snapshot/;
const IS = { customTesters: [], isNot: false, promise: '' };
const IS_NOT = { ...IS, isNot: true };

/** What is expected of a value. A matcher that holds is all that is run; one that does not has its words of jest. */
class Expectation {
  constructor(actual, isNot = false) {
    this.actual = actual;
    this.isNot = isNot;
  }

  get not() {
    return new Expectation(this.actual, true);
  }

  get resolves() {
    return jestExpect(this.actual).resolves;
  }

  get rejects() {
    return jestExpect(this.actual).rejects;
  }
}

const { matchers } = globalThis[Symbol.for('$$jest-matchers-object')];
for (const [name, matcher] of Object.entries(matchers)) {
  const once = ONCE.test(name);
  Expectation.prototype[name] = function expected(...args) {
    const { actual, isNot } = this;
    if (!once && matcher.call(isNot ? IS_NOT : IS, actual, ...args).pass !== isNot) return;
    const full = jestExpect(actual);
    try {
      (isNot ? full.not : full)[name](...args);
    } catch (error) {
      // The first line that is shown is that of the test.
      Error.captureStackTrace(error, expected);
      throw error;
    }
    // What can be read once, as a generator, may hold for the second look.
    if (!once) throw new Error(`${name} does not hold, but did when it was asked again`);
  };
}

/** jest's own `expect` makes some forty matchers in six forms for each value, of which a test calls one. */
export const expect = Object.assign((actual) => new Expectation(actual), jestExpect);

const timers = new ModernFakeTimers({ config: { fakeTimers: {} }, global: globalThis });
const mocker = new ModuleMocker(globalThis);

/** The part of jest's object that the tests use. */
export const jest = {
  spyOn: (object, method) => mocker.spyOn(object, method),
  useFakeTimers: (options) => timers.useFakeTimers(options),
  useRealTimers: () => timers.useRealTimers(),
  advanceTimersByTime: (ms) => timers.advanceTimersByTime(ms),
  advanceTimersByTimeAsync: (ms) => timers.advanceTimersByTimeAsync(ms),
};

/** Puts back what a file has replaced and left. */
export function restore() {
  timers.useRealTimers();
  mocker.restoreAllMocks();
}
