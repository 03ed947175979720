/** The environment variable by which global-setup hands the suite's Redis to the test files. */
export const SUITE_REDIS = 'RUNWATCH_TEST_REDIS_URL';
