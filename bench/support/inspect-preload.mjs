// Loaded into a daemon that is measured (`node --expose-gc --import …`): says what it holds when asked.
process.on('message', () => {
  globalThis.gc();
  globalThis.gc();
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
  const listeners = process.eventNames().map((name) => process.listenerCount(name));
  process.send({
    heapBytes: heapUsed,
    bufferBytes: arrayBuffers,
    rssBytes: rss,
    handles: process.getActiveResourcesInfo().length,
    listeners: listeners.reduce((sum, count) => sum + count, 0),
  });
});
process.channel.unref();
