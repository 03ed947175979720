import { register } from 'node:module';
import { pathToFileURL } from 'node:url';
import { createEmptyTestResult } from '@jest/test-result';
import { getState, resetState, run, setState } from 'jest-circus';
import { formatExecError, formatResultsErrors } from 'jest-message-util';

register('./hooks.mjs', import.meta.url);
const { expect, restore } = await import('./globals.mjs');

let files = 0;
/** What nobody caught; between two files it counts against the next one. */
const uncaught = [];
process.setSourceMapsEnabled(true);
process.on('uncaughtException', (error) => uncaught.push(error));

/**
 * Runs a file of tests in the worker's own realm. jest by default gives each file a realm of its own and loads all
 * modules into it anew, which with a daemon takes longer than most files do. Modules are loaded once a worker here,
 * so that a test puts back what it changes in them or in globals.
 */
export default async function runTestFile(globalConfig, config, _environment, _runtime, path) {
  const { expand, maxConcurrency, testNamePattern, testTimeout } = globalConfig;
  resetState();
  setState({
    ...getState(),
    expand,
    maxConcurrency,
    testNamePattern: testNamePattern === null ? null : new RegExp(testNamePattern, 'i'),
    testTimeout,
  });
  expect.setState({ expand, testPath: path });
  // jest maps stacks by what it compiled itself; Node does by the maps of the process's loader.
  Error.prepareStackTrace = undefined;
  files += 1;
  try {
    await import(`${pathToFileURL(path).href}?file=${files}`);
    const { testResults, unhandledErrorsDetailed } = await run();
    const errors = [...unhandledErrorsDetailed, ...uncaught.splice(0)];
    return fileResult(testResults.map(testResult), errors);
  } finally {
    restore();
  }

  function fileResult(tests, errors) {
    const count = (status) => tests.filter((test) => test.status === status).length;
    const failed = formatResultsErrors(tests, config, globalConfig, path) ?? '';
    const thrown = errors.map((error) => formatExecError(error, config, globalConfig, path));
    return {
      ...createEmptyTestResult(),
      failureMessage: [failed, ...thrown].join('\n\n').trimEnd() || null,
      numFailingTests: count('failed'),
      numPassingTests: count('passed'),
      numPendingTests: count('pending'),
      numTodoTests: count('todo'),
      ...(thrown.length > 0 && { testExecError: { message: '', stack: thrown.join('\n') } }),
      testResults: tests,
    };
  }
}

const STATUS = { done: 'passed', skip: 'pending', todo: 'todo' };

/** A test's result as reporters of jest read it; the first part of its path is the file's root. */
function testResult({ testPath: [, ...path], status, errors, ...result }) {
  return {
    ancestorTitles: path.slice(0, -1),
    duration: result.duration,
    failing: result.failing,
    failureDetails: [],
    failureMessages: [...errors],
    fullName: path.join(' '),
    invocations: result.invocations,
    location: result.location,
    numPassingAsserts: result.numPassingAsserts,
    retryReasons: [],
    status: errors.length > 0 ? 'failed' : STATUS[status],
    title: path.at(-1),
  };
}
