import { startEmbeddedRedis } from '../../src/redis/embedded/server.ts';

// Replaces a daemon: starts the embedded Redis, reports the result, and runs until killed.
const [, , dataDir = ''] = process.argv;
const quiet = () => undefined;
try {
  await startEmbeddedRedis({
    dataDir,
    ownDirs: [],
    maxMemory: 1e9,
    log: { info: quiet, warn: quiet, error: quiet },
  });
  process.stdout.write('up\n');
  setInterval(quiet, 60_000);
} catch (error) {
  process.stdout.write(String(error));
}
