import { seededRandom } from '../../src/simulator/seeded-random.ts';

/** The answer of a receiver to one request, at a virtual time in ms. */
interface ModelAnswer {
  status: 200 | 429 | 503;
  durationMs: number;
  /** The quiet that it asks for, ms. */
  retryAfterMs?: number;
}

/** A receiver in virtual time. `inFlight` includes the present request. */
export interface ReceiverModel {
  name: string;
  answer(now: number, inFlight: number): ModelAnswer;
}

/** The receiver models that the rule must serve; each call makes a fresh one. */
export const MODELS: Record<string, () => ReceiverModel> = {
  'parallel, 200 ms': () => parallel('parallel, 200 ms', 200),
  'parallel, 1 s': () => parallel('parallel, 1 s', 1_000),
  'log-normal, 150 ms': logNormal,
  'serial, 20 ms': () => workers('serial, 20 ms', 1, 20),
  'serial, 200 ms': () => workers('serial, 200 ms', 1, 200),
  '8 workers, 200 ms': () => workers('8 workers, 200 ms', 8, 200),
  '429 above 10 in flight': throttling,
  '503 above 30 a second': limitedRate,
};

function parallel(name: string, durationMs: number): ReceiverModel {
  return { name, answer: () => ({ status: 200, durationMs }) };
}

function logNormal(): ReceiverModel {
  const random = seededRandom(7);
  return {
    name: 'log-normal, 150 ms',
    answer() {
      const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
      return { status: 200, durationMs: 150 * Math.exp(0.8 * normal) };
    },
  };
}

/** This many requests at a time; the others wait in the receiver's own queue. */
function workers(name: string, count: number, workMs: number): ReceiverModel {
  const freeAt = Array.from({ length: count }, () => 0);
  return {
    name,
    answer(now) {
      const first = freeAt.indexOf(Math.min(...freeAt));
      const doneAt = Math.max(now, freeAt[first] ?? 0) + workMs;
      freeAt[first] = doneAt;
      return { status: 200, durationMs: doneAt - now };
    },
  };
}

function throttling(): ReceiverModel {
  return {
    name: '429 above 10 in flight',
    answer: (_now, inFlight) =>
      inFlight > 10
        ? { status: 429, durationMs: 5, retryAfterMs: 1_000 }
        : { status: 200, durationMs: 200 },
  };
}

/** A token bucket of a second's worth. */
function limitedRate(): ReceiverModel {
  let tokens = 30;
  let at = 0;
  return {
    name: '503 above 30 a second',
    answer(now) {
      tokens = Math.min(30, tokens + ((now - at) * 30) / 1_000);
      at = now;
      if (tokens < 1) return { status: 503, durationMs: 5 };
      tokens -= 1;
      return { status: 200, durationMs: 200 };
    },
  };
}
