import type { Redis } from 'ioredis';

/**
 * Lets the commands that are issued in one turn of the event loop go out in one write, and reach
 * Redis in one read: a write of its own for each is a fifth of what Redis does for a poll. Nothing
 * else changes. ioredis can gather commands in pipelines too, but those cost more than they save,
 * and what of them was unanswered when a connection broke would not be sent again.
 */
export function gatherWrites(redis: Redis): Redis {
  const send = redis.sendCommand.bind(redis);
  redis.sendCommand = (command, stream) => {
    // There is none before the first connection, whatever its type says.
    const socket = redis.stream as Redis['stream'] | undefined;
    if (socket?.writableCorked === 0) {
      socket.cork();
      setImmediate(() => socket.uncork());
    }
    return send(command, stream);
  };
  return redis;
}
