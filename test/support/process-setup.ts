/** The part of expect's state that its types leave out: what the runner saves once a file is over. */
interface FileState {
  snapshotState?: { save(): unknown };
}

/** What nobody catches fails the file at work. The runner would let it end the whole suite. */
process.on('uncaughtException', (thrown: unknown) => {
  const { snapshotState } = expect.getState() as FileState;
  const error = thrown instanceof Error ? thrown : new Error(`not caught: ${String(thrown)}`);
  if (snapshotState === undefined) throw error;
  snapshotState.save = () => {
    throw error;
  };
});

// What a test left open must not outlive the suite.
process.on('disconnect', () => process.exit());
