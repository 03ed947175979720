import { register } from 'node:module';

// For what this process loads itself, such as globalSetup; the runner of tests does so in each worker.
register('./test/support/jest/hooks.mjs', import.meta.url);

const common = {
  testEnvironment: 'node',
  testRunner: '<rootDir>/test/support/jest/test-runner.mjs',
  // TypeScript is compiled where modules are loaded, by hooks.mjs.
  transform: {},
};

export default {
  projects: [
    { ...common, displayName: 'unit', testMatch: ['<rootDir>/test/unit/**/*.test.ts'] },
    {
      ...common,
      displayName: 'integration',
      testMatch: ['<rootDir>/test/integration/**/*.test.ts'],
      globalSetup: '<rootDir>/test/support/global-setup.mts',
      globalTeardown: '<rootDir>/test/support/global-teardown.mts',
    },
    {
      ...common,
      displayName: 'browser',
      testMatch: ['<rootDir>/test/browser/**/*.test.ts'],
      globalSetup: '<rootDir>/test/support/require-build.mts',
    },
    {
      ...common,
      displayName: 'e2e',
      testMatch: ['<rootDir>/test/e2e/**/*.test.ts'],
      globalSetup: '<rootDir>/test/support/e2e-setup.mts',
      globalTeardown: '<rootDir>/test/support/e2e-teardown.mts',
    },
  ],
  // A test that failed may leave a connection open, and its process would not end.
  forceExit: true,
  // A bound for a hang, so that a busy machine fails no test; a condition ends its wait before.
  testTimeout: 600_000,
  testSequencer: '<rootDir>/test/support/jest/waiting-first.mjs',
  // Most of the suite waits for other processes, so that more may run than there are cores.
  maxWorkers: 8,
};
