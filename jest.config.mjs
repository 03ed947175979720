/** The tests run in plain Node processes, each of which loads a module once for all of its test files. */
export default {
  runner: 'jest-light-runner/child-process',
  transform: {},
  extensionsToTreatAsEsm: ['.ts'],
  testMatch: ['<rootDir>/test/{unit,integration,e2e,browser}/**/*.test.ts'],
  globalSetup: '<rootDir>/test/support/global-setup.ts',
  globalTeardown: '<rootDir>/test/support/global-teardown.ts',
  setupFilesAfterEnv: ['<rootDir>/test/support/process-setup.ts'],
  reporters: ['default', '<rootDir>/test/support/hang-reporter.mjs'],
  // Most of the suite waits for other processes, so that more may run than there are cores.
  maxWorkers: 5,
};
