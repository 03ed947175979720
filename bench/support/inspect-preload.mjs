import { readFileSync } from 'node:fs';

// Loaded into a daemon that is measured (`node --expose-gc --import …`): says what it holds when asked.
process.on('message', () => {
  globalThis.gc();
  globalThis.gc();
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
  const listeners = process.eventNames().map((name) => process.listenerCount(name));
  process.send({
    heapBytes: heapUsed,
    bufferBytes: arrayBuffers,
    nativeBytes: nativeBytes(),
    rssBytes: rss,
    handles: process.getActiveResourcesInfo().length,
    listeners: listeners.reduce((sum, count) => sum + count, 0),
  });
});
process.channel.unref();

/** What malloc has in memory for the main thread: sockets, parsers, what is being read. */
function nativeBytes() {
  const maps = readFileSync('/proc/self/smaps', 'utf8');
  const [, kib] = /\[heap\]\n(?:.*\n)*?Rss: +(\d+) kB/.exec(maps) ?? [];
  return kib === undefined ? NaN : Number(kib) * 1_024;
}
